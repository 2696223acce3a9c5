"""From a cpu node to the core's extension names."""

from __future__ import annotations

from pathlib import Path

import pytest

from board.trees import tree as make
from rvvm.py import isa
from rvvm.py.errors import UserError

LEGACY = ["zicsr", "zifencei", "zicntr", "zihpm"]


def cpu(folder: Path, properties: str) -> list[str]:
    return isa.extensions(make(folder, f"cpu {{ {properties} }};")["/cpu"])


def test_the_list_is_taken_as_it_is(tmp_path: Path) -> None:
    listed = 'riscv,isa-base = "rv64i"; riscv,isa-extensions = "i", "m", "zba", "i";'
    assert cpu(tmp_path, listed + 'riscv,isa = "rv64gc";') == ["i", "m", "zba", "u"]


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        ("none", ["u"]),
        ("sv39", ["s", "u", "sv39"]),
        ("sv57", ["s", "u", "sv39", "sv48", "sv57"]),
    ],
)
def test_mmu_type(tmp_path: Path, mode: str, names: list[str]) -> None:
    text = f'riscv,isa-extensions = "i"; mmu-type = "riscv,{mode}";'
    assert cpu(tmp_path, text) == ["i", *names]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("rv64imafdc", ["i", "m", "a", "f", "d", "c"]),
        ("RV64GC", ["i", "m", "a", "f", "d", "c"]),
        ("rv64imafdch_zba_sstc", ["i", "m", "a", "f", "d", "c", "h", "zba", "sstc"]),
        ("rv64i2p1m2p0_zba1p0_svinval", ["i", "m", "zba", "svinval"]),
        ("rv64imafdcsu", ["i", "m", "a", "f", "d", "c"]),
        ("rv64imaczicsr_zifencei", ["i", "m", "a", "c", "zicsr", "zifencei"]),
        ("rv64i_ss1p13_za64rs", ["i", "ss1p13", "za64rs"]),
        ("rv64i_m_xvendor", ["i", "m", "xvendor"]),
    ],
)
def test_legacy_strings(text: str, names: list[str]) -> None:
    assert isa.parse(text) == list(dict.fromkeys([*names, *LEGACY]))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rv32imac", "only rv64"),
        ("", "only rv64"),
        ("rv64", "no i"),
        ("rv64mac", "no i"),
        ("rv64i_", "'' is not"),
        ("rv64i_zba__zbb", "'' is not"),
        ("rv64i-zba", "'-zba' is not"),
        ("rv64i_quux", "'quux' is not"),
    ],
)
def test_impossible_strings(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        cpu(tmp_path, f'riscv,isa = "{text}";')
    assert "board.dts:3: /cpu: riscv,isa is " in str(caught.value) and says in str(caught.value)


@pytest.mark.parametrize(
    ("properties", "says"),
    [
        ("", "has no riscv,isa"),
        ('riscv,isa-extensions = "m";', "does not list i"),
        ('riscv,isa-base = "rv32i"; riscv,isa-extensions = "i";', "is rv32i; only rv64i"),
        ('riscv,isa-extensions = "i"; mmu-type = "riscv,sv64";', "mmu-type is sv64, expected"),
    ],
)
def test_impossible_nodes(tmp_path: Path, properties: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        cpu(tmp_path, properties)
    assert "board.dts:3: /cpu: " in str(caught.value) and says in str(caught.value)


def test_the_legacy_string_says_the_same(tmp_path: Path) -> None:
    text = 'riscv,isa-extensions = "i", "h", "m", "c", "zba", "sstc";'
    node = make(tmp_path, f"cpu {{ {text} }};")["/cpu"]
    assert isa.legacy_string(node) == "rv64imch_zba_sstc"
    assert set(isa.parse(isa.legacy_string(node))) >= set(node.strings("riscv,isa-extensions"))
