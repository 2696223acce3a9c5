"""What may be asked of a machine, and what is meant when it is not said.

The same names serve the command line (``--kernel``) and Python (``Machine(kernel=...)``).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from rvvm.py import arguments, images, program
from rvvm.py.boot import Images
from rvvm.py.cards import Drive, FilePath, device_card, net_card, share_card
from rvvm.py.errors import UserError
from rvvm.py.host import Card
from rvvm.py.images.catalogue import ALIASES, IMAGES
from rvvm.py.images.root_label import is_root
from rvvm.py.resources import resource

Clock = Literal["host", "instructions"]
CLOCKS = ("host", "instructions")
ACCELERATORS = ("auto", "interp", "jit", "unicorn")
LATER_ACCELERATORS = ("kvm",)

NONE = "none"
STDIO = "stdio"
UNKNOWN_SIZE = "0x0"
DEFAULT_BIOS = "opensbi"
DEBIAN_INITRD = "busybox"
DEBIAN_APPEND = "console=ttyS0 earlycon=sbi cryptomgr.notests"
DISK_APPEND = "root=/dev/vda rw console=ttyS0 quiet lsm=landlock,yama,apparmor cryptomgr.notests"
_UNITS = {"": 1 << 20, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


_FILE = ((str, os.PathLike), "a file's name")
_TEXT = ((str,), "a text")
_LISTS = ("drive", "netdev", "share", "device")
_TYPES: Mapping[str, tuple[tuple[type, ...], str]] = {
    **dict.fromkeys(("dtb", "kernel", "bios", "initrd"), _FILE),
    **dict.fromkeys(("append", "clock", "accel", "netdev", "share", "device", "serial"), _TEXT),
    "memory": ((str, int), "a size such as '512M', or a number of bytes"),
    "harts": ((int,), "a whole number"),
    "drive": ((str, os.PathLike, Drive), "a file's name or a Drive"),
    **dict.fromkeys(("commit", "threads", "perf_map"), ((bool,), "True or False")),
    "limit_cpu": ((str, int, float), "a share such as '50%' or 0.5"),
}
"""What a value given from Python may be; the command line's are right already."""


class SavedName(str):
    """The name of a host's file in a saved machine: it is opened once a user has named it again."""


@dataclass(frozen=True)
class Options:
    """One machine, as asked for. None means: the default, which ``files`` and the board know."""

    dtb: FilePath | None = None
    kernel: FilePath | None = None
    bios: FilePath | None = None
    initrd: FilePath | None = None
    append: str | None = None
    memory: str | int | None = None
    harts: int | None = None
    clock: str = "host"
    accel: str = "auto"
    drive: FilePath | Drive | Sequence[FilePath | Drive] = ()
    commit: bool = False
    netdev: str | Sequence[str] = ()
    share: str | Sequence[str] = ()
    device: str | Sequence[str] = ()
    threads: bool | None = None
    perf_map: bool = False
    serial: str | None = None
    limit_cpu: str | float | None = None
    terminal: str | None = None

    @classmethod
    def named(cls, **options: Any) -> Options:
        """Options by name; TypeError for a name that none has."""
        cls.check_names(options)
        return cls(**options)

    @classmethod
    def check_names(cls, names: Iterable[str]) -> None:
        """TypeError for a name that no option has."""
        known = [field.name for field in fields(cls)]
        for name in names:
            if name not in known:
                near = arguments.near(name, known) or f"; there are: {', '.join(known)}"
                raise TypeError(f"no option {name!r}{near}")

    def check(self) -> None:
        """UserError for a value that can be judged without opening anything."""
        for name, (kinds, expected) in _TYPES.items():
            for value in _several(getattr(self, name)) if name in _LISTS else [getattr(self, name)]:
                if value is not None and not isinstance(value, kinds):
                    what = arguments.shown(value)
                    raise UserError(f"--{name.replace('_', '-')} {what}: expected {expected}")
        if self.clock not in CLOCKS:
            raise UserError(f"--clock {self.clock}: expected one of {', '.join(CLOCKS)}")
        if self.accel in LATER_ACCELERATORS:
            raise UserError(f"--accel {self.accel}: not in this version; use auto")
        if self.accel not in ACCELERATORS:
            raise UserError(f"--accel {self.accel}: expected one of {', '.join(ACCELERATORS)}")
        if self.threads and self.clock == "instructions":
            raise UserError("--threads: with --clock instructions harts take turns in one thread")
        if self.threads and self.limit_cpu is not None:
            raise UserError("--threads: with --limit-cpu harts take turns in one thread")
        _ = self.cpu_share
        if self.initrd is not None and self._kernel is None:
            raise UserError("--initrd: there is no --kernel that could use it")
        if self.append is not None and self._kernel is None:
            raise UserError("--append: there is no --kernel that could read it")
        if self.bios == NONE and self.kernel is None:
            raise UserError("--bios none: name the --kernel to start instead")

    @property
    def core_accel(self) -> str:
        """The core's engine: it also makes the machine when unicorn is to run it."""
        return "interp" if self.accel == "unicorn" else self.accel

    @property
    def core_threads(self) -> bool:
        """Whether several harts run on a host thread each."""
        alone = self.clock != "host" or self.limit_cpu is not None
        return not alone if self.threads is None else self.threads

    @property
    def cpu_share(self) -> float | None:
        """How much of one host processor the machine may use."""
        if self.limit_cpu is None:
            return None
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", str(self.limit_cpu))
        share = float(match[1]) / (100 if match[2] else 1) if match else 0
        if not 0 < share <= 1:
            raise UserError(f"--limit-cpu {self.limit_cpu}: expected a share such as 50%")
        return share

    @property
    def on_terminal(self) -> bool:
        """Whether the console is at the terminal, and nowhere else."""
        return self.serial in (None, STDIO)

    @property
    def terminal_size(self) -> str | None:
        """What the guest is told of the terminal that its console is at: rows and columns.

        Who connects to a socket is at a terminal of unknown size. None where nobody is at one, and
        where time is counted, so that a run is the same at a terminal and in a pipe.
        """
        if self.clock != "host":
            return None
        if self.on_terminal:
            return self.terminal
        return UNKNOWN_SIZE if str(self.serial).startswith(("unix:", "tcp:", "pty")) else None

    @property
    def board(self) -> Path:
        """The devicetree: the packaged ``virt.dts`` unless another is named."""
        return Path(self.dtb) if self.dtb is not None else resource("devicetree/virt.dts")

    @property
    def memory_bytes(self) -> int | None:
        """RAM in bytes: an int as it is, a text as QEMU's users write it."""
        return parse_size(self.memory) if isinstance(self.memory, str) else self.memory

    @property
    def bootargs(self) -> str | None:
        """The kernel's command line."""
        if self.append is None and self._is_debian:
            return DISK_APPEND if self._has_system else DEBIAN_APPEND
        return self.append

    @property
    def _is_debian(self) -> bool:
        return image_name(self._kernel) == "debian"

    @property
    def _kernel(self) -> FilePath | None:
        """The kernel; without one, that for the system on the first drive."""
        if self.kernel is None and self.bios is None and self._has_system:
            return "debian"
        return self.kernel

    @cached_property
    def _has_system(self) -> bool:
        """Whether the first drive is a Debian that ``rvvm images build`` has made."""
        return any(is_root(Path(drive.file)) for drive in self._drives[:1])

    @cached_property
    def _drives(self) -> list[Drive]:
        return [Drive.parse(drive, self.commit) for drive in self.drives]

    @property
    def drives(self) -> list[FilePath | Drive]:
        """Each as it was given."""
        return _several(self.drive)

    def cards(self) -> list[Card]:
        """The virtio devices, opened."""
        nets = [net_card(text, number) for number, text in enumerate(_several(self.netdev))]
        shares = [share_card(text) for text in _several(self.share)]
        others = [device_card(text, self.clock != "host") for text in _several(self.device)]
        return [drive.card() for drive in self._drives] + nets + shares + others

    def files(self) -> Images:
        """The images to start, fetched when they are named ones that are not here yet."""
        kernel = self._kernel
        if kernel is None and self.bios is None:
            return Images(kernel=resource("firmware/hello.elf"))
        bios, initrd = self.bios, self.initrd
        if bios is None:
            bios = DEFAULT_BIOS
        if initrd is None and self._is_debian:
            initrd = DEBIAN_INITRD
        return Images(
            bios=None if bios == NONE else find(bios, "--bios"),
            kernel=find(kernel, "--kernel") if kernel is not None else None,
            initrd=find(initrd, "--initrd") if initrd not in (None, NONE) else None,
        )


