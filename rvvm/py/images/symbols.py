"""Drop from kernel modules the symbols nothing refers to.

RISC-V's assembler keeps every local label (``.L...``) for linker relaxation, and ``strip -g``
leaves them: 216,000 of ext4's symbols, 5 of its 7 MB, each of which the guest's kernel walks
at insmod: without them ext4 loads eight times as fast. Debian's signature, which would be
checked in software at each load, cannot outlive this: the kernel notes it once (taint E).
Layouts are of the System V ABI's ELF-64, little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SECTION = struct.Struct("<IIQQQQIIQQ")
SYMBOL = struct.Struct("<IBBHQQ")
RELOCATION = struct.Struct("<QQq")

SYMTAB, RELA, NOBITS, GROUP = 2, 4, 8, 17
"""sh_type values."""

UNUSED = (".BTF",)
"""Sections an initramfs has no reader for, and whose check at insmod costs much."""


@dataclass(frozen=True)
class Section:
    """A section header, its fields as in ``Elf64_Shdr``, and the section's bytes."""

    name: int
    type: int
    flags: int
    address: int
    size: int
    link: int
    info: int
    align: int
    entry_size: int
    data: bytes

    def with_data(self, data: bytes, info: int | None = None) -> Section:
        """The section with other bytes in it."""
        return replace(self, data=data, size=len(data), info=self.info if info is None else info)

    def header(self, offset: int) -> bytes:
        """The header as it stands in a file that has the bytes at `offset`."""
        return SECTION.pack(
            self.name, self.type, self.flags, self.address, offset, self.size,
            self.link, self.info, self.align, self.entry_size,
        )  # fmt: skip


def slim(module: bytes) -> bytes:
    """The same relocatable object without unreferenced local labels and unused sections."""
    sections = _sections(module)
    tables = [index for index, section in enumerate(sections) if section.type == SYMTAB]
    if len(tables) != 1:
        return module
    table = sections[tables[0]]
    strings = sections[table.link].data
    used = _referenced(sections)
    kept = [
        index
        for index, (name, *_) in enumerate(SYMBOL.iter_unpack(table.data))
        if index < 1 or index in used or not strings.startswith(b".L", name)
    ]
    symbols, names = _rebuilt(table, strings, kept)
    renumbered = {old: new for new, old in enumerate(kept)}
    # sh_info of a symbol table: one more than the last local symbol; kept is in file order.
    local = sum(1 for index in kept if index < table.info)
    changed = {tables[0]: table.with_data(symbols, local)}
    changed[table.link] = sections[table.link].with_data(names)
    section_names = sections[HEADER.unpack_from(module)[13]].data
    for index, section in enumerate(sections):
        if section.type == RELA and section.link == tables[0]:
            changed[index] = section.with_data(_relinked(section.data, renumbered))
        elif section.type == GROUP:
            changed[index] = replace(section, info=renumbered[section.info])
        elif _text(section_names, section.name) in UNUSED:
            changed[index] = section.with_data(b"")
    return _assembled(module, [changed.get(i, section) for i, section in enumerate(sections)])


def _sections(module: bytes) -> list[Section]:
    fields = HEADER.unpack_from(module)
    start, count = fields[6], fields[12]
    headers = SECTION.iter_unpack(module[start : start + count * SECTION.size])
    return [_section(module, *header) for header in headers]


def _section(module: bytes, *header: int) -> Section:
    name, kind, flags, address, offset, size, link, info, align, entry_size = header
    data = b"" if kind == NOBITS else module[offset : offset + size]
    return Section(name, kind, flags, address, size, link, info, align, entry_size, data)


def _referenced(sections: list[Section]) -> set[int]:
    used = {section.info for section in sections if section.type == GROUP}
    for section in sections:
        if section.type == RELA:
            used |= {info >> 32 for _, info, _ in RELOCATION.iter_unpack(section.data)}
    return used


def _rebuilt(table: Section, strings: bytes, kept: list[int]) -> tuple[bytes, bytes]:
    """The symbol table with only `kept`, and its string table; labels lose their names.

    Relocations go by number; the names of those thousands of labels are dead weight.
    """
    symbols, names = bytearray(), bytearray(b"\0")
    for index in kept:
        offset, *rest = SYMBOL.unpack_from(table.data, index * SYMBOL.size)
        name = _text(strings, offset)
        label = not name or name.startswith(".L")
        symbols += SYMBOL.pack(0 if label else len(names), *rest)
        if not label:
            names += name.encode() + b"\0"
    return bytes(symbols), bytes(names)


def _relinked(relocations: bytes, renumbered: dict[int, int]) -> bytes:
    out = bytearray()
    for offset, info, addend in RELOCATION.iter_unpack(relocations):
        symbol, kind = info >> 32, info & 0xFFFFFFFF
        out += RELOCATION.pack(offset, renumbered[symbol] << 32 | kind, addend)
    return bytes(out)


def _assembled(module: bytes, sections: list[Section]) -> bytes:
    out = bytearray(HEADER.size)
    headers = bytearray()
    for section in sections:
        out += bytes(-len(out) % max(section.align, 1))
        headers += section.header(len(out))
        out += section.data
    out += bytes(-len(out) % 8)
    fields = list(HEADER.unpack_from(module))
    fields[6] = len(out)
    HEADER.pack_into(out, 0, *fields)
    return bytes(out + headers)


def _text(strings: bytes, offset: int) -> str:
    return strings[offset : strings.index(b"\0", offset)].decode()
