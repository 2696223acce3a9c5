"""Debian riscv64 packages through the host's apt-get, with state of our own.

apt does the hard parts (proxies, retries, resuming, signatures and hashes); a configuration
file of ours keeps it off the host's lists, status, pins and hooks. No root is needed.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from rvvm.py.errors import UserError
from rvvm.py.images import cache, deb822, sources

SUITE = "trixie"
ARCHITECTURE = "riscv64"
STALE_AFTER = 24 * 3600
"""Seconds after which the package lists are asked for again before a download."""

HOST_SETTINGS = re.compile(r"Acquire::(https?|tor|ftp|Retries|ForceIPv[46]|Proxy)\b")
"""What of the host's configuration concerns its network and so holds for us too."""


@dataclass(frozen=True)
class Package:
    """One version of one package, as the signed package list describes it."""

    name: str
    version: str
    architecture: str
    size: int
    sha256: str
    depends: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Where the package is, or will be, in the cache; apt-get download names it so."""
        version = self.version.replace(":", "%3a")
        return cache.root() / "debs" / f"{self.name}_{version}_{self.architecture}.deb"


def find(name: str) -> Package:
    """The newest version of a package; asks the mirror when the lists are missing or old."""
    with cache.lock("apt"):
        if not _lists_are_fresh():
            _update()
        text = _run("apt-cache", "show", "--no-all-versions", name).stdout
    for record in deb822.paragraphs(text):
        return Package(
            record["Package"],
            record["Version"],
            record["Architecture"],
            int(record["Size"]),
            record["SHA256"],
            tuple(deb822.depends(record)),
        )
    raise UserError(f"Debian {SUITE} has no package {name} for {ARCHITECTURE}")


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


def configuration(home: Path, mirror: str, keyring: str, host: str) -> tuple[str, str]:
    """Our apt.conf and sources.list; `host` is what ``apt-config dump`` says on this host."""
    settings = {
        "Dir::State": f"{home}/state",
        "Dir::State::status": f"{home}/status",
        "Dir::Cache": f"{home}/cache",
        "Dir::Etc::SourceList": f"{home}/sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        # The host's hooks (docker-clean, appstream ...) would work on the host's own state.
        "Dir::Etc::Main": "/dev/null",
        "Dir::Etc::Parts": "/dev/null",
        "APT::Architecture": ARCHITECTURE,
        "APT::Architectures": ARCHITECTURE,
        "APT::Update::Error-Mode": "any",
        "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
        "Acquire::Languages": "none",
        "Acquire::GzipIndexes": "true",
        "Acquire::Retries": "3",
    }
    lines = [f'{name} "{value}";' for name, value in settings.items() if value]
    lines += [line for line in host.splitlines() if HOST_SETTINGS.match(line)]
    return "\n".join(lines) + "\n", f"deb [signed-by={keyring}] {mirror} {SUITE} main\n"


def _home() -> Path:
    return cache.folder("apt")


def _stamp() -> Path:
    return _home() / "updated"


def _lists_are_fresh() -> bool:
    stamp = _stamp()
    return stamp.exists() and time.time() - stamp.stat().st_mtime < STALE_AFTER


def _update() -> None:
    home = _home()
    for path in ("state/lists/partial", "cache/archives/partial"):
        cache.folder("apt", *path.split("/"))
    (home / "status").touch()
    host = subprocess.run(["apt-config", "dump"], capture_output=True, text=True).stdout
    conf, listed = configuration(home, sources.host_mirror(), sources.keyring(), host)
    cache.write(home / "apt.conf", conf.encode())
    cache.write(home / "sources.list", listed.encode())
    _run("apt-get", "update", "-q")
    _stamp().touch()


def is_cached(package: Package) -> bool:
    """Whether the package's file is here, whole and true."""
    if not package.path.exists() or package.path.stat().st_size != package.size:
        return False
    with open(package.path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == package.sha256


def _download(package: Package, progress: bool) -> None:
    command = ["apt-get", "download", "-q", f"{package.name}={package.version}"]
    folder = cache.folder("debs")
    with _bar(progress) as bar, _start(command, folder) as process:
        task = bar.add_task(package.path.name.partition("_")[0], total=package.size)
        while _still(process):
            if package.path.exists():
                bar.update(task, completed=package.path.stat().st_size)
        out, err = process.communicate()
        bar.update(task, completed=package.size)
    if process.returncode:
        raise _explain(out + err)


def _still(process: subprocess.Popen[str]) -> bool:
    try:
        process.wait(0.1)
    except subprocess.TimeoutExpired:
        return True
    return False


def _bar(shown: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    console = Console(stderr=True)
    hidden = not (shown and console.is_terminal)
    return Progress(*columns, TimeRemainingColumn(), console=console, disable=hidden)


def _start(command: list[str], folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "APT_CONFIG": str(_home() / "apt.conf"), "LC_ALL": "C"}
    try:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    except OSError as error:
        raise UserError(f"{command[0]} is needed to fetch Debian packages: {error}") from error


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    with _start(list(command), _home()) as process:
        out, err = process.communicate()
    if process.returncode:
        raise _explain(out + err)
    return subprocess.CompletedProcess(command, 0, out, err)


def _explain(output: str) -> UserError:
    """One line out of what apt says when it fails; its first complaint is the cause."""
    if "NO_PUBKEY" in output:
        return UserError(
            f"Debian's keys here are older than {SUITE}: debian-archive-keyring is old"
        )
    complaints = [line for line in output.splitlines() if re.match(r"[EW]: ", line)]
    reason = complaints[0][3:] if complaints else "apt-get failed"
    return UserError(f"cannot fetch Debian packages: {reason}")
