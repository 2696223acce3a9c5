"""Files a machine can start: ELF programs, Linux images, raw binaries, and where they go."""

from __future__ import annotations

import mmap
import os
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rvvm.py import inputs
from rvvm.py.errors import UserError

_ELF_MAGIC = b"\x7fELF"
_GZIP_MAGIC = b"\x1f\x8b"
_MAPPED_FROM = 1 << 20
"""Bytes from which a file is worth mapping: fresh memory for a copy costs more than the copying."""


class MappedFile(mmap.mmap):
    """The bytes of a file that is not copied; they hold while nobody writes into the file.

    A file that another takes the place of, as good tools do it, stays as it was for us.
    """

    name: str
    path: Path
    state: tuple[int, ...]

    @classmethod
    def of(cls, file: int, path: Path, name: str) -> MappedFile | None:
        """None for what cannot be mapped, or is not worth it."""
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_size < _MAPPED_FROM:
            return None
        mapped = cls(file, status.st_size, access=mmap.ACCESS_READ)
        mapped.name, mapped.path, mapped.state = name, path.absolute(), _state(status)
        return mapped

    def check(self) -> None:
        """UserError when the file has been written to since it was opened."""
        try:
            now = _state(self.path.stat())
        except OSError:
            return
        if now[0] == self.state[0] and now != self.state:
            raise UserError(f"{self.name}: changed while the machine used it")


