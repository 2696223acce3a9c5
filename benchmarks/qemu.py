"""QEMU as Debian packages it: fetched and unpacked in our cache, run without being installed.

Debian 13's QEMU with all its libraries and their loader runs on any Linux of its architecture; the
host's own QEMU is the fallback.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache as cached
from pathlib import Path

from rvvm.py.errors import UserError
from rvvm.py.images import apt_tool, cache, sources

PROGRAM = "qemu-system-riscv64"
PACKAGE = "qemu-system-riscv"


@dataclass(frozen=True)
class Qemu:
    """The words that start QEMU."""

    command: tuple[str, ...]

    @property
    def version(self) -> str:
        """As it says itself."""
        said = subprocess.run([*self.command, "--version"], capture_output=True, text=True)
        if said.returncode:
            raise UserError(f"QEMU does not run: {said.stderr.strip()}")
        return said.stdout.splitlines()[0].removeprefix("QEMU emulator version ")


@cached
def find() -> Qemu:
    """Debian 13's QEMU, fetched when it is not there yet; else what the host has."""
    if qemu := _unpacked():
        return qemu
    try:
        return _fetch()
    except (UserError, OSError, subprocess.CalledProcessError) as error:
        if host := shutil.which(PROGRAM):
            return Qemu((host,))
        hint = f"apt-get install {PACKAGE}, or qemu-system-misc"
        raise UserError(f"Debian's QEMU could not be fetched ({error}): {hint}") from error


def _root() -> Path:
    return cache.folder("qemu", "root")


def _unpacked() -> Qemu | None:
    """What is in the cache, if it runs: its own loader finds its own libraries."""
    root = _root()
    for loader in root.glob("usr/lib/*/ld-linux-*.so.*"):
        start = (str(loader), "--library-path", str(loader.parent), str(root / "usr/bin" / PROGRAM))
        qemu = Qemu((*start, "-L", str(root / "usr/share/qemu")))
        with contextlib.suppress(UserError):
            if qemu.version:
                return qemu
    return None


def _fetch() -> Qemu:
    with cache.lock("qemu"):
        home = cache.folder("qemu", "apt")
        _prepare(home)
        _apt(home, "update")
        _apt(home, "install", "--download-only", "--yes", "--no-install-recommends", PACKAGE)
        for package in sorted(home.glob("cache/archives/*.deb")):
            subprocess.run(["dpkg-deb", "-x", package, _root()], check=True)
        shutil.rmtree(home)
    if qemu := _unpacked():
        return qemu
    raise UserError("what was fetched does not run here")


def _prepare(home: Path) -> None:
    """An apt of our own, as for the guest's packages, but for this host's architecture."""
    for part in ("state/lists/partial", "cache/archives/partial"):
        (home / part).mkdir(parents=True, exist_ok=True)
    (home / "status").touch()
    host = _said("apt-config", "dump")
    conf, listed = apt_tool.configuration(home, sources.host_mirror(), sources.keyring(), host)
    architecture = _said("dpkg", "--print-architecture").strip()
    for setting in ("APT::Architecture", "APT::Architectures"):
        conf += f'{setting} "{architecture}";\n'
    (home / "apt.conf").write_text(conf)
    (home / "sources.list").write_text(listed)


def _said(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _apt(home: Path, *words: str) -> None:
    environment = {**os.environ, "APT_CONFIG": str(home / "apt.conf"), "LC_ALL": "C"}
    done = subprocess.run(
        ["apt-get", "-q", *words], env=environment, cwd=home, capture_output=True, text=True
    )
    if done.returncode:
        raise apt_tool.complaint(done.stdout + done.stderr)