def _several(what: Any) -> list[Any]:
    """One thing, or a list or tuple of them, as a list."""
    return list(what) if isinstance(what, (list, tuple)) else [what]


def parse_size(text: str, option: str = "--memory") -> int:
    """Bytes, from ``1G``, ``512M``, ``64K``; a bare number counts MiB, as QEMU's ``-m`` does.

    >>> parse_size("1G"), parse_size("128"), parse_size("0x10M")
    (1073741824, 134217728, 16777216)
    """
    match = re.fullmatch(r"(0x[0-9a-f]+|\d+(?:\.\d+)?)(?:([KMGT])(?:i?B)?)?", text.strip(), re.I)
    if match is None:
        raise UserError(f"{option} {text}: expected a size such as 512M or 2G")
    number, unit = match[1].lower(), _UNITS[(match[2] or "").upper()]
    size = int(number, 16) * unit if number.startswith("0x") else int(float(number) * unit)
    if size <= 0:
        raise UserError(f"{option} {text}: must be more than nothing")
    return size


def image_name(what: FilePath | None) -> str | None:
    """The catalogue's name for ``what``, when it is a name and not a path."""
    name = str(what)
    name = ALIASES.get(name, name)
    return name if name in {image.name for image in IMAGES} else None


def find(what: FilePath, option: str) -> Path:
    """The file of a named image, or the path itself; ``./debian`` is a file of that name."""
    if name := image_name(what):
        return images.path(name)
    if isinstance(what, SavedName):
        raise UserError(
            f"{option}: {Path(what).name}: a saved machine names it; to start anew, load it with "
            f"{option} FILE"
        )
    if not os.fspath(what):
        raise UserError(f"{option}: the name is empty")
    path = Path(what)
    try:
        kind = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        known = ", ".join(image.name for image in IMAGES)
        hint = "" if os.sep in str(what) else f" and no image of that name ({known})"
        raise UserError(f"{option}: {path}: no such file{hint}") from None
    except OSError as error:
        raise UserError(f"{option}: {path}: {error.strerror}") from None
    if stat.S_ISDIR(kind):
        raise UserError(f"{option}: {path}: a directory, not a file")
    return path


def is_elf(path: FilePath) -> bool:
    """Whether a file is an ELF; UserError when it cannot be read."""
    return program.is_elf(Path(path), "--kernel")