def _state(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_dev, status.st_size, status.st_mtime_ns


Bytes = bytes | MappedFile | memoryview
MOST = 1 << 32
"""Bytes of a pipe or unpacked, where nobody says how much room there is."""


@dataclass(frozen=True)
class Segment:
    """Bytes for guest RAM at a physical address; ``size`` counts the zeroes after them too."""

    address: int
    data: Bytes
    size: int

    @property
    def end(self) -> int:
        """The address after its last byte."""
        return self.address + self.size

    def check(self) -> None:
        """UserError when it is of a file that has been written to since it was opened."""
        source = self.data.obj if isinstance(self.data, memoryview) else self.data
        if isinstance(source, MappedFile):
            source.check()


@dataclass(frozen=True)
class Program:
    """A program ready to be placed.

    ``kind`` is ``elf``, ``linux`` or ``raw``. Segments of an ELF stand at their physical
    addresses; those of the others at ``offset`` from wherever the loader puts them.
    """

    name: str
    kind: str
    segments: tuple[Segment, ...]
    entry: int
    symbols: Mapping[str, int] = field(default_factory=dict)

    @property
    def start(self) -> int:
        """The lowest address it occupies."""
        return min(segment.address for segment in self.segments)

    @property
    def end(self) -> int:
        """The address after the highest byte it occupies."""
        return max(segment.end for segment in self.segments)

    def at(self, address: int) -> Program:
        """The same program moved: what an image without addresses of its own needs."""
        moved = tuple(
            Segment(address + segment.address, segment.data, segment.size)
            for segment in self.segments
        )
        return Program(self.name, self.kind, moved, address + self.entry, self.symbols)


def read_file(path: Path | str, what: str, limit: int = MOST) -> bytes | MappedFile:
    """The bytes of a file the user named; UserError when it cannot be read, or is a pipe with more
    than ``limit``."""
    name = f"{what}: {path}"
    file = inputs.open_input(path, f"{what}: ")  # once: who writes into a pipe sees it closed
    try:
        return MappedFile.of(file, Path(path), name) or inputs.read_open(file, name, limit)
    except OSError as error:
        raise UserError(f"{name}: {error.strerror}") from None
    finally:
        os.close(file)


def is_elf(path: Path | str, what: str) -> bool:
    """Whether a file begins as an ELF does, also packed; UserError when it cannot be read."""
    data = read_file(path, what)
    if not data:
        raise UserError(f"{what}: {path}: the file is empty")
    head = data[: 1 << 12]
    if head[:2] == _GZIP_MAGIC:
        head = inputs.gunzip_head(head, f"{what}: {path}", len(_ELF_MAGIC))
    return head[: len(_ELF_MAGIC)] == _ELF_MAGIC


def read_program(path: Path | str, what: str, limit: int = MOST) -> Program:
    """Read ``path`` and find out what it is; ``what`` (``--kernel``) names it in errors. UserError
    when it unpacks to more than ``limit`` bytes."""
    data: Bytes = read_file(path, what, limit)
    if data[:2] == _GZIP_MAGIC:
        data = inputs.gunzip(memoryview(data), f"{what}: {path}", limit)
    if not data:
        raise UserError(f"{what}: {path}: the file is empty")
    if data[:4] == _ELF_MAGIC:
        return _read_elf(data, str(path), what)
    if (foreign := _foreign(data)) is not None:
        raise UserError(f"{what}: {path}: {foreign}")
    return _read_linux(data, str(path)) or Program(
        str(path), "raw", (Segment(0, data, len(data)),), 0
    )


def read_elf(path: Path | str, what: str) -> Program:
    """As ``read_program``, but anything except an ELF is an error."""
    program = read_program(path, what)
    if program.kind != "elf":
        raise UserError(f"{what}: {path}: not an ELF")
    return program


def _read_elf(data: Bytes, name: str, what: str) -> Program:
    from rvvm.py import elf

    entry, segments, symbols = elf.parse(data, f"{what}: {name}")
    return Program(name, "elf", tuple(Segment(*it) for it in segments), entry, symbols)


_FOREIGN = (
    (56, b"ARM\x64", "a Linux kernel for arm64, not for RISC-V"),
    (0x202, b"HdrS", "a Linux kernel for x86, not for RISC-V"),
    (0x24, b"\x18\x28\x6f\x01", "a Linux kernel for 32-bit ARM, not for RISC-V"),
    (4, b"zimg", "an EFI image with a compressed kernel: give the Image that is in it"),
    (0, b"\xfd7zXZ\0", "compressed by xz, which is not unpacked here: xz -d"),
    (0, b"\x28\xb5\x2f\xfd", "compressed by zstd, which is not unpacked here: zstd -d"),
    (0, b"\x04\x22\x4d\x18", "compressed by lz4, which is not unpacked here: lz4 -d"),
    (0, b"\x02\x21\x4c\x18", "compressed by lz4, which is not unpacked here: lz4 -d"),
    (0, b"BZh", "compressed by bzip2, which is not unpacked here: bzip2 -d"),
    (0, b"\x27\x05\x19\x56", "U-Boot's uImage: give the Image that is in it"),
    (0, b"\xd0\x0d\xfe\xed", "a devicetree blob or a FIT image: --dtb takes devicetrees"),
    (0, b"0707", "a cpio archive: --initrd takes those"),
    (0, b"QFI\xfb", "a qcow2 disk: --drive takes those"),
    (0x8001, b"CD001", "an ISO 9660 image: --drive takes disks"),
    (0, b"!<arch>\n", "an ar archive or a Debian package: give the kernel that is in it"),
)
"""What is often given for a program: where its magic is, the magic, and what to say."""
_PE_MACHINES = {0x8664: "x86-64", 0x14C: "x86", 0xAA64: "arm64", 0x1C2: "32-bit ARM"}


def _foreign(data: Bytes) -> str | None:
    """Why no hart can start this, where that is known; a raw image may be anything else."""
    for offset, magic, why in _FOREIGN:
        if data[offset : offset + len(magic)] == magic:
            return why
    if data[:2] == b"MZ" and len(data) >= 0x40:  # PE/COFF: the header is where 0x3c says
        (at,) = struct.unpack_from("<I", data, 0x3C)
        machine = int.from_bytes(data[at + 4 : at + 6], "little")
        if data[at : at + 4] == b"PE\0\0" and machine in _PE_MACHINES:
            return f"an EFI program for {_PE_MACHINES[machine]}, not for RISC-V"
    return None


def _read_linux(data: Bytes, name: str) -> Program | None:
    """A Linux Image: Documentation/arch/riscv/boot-image-header.rst; None when it is not one."""
    header = struct.Struct("<II QQQ II Q 8s 4s")
    if len(data) < header.size:
        return None
    _, _, text_offset, image_size, *_, magic, magic2 = header.unpack_from(data)
    if magic2 != b"RSC\x05" and magic != b"RISCV\0\0\0":
        return None
    segment = Segment(text_offset, data, max(image_size, len(data)))
    return Program(name, "linux", (segment,), text_offset)
