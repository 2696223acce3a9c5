"""ELF files: the segments to load, where to start, and the symbols.

Layouts are of the System V ABI's ELF-64, little-endian. A file may be anybody's: each number is
checked against the file before it is used, and nothing is copied.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise
from mmap import mmap
from typing import NamedTuple

from rvvm.py.errors import UserError

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")

_CLASS, _DATA = 4, 5  # bytes of e_ident
_ELF64, _LITTLE = 2, 1
_EXECUTABLE, _SHARED = 2, 3  # e_type: also of what is position-independent
_RISCV = 243
_MACHINES = {3: "x86", 40: "ARM", 62: "x86-64", 183: "AArch64", 8: "MIPS", 21: "PowerPC 64"}
_LOAD = 1
_SYMTAB = 2
_UNDEFINED = 0
_SHOWN_TYPES = (0, 1, 2)  # STT_NOTYPE, STT_OBJECT, STT_FUNC
_LONGEST_NAME = 1 << 12


class Elf(NamedTuple):
    """``segments`` are triples: physical address, bytes, size with the zeroes after them."""

    entry: int
    segments: list[tuple[int, memoryview, int]]
    symbols: dict[str, int]


class _Segment(NamedTuple):
    """A PT_LOAD row of the program header."""

    offset: int
    virtual: int
    physical: int
    in_file: int
    in_memory: int


class _Wrong(Exception):
    """What no machine can start."""


def parse(data: bytes | mmap | memoryview, name: str) -> Elf:
    """What an ELF's bytes hold; UserError, which names ``name``, when no machine can start it."""
    view = memoryview(data)
    try:
        fields = _unpack(_HEADER, view, 0)
        _check(view, *fields[1:3])
        rows = list(_loaded(view, fields))
        segments = [
            (row.physical, view[row.offset : row.offset + row.in_file], row.in_memory)
            for row in rows
        ]
        return Elf(_physical(rows, fields[4]), segments, _symbols(view, fields))
    except _Wrong as error:
        raise UserError(f"{name}: {error}") from None


def _unpack(layout: struct.Struct, data: memoryview, at: int) -> tuple[int, ...]:
    if at + layout.size > len(data):
        raise _Wrong("a damaged ELF: the file is cut short")
    return layout.unpack_from(data, at)


def _table(data: memoryview, at: int, count: int, size: int, layout: struct.Struct) -> memoryview:
    """The rows of a header table."""
    if count and size != layout.size:
        raise _Wrong(f"a damaged ELF: header rows of {size} bytes")
    if at + count * size > len(data):
        raise _Wrong("a damaged ELF: the file is cut short")
    return data[at : at + count * size]


def _check(data: memoryview, kind: int, machine: int) -> None:
    # The machine and the type are at one place in ELF-32 and ELF-64.
    if data[_DATA] != _LITTLE:
        raise _Wrong("a big-endian ELF")
    if machine != _RISCV:
        other = _MACHINES.get(machine, f"machine {machine}")
        raise _Wrong(f"an ELF for {other}, not for RISC-V")
    if data[_CLASS] != _ELF64:
        raise _Wrong("a 32-bit ELF: the harts are RV64")
    if kind not in (_EXECUTABLE, _SHARED):
        raise _Wrong("not linked: the ELF is an object file or a core")


def _loaded(data: memoryview, fields: tuple[int, ...]) -> Iterator[_Segment]:
    """The PT_LOAD segments that occupy memory, none where another is."""
    rows = _PROGRAM.iter_unpack(_table(data, fields[5], fields[10], fields[9], _PROGRAM))
    found = [_Segment(*row[2:7]) for row in rows if row[0] == _LOAD and row[6]]
    if not found:
        raise _Wrong("no segment to load")
    for row in found:
        # "Program Header": the file size may not be larger than the memory size.
        if row.in_file > row.in_memory:
            raise _Wrong(f"a damaged ELF: {row.in_file} bytes for {row.in_memory} of memory")
        if row.offset + row.in_file > len(data):
            raise _Wrong("a damaged ELF: the file is cut short")
    for one, other in pairwise(sorted(found, key=lambda row: row.physical)):
        if one.physical + one.in_memory > other.physical:
            raise _Wrong(f"a damaged ELF: two segments at {other.physical:#x}")
    yield from found


def _physical(rows: list[_Segment], address: int) -> int:
    """Where a virtual address lies in RAM before any translation: the entry is given as virtual."""
    for row in rows:
        if row.virtual <= address < row.virtual + row.in_memory:
            return address - row.virtual + row.physical
    return address


def _symbols(data: memoryview, fields: tuple[int, ...]) -> dict[str, int]:
    """Defined, named symbols; section, file and mapping symbols ($x) say nothing to a reader."""
    table = _table(data, fields[6], fields[12], fields[11], _SECTION)
    sections = list(_SECTION.iter_unpack(table))
    symtab = next((section for section in sections if section[1] == _SYMTAB), None)
    if symtab is None:
        return {}
    if symtab[9] != _SYMBOL.size or symtab[6] >= len(sections):
        raise _Wrong("a damaged ELF: its symbol table")
    rows = _contents(data, symtab)
    names = bytes(_contents(data, sections[symtab[6]]))
    found: dict[str, int] = {}
    left = 4 * len(names) + (1 << 20)  # of names: what symbols share is shared by few
    for name_at, info, _, section, value, _ in _SYMBOL.iter_unpack(
        rows[: len(rows) // _SYMBOL.size * _SYMBOL.size]
    ):
        if section == _UNDEFINED or info & 0xF not in _SHOWN_TYPES:
            continue
        end = names.find(b"\0", name_at, name_at + _LONGEST_NAME)
        name = names[name_at:end].decode(errors="replace") if end > name_at else ""
        left -= len(name)
        if left < 0:
            raise _Wrong("a damaged ELF: the names of its symbols")
        if name and not name.startswith(("$", ".L")):
            found[name] = value
    return found


def _contents(data: memoryview, section: tuple[int, ...]) -> memoryview:
    offset, size = section[4:6]
    if offset + size > len(data):
        raise _Wrong("a damaged ELF: the file is cut short")
    return data[offset : offset + size]
