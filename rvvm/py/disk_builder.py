"""Make a Debian root disk: packages are put into an archive here, and a guest unpacks and
configures them.

So no root is needed, nothing of the host's but apt, and every script of Debian's runs on the
system that it is for.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from rvvm.py import images
from rvvm.py.cards import Drive
from rvvm.py.errors import UserError
from rvvm.py.images import cache, closure, disk_archive
from rvvm.py.images.closure import Deb
from rvvm.py.images.recipe import PACKAGES, Recipe
from rvvm.py.machine import Machine
from rvvm.py.progress import bar
from rvvm.py.scratch import replacing, scratch

MEMORY = "1G"
_PATIENCE = 3600  # seconds for the guest, which takes about a minute


def build(recipe: Recipe, output: Path, progress: bool = True) -> None:
    """Make the disk. The file gets its name when it is whole and on the host's disk."""
    recipe.check()
    if output.exists() or output.is_symlink():
        raise UserError(f"{output}: is there already, and may be somebody's disk")
    if not output.parent.is_dir():
        raise UserError(f"{output}: there is no folder {output.parent}")
    debs = packages(recipe, progress)
    modules = images.path("modules").read_bytes()
    builds = cache.folder("builds")
    with _bar(progress) as bar, replacing(output, 0o600) as disk, scratch(builds) as archive:
        task = bar.add_task("collecting packages", total=len(debs))
        with archive.open("wb") as out:
            disk_archive.write(out, recipe, debs, modules, lambda: bar.advance(task))
        os.truncate(disk, recipe.size)
        _make(disk, archive, debs, bar)
    _remember(output)


def packages(recipe: Recipe, progress: bool = True) -> list[Deb]:
    """The files of all packages that the disk gets, fetched when they are not here."""
    names = [closure.ESSENTIAL, *PACKAGES, *recipe.packages]
    debs = closure.find(names)
    closure.fetch(debs, names, progress)
    return debs


def _make(disk: Path, archive: Path, debs: Sequence[Deb], bar: Progress) -> None:
    """Run the guest that unpacks and configures."""
    base = images.path("busybox").read_bytes()
    with scratch(cache.folder("builds")) as initrd:
        initrd.write_bytes(disk_archive.initramfs(base, debs))
        follow = _Follower(bar, len(debs))
        with Machine(
            kernel=images.path("debian"),
            initrd=initrd,
            append=f"console=ttyS0 quiet cryptomgr.notests rdinit=/{disk_archive.INIT}",
            memory=MEMORY,
            drive=[Drive(disk, commit=True), Drive(archive, read_only=True)],
        ) as machine:
            machine.console.listeners.append(follow)
            with contextlib.suppress(TimeoutError):
                machine.run(timeout=_PATIENCE)
    if not follow.built:
        log = cache.folder("builds") / "failed.log"
        log.write_text(machine.console.text)
        raise UserError(f"the disk could not be made: {follow.reason} (all of it is in {log})")


class _Follower:
    """Reads the guest's console, and moves the bar."""

    def __init__(self, bar: Progress, packages: int) -> None:
        self._bar = bar
        self._line = bytearray()
        self._packages = packages
        self._task: TaskID = bar.add_task("starting a guest", total=None)
        self._last = "the guest said nothing"
        self._failed = ""
        self.built = False

    @property
    def reason(self) -> str:
        """Why it is not built: what failed, and what was said before."""
        return self._failed or self._last

    def __call__(self, data: bytes) -> None:
        self._line += data
        if data == b"\n":
            line = bytes(self._line).decode(errors="replace").strip()
            self._line.clear()
            self._read(line)

    def _read(self, line: str) -> None:
        if line.startswith("Setting up "):
            self._bar.advance(self._task)
        elif line == "rvvm: making the file system":
            self._bar.update(self._task, description="unpacking in the guest")
        elif line == "rvvm: configuring":
            self._bar.update(
                self._task, description="configuring in the guest", total=self._packages
            )
        elif line == "rvvm: built":
            self.built = True
        elif line.startswith("rvvm: "):
            self._failed = f"{line.removeprefix('rvvm: ')}: {self._last}"
        if line:
            self._last = line
            self._bar.update(self._task)


def _bar(shown: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return bar(shown, str, *columns, TimeElapsedColumn())


# What was built is remembered for `rvvm images`.


def disks() -> list[Path]:
    """The disks that were built here and are still there."""
    return [path for path in _remembered() if path.exists()]


def _remember(output: Path) -> None:
    with cache.lock("disks"):
        known = {*map(str, disks()), str(output.absolute())}
        cache.write(_list(), json.dumps(sorted(known), indent=1).encode())


def _remembered() -> list[Path]:
    try:
        return [Path(name) for name in json.loads(_list().read_text())]
    except (OSError, ValueError, TypeError):
        return []


def _list() -> Path:
    return cache.root() / "disks.json"
