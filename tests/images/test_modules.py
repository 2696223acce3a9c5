"""Kernel modules: what they need, the files modprobe reads, and the symbols left out."""

from __future__ import annotations

import io
import lzma

import pytest
from elftools.elf.elffile import ELFFile

from images import debs
from rvvm.py.errors import UserError
from rvvm.py.images import modules, symbols

PACKAGED = {
    "kernel/fs/ext4.ko.xz": {"name": "ext4", "depends": "jbd2", "softdep": "pre: crypto-crc32c"},
    "kernel/fs/jbd2.ko.xz": {"name": "jbd2", "depends": "", "alias": "fs-jbd2"},
    "kernel/crypto/crc32c-generic.ko.xz": {"name": "crc32c_generic", "alias": "crypto-crc32c"},
    "kernel/net/9p.ko.xz": {"name": "9p", "depends": "9pnet,built-in"},
    "kernel/net/9pnet.ko.xz": {"name": "9pnet", "depends": ""},
}


def closure(*wanted: str) -> modules.Closure:
    packaged = {path: lzma.compress(debs.module(info)) for path, info in PACKAGED.items()}
    return modules.Closure(wanted, modules.loader(packaged))


def test_needs_come_first() -> None:
    assert list(closure("9p").modules) == ["9pnet", "9p"]


def test_index_files() -> None:
    text = dict(modules.index_files(closure("crc32c_generic", "ext4")))
    assert text["modules.dep"].splitlines() == [
        "kernel/crypto/crc32c-generic.ko:",
        "kernel/fs/jbd2.ko:",
        "kernel/fs/ext4.ko: kernel/fs/jbd2.ko kernel/crypto/crc32c-generic.ko",
    ]
    assert "alias crypto-crc32c crc32c_generic\n" in text["modules.alias"]


def test_a_missing_module_is_one_line() -> None:
    with pytest.raises(UserError, match="no module nfs"):
        closure("nfs")


def relocations(data: bytes) -> list[tuple[int, int, str, int]]:
    """Of .text: offset, addend, symbol name ("" for a label), symbol value."""
    elf = ELFFile(io.BytesIO(data))
    table = elf.get_section_by_name(".symtab")
    found = []
    for entry in elf.get_section_by_name(".rela.text").iter_relocations():
        symbol = table.get_symbol(entry["r_info_sym"])
        name = "" if symbol.name.startswith(".L") else symbol.name
        found.append((entry["r_offset"], entry["r_addend"], name, symbol["st_value"]))
    return found


def test_slim_modules_mean_the_same() -> None:
    whole = debs.module({"name": "x"}, labels=500)
    slim = symbols.slim(whole)
    assert len(slim) < len(whole) / 5
    assert relocations(slim) == relocations(whole) == [(0, 0, "", 4), (8, -4, "work", 8)]
    elf = ELFFile(io.BytesIO(slim))
    assert elf.get_section_by_name(".symtab").num_symbols() == 3
    assert elf.get_section_by_name(".symtab")["sh_info"] == 2
    assert elf.get_section_by_name(".BTF").data() == b""
    assert modules.Module("x.ko", slim).info == {"name": ["x"]}
    assert symbols.slim(slim) == slim
