"""ELF files: the segments to load, where to start, and the symbols."""

from __future__ import annotations

import io
from collections.abc import Iterator
from mmap import mmap
from typing import NamedTuple

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from rvvm.py.errors import UserError

_RELOCATABLE_TYPES = ("ET_REL", "ET_CORE", "ET_NONE")


class Elf(NamedTuple):
    """``segments`` are triples: physical address, bytes, size with the zeroes after them."""

    entry: int
    segments: list[tuple[int, bytes, int]]
    symbols: dict[str, int]


def parse(data: bytes | mmap, name: str) -> Elf:
    """What an ELF's bytes hold; UserError, which names ``name``, when no machine can start it."""
    try:
        elf = ELFFile(io.BytesIO(data))
        _check_elf(elf)
        segments = list(_segments(elf))
        if not segments:
            raise ELFError("no segment to load")
        return Elf(_physical(elf, elf.header.e_entry), segments, _symbols(elf))
    except ELFError as error:
        raise UserError(f"{name}: {error}") from None
    except Exception as error:  # pyelftools meets damage with exceptions of every kind
        raise UserError(f"{name}: a damaged ELF ({error})") from None


def _check_elf(elf: ELFFile) -> None:
    if elf.header.e_machine != "EM_RISCV":
        raise ELFError(f"an ELF for {elf.get_machine_arch()}, not for RISC-V")
    if elf.elfclass != 64:
        raise ELFError("a 32-bit ELF: the harts are RV64")
    if not elf.little_endian:
        raise ELFError("a big-endian ELF")
    if elf.header.e_type in _RELOCATABLE_TYPES:
        raise ELFError("not linked: the ELF is an object file or a core")


def _segments(elf: ELFFile) -> Iterator[tuple[int, bytes, int]]:
    """The PT_LOAD segments that occupy memory, at their physical addresses."""
    for segment in elf.iter_segments("PT_LOAD"):
        if segment.header.p_memsz == 0:
            continue
        data = segment.data()
        if len(data) < segment.header.p_filesz:
            raise ELFError("the file is cut short")
        yield segment.header.p_paddr, data, segment.header.p_memsz


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
