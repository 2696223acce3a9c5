"""Packages with everything they depend on: found and downloaded by the host's apt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

from rvvm.py.errors import UserError
from rvvm.py.images import apt, apt_tool, cache

ESSENTIAL = "?essential"
"""apt-patterns(7): the packages that no Debian system can be without."""

_NO_RECOMMENDS = "-oAPT::Install-Recommends=false"


@dataclass(frozen=True)
class Deb:
    """A package's file, which is in the cache, or will be."""

    filename: str
    size: int

    @property
    def name(self) -> str:
        """The package's name."""
        return self.filename.partition("_")[0]

    @property
    def path(self) -> Path:
        """Where it lies."""
        return cache.root() / "debs" / self.filename


def find(names: Sequence[str]) -> list[Deb]:
    """The packages, and those they need, on a system that has none, in the order apt gives."""
    with cache.lock("apt"):
        apt.update_lists()
        uris = ("-y", "--print-uris", "-oDir::Cache::archives=/nonexistent")
        return parse_uris(_apt_get("install", *uris, *names))


def parse_uris(text: str) -> list[Deb]:
    """What ``apt-get --print-uris`` says: ``'URI' file size hash``.

    >>> parse_uris("Reading\\n'http://a/b_1%3a2_all.deb' b_1%3a2_all.deb 10 MD5Sum:0\\n")
    [Deb(filename='b_1%3a2_all.deb', size=10)]
    """
    rows = [line.split() for line in text.splitlines() if line.startswith("'")]
    return [Deb(filename, int(size)) for _, filename, size, *_ in rows]


def fetch(debs: Iterable[Deb], names: Sequence[str], progress: bool = True) -> None:
    """Download those that are not in the cache yet; apt looks at signatures and hashes."""
    missing = [deb for deb in debs if not _is_there(deb)]
    if not missing:
        return
    with cache.lock("apt"):
        archives = cache.folder("debs", "partial").parent
        where = ("-y", "-qq", "-d", f"-oDir::Cache::archives={archives}", _NO_RECOMMENDS)
        with apt_tool.start("apt-get", "install", *where, *names) as process:
            try:
                _watch(process, missing, progress)
            finally:
                process.terminate()
                out, err = process.communicate()
        if process.returncode:
            raise apt_tool.complaint(out + err)
    for deb in missing:
        if not _is_there(deb):
            raise UserError(f"{deb.filename}: did not come; try again")


def _apt_get(*arguments: str) -> str:
    return apt_tool.run("apt-get", _NO_RECOMMENDS, *arguments)


def _is_there(deb: Deb) -> bool:
    return deb.path.exists() and deb.path.stat().st_size == deb.size


def _watch(process: Popen[str], debs: Sequence[Deb], progress: bool) -> None:
    """Show the files come until the process ends; its output is short enough for a pipe."""
    with apt.bar(progress) as shown:
        task = shown.add_task(f"fetching {len(debs)} packages", total=sum(deb.size for deb in debs))
        while apt.is_running(process):
            shown.update(task, completed=sum(map(_arrived, debs)))


def _arrived(deb: Deb) -> int:
    for path in (deb.path, deb.path.parent / "partial" / deb.filename):
        if path.exists():
            return path.stat().st_size
    return 0
