"""Debian's riscv64 packages, by the host's apt: found, downloaded, verified.

apt does the hard parts: proxies, retries, signatures and hashes.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import time
from email.utils import parsedate_to_datetime
from pathlib import Path

from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from rvvm.py.errors import UserError
from rvvm.py.images import apt_tool, cache, deb822
from rvvm.py.images.packages import Package
from rvvm.py.progress import bar as progress_bar
from rvvm.py.progress import step

STALE_AFTER = 24 * 3600
"""Seconds after which the package lists are asked for again before they are used."""


def find(name: str) -> Package:
    """The newest version of a package; asks the mirror when the lists are missing or old."""
    with cache.lock("apt"):
        update_lists()
        text = apt_tool.run("apt-cache", "show", "--no-all-versions", name)
    for record in deb822.paragraphs(text):
        return Package(
            record["Package"],
            record["Version"],
            record["Architecture"],
            int(record["Size"]),
            record["SHA256"],
            tuple(deb822.depends(record)),
        )
    raise UserError(f"Debian {apt_tool.SUITE} has no package {name} for {apt_tool.ARCHITECTURE}")


def update_lists() -> None:
    """Ask the mirror for its package lists when ours are missing or old; hold apt's lock."""
    if not _lists_are_fresh():
        apt_tool.prepare()
        with step("asking the Debian mirror for its list of packages"):
            apt_tool.run("apt-get", "update", "-q")
        _stamp().touch()


def fetch(package: Package, progress: bool = True) -> Path:
    """The package's file, downloaded when it is not there yet, or not whole."""
    with cache.lock("apt"):
        if not is_cached(package):
            _download(package, progress)
        if not is_cached(package):
            package.path.unlink(missing_ok=True)
            raise UserError(f"{package.path.name}: came with the wrong SHA256; try again")
    return package.path


def refresh() -> None:
    """Have the next `find` ask the mirror, however new the lists are."""
    _stamp().unlink(missing_ok=True)


def is_cached(package: Package) -> bool:
    """Whether the package's file is here, whole and true."""
    if not package.path.exists() or package.path.stat().st_size != package.size:
        return False
    with open(package.path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == package.sha256


def _stamp() -> Path:
    return apt_tool.home() / "updated"


def _lists_are_fresh() -> bool:
    stamp = _stamp()
    return stamp.exists() and time.time() - stamp.stat().st_mtime < STALE_AFTER


def _download(package: Package, progress: bool) -> None:
    """Download into the cache; apt-helper goes on with the part that an earlier try left."""
    which = f"{package.name}={package.version}"
    uri, *_ = apt_tool.run("apt-get", "download", "--print-uris", which).split()
    cache.folder("debs")
    # Debugging makes apt tell the server's headers, which _date wants.
    verbose = ("-q", "-oDebug::Acquire::http=1", "-oDebug::Acquire::https=1")
    target = (uri.strip("'"), str(package.path), f"SHA256:{package.sha256}")
    with apt_tool.start(apt_tool.HELPER, *verbose, "download-file", *target) as process:
        try:
            _watch(process, package, progress)
        finally:
            process.terminate()
            out, err = process.communicate()
            _date(package.path, out + err)
    if process.returncode:
        raise apt_tool.complaint(out + err)


def _date(partial: Path, headers: str) -> None:
    """Give a partial file the date of the server's: apt resumes only what has that (If-Range)."""
    if partial.exists() and (found := re.search(r"^Last-Modified: *(.+)$", headers, re.M | re.I)):
        modified = parsedate_to_datetime(found[1].strip()).timestamp()
        os.utime(partial, (modified, modified))


def _watch(process: subprocess.Popen[str], package: Package, progress: bool) -> None:
    """Show the file grow until the process ends."""
    with bar(progress) as shown:
        task = shown.add_task(f"fetching {package.name}", total=package.size)
        while is_running(process):
            if package.path.exists():
                shown.update(task, completed=package.path.stat().st_size)
        shown.update(task, completed=package.size)


def is_running(process: subprocess.Popen[str]) -> bool:
    """Whether it still runs, a tenth of a second from now."""
    try:
        process.wait(0.1)
    except subprocess.TimeoutExpired:
        return True
    return False


def bar(shown: bool) -> Progress:
    """A progress bar of bytes."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    return progress_bar(shown, decimal, *columns, TimeRemainingColumn())
