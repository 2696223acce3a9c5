"""Files a machine can start: ELF programs, Linux images, raw binaries, and where they go."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from rvvm.py.errors import UserError

_ELF_MAGIC = b"\x7fELF"
_GZIP_MAGIC = b"\x1f\x8b"
_RELOCATABLE_TYPES = ("ET_REL", "ET_CORE", "ET_NONE")


@dataclass(frozen=True)
class Segment:
    """Bytes for guest RAM at a physical address; ``size`` counts the zeroes after them too."""

    address: int
    data: bytes
    size: int

    @property
    def end(self) -> int:
        """The address after its last byte."""
        return self.address + self.size


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


def read_file(path: Path | str, what: str) -> bytes:
    """The bytes of a file the user named; UserError when it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{what}: {path}: {error.strerror}") from None


def read_program(path: Path | str, what: str) -> Program:
    """Read ``path`` and find out what it is; ``what`` (``--kernel``) names it in errors."""
    data = read_file(path, what)
    if data.startswith(_GZIP_MAGIC):
        data = _gunzip(data, f"{what}: {path}")
    if not data:
        raise UserError(f"{what}: {path}: the file is empty")
    if data.startswith(_ELF_MAGIC):
        return _read_elf(data, str(path), what)
    return _read_linux(data, str(path)) or Program(
        str(path), "raw", (Segment(0, data, len(data)),), 0
    )


def read_elf(path: Path | str, what: str) -> Program:
    """As ``read_program``, but anything except an ELF is an error."""
    program = read_program(path, what)
    if program.kind != "elf":
        raise UserError(f"{what}: {path}: not an ELF")
    return program


def _gunzip(data: bytes, name: str) -> bytes:
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{name}: not a whole gzip file ({error})") from None


def _read_linux(data: bytes, name: str) -> Program | None:
    """A Linux Image: Documentation/arch/riscv/boot-image-header.rst; None when it is not one."""
    header = struct.Struct("<II QQQ II Q 8s 4s")
    if len(data) < header.size:
        return None
    _, _, text_offset, image_size, *_, magic, magic2 = header.unpack_from(data)
    if magic2 != b"RSC\x05" and magic != b"RISCV\0\0\0":
        return None
    segment = Segment(text_offset, data, max(image_size, len(data)))
    return Program(name, "linux", (segment,), text_offset)


def _read_elf(data: bytes, name: str, what: str) -> Program:
    try:
        elf = ELFFile(io.BytesIO(data))
        _check_elf(elf)
        segments = tuple(_segments(elf))
        if not segments:
            raise ELFError("no segment to load")
        entry = _physical(elf, elf.header.e_entry)
        return Program(name, "elf", segments, entry, _symbols(elf))
    except ELFError as error:
        raise UserError(f"{what}: {name}: {error}") from None
    except Exception as error:  # pyelftools meets damage with exceptions of every kind
        raise UserError(f"{what}: {name}: a damaged ELF ({error})") from None


def _check_elf(elf: ELFFile) -> None:
    if elf.header.e_machine != "EM_RISCV":
        raise ELFError(f"an ELF for {elf.get_machine_arch()}, not for RISC-V")
    if elf.elfclass != 64:
        raise ELFError("a 32-bit ELF: the harts are RV64")
    if not elf.little_endian:
        raise ELFError("a big-endian ELF")
    if elf.header.e_type in _RELOCATABLE_TYPES:
        raise ELFError("not linked: the ELF is an object file or a core")


def _segments(elf: ELFFile) -> Iterator[Segment]:
    """The PT_LOAD segments that occupy memory, at their physical addresses."""
    for segment in elf.iter_segments("PT_LOAD"):
        if segment.header.p_memsz == 0:
            continue
        data = segment.data()
        if len(data) < segment.header.p_filesz:
            raise ELFError("the file is cut short")
        yield Segment(segment.header.p_paddr, data, segment.header.p_memsz)


def _physical(elf: ELFFile, address: int) -> int:
    """Where a virtual address lies in RAM before any translation: the entry is given as virtual."""
    for segment in elf.iter_segments("PT_LOAD"):
        start = segment.header.p_vaddr
        if start <= address < start + segment.header.p_memsz:
            return int(address - start + segment.header.p_paddr)
    return int(address)


def _symbols(elf: ELFFile) -> dict[str, int]:
    """Defined, named symbols; section, file and mapping symbols ($x) say nothing to a reader."""
    table = elf.get_section_by_name(".symtab")
    if not isinstance(table, SymbolTableSection):
        return {}
    return {
        symbol.name: symbol.entry.st_value
        for symbol in table.iter_symbols()
        if symbol.name
        and not symbol.name.startswith(("$", ".L"))
        and symbol.entry.st_shndx != "SHN_UNDEF"
        and symbol.entry.st_info.type in ("STT_FUNC", "STT_OBJECT", "STT_NOTYPE")
    }
