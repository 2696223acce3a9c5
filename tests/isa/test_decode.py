"""Every row decodes to itself, and what the manual reserves decodes to nothing."""

from __future__ import annotations

from random import Random

import pytest

from isa.reference import words
from rvvm import _core

ROWS = {row["name"]: row for row in _core.instructions()}
OPERANDS = ["name", "rd", "rs1", "rs2", "rs3", "rm", "imm", "encoding"]


def name_of(word: int, extensions: list[str] | None = None) -> str:
    return str(_core.decode(word, extensions)["name"])


def within(row: dict[str, object]) -> list[str]:
    """The rows whose encodings include this row's, as add includes ntl.p1."""
    mask, match = row["mask"], row["match"]
    return [
        name
        for name, other in ROWS.items()
        if other is not row and mask & other["mask"] == other["mask"]
        if match & other["mask"] == other["match"]
    ]


@pytest.mark.parametrize("name", ROWS)
def test_row_decodes_to_itself(name: str) -> None:
    hints = {hint for hint, row in ROWS.items() if name in within(row)}
    for word in words(ROWS[name], 50):
        decoded = _core.decode(word)
        assert decoded["name"] == name or decoded["name"] in hints
        assert decoded["length"] == 4
        assert decoded["encoding"] == word


@pytest.mark.parametrize("name", ROWS)
def test_operands_are_those_of_the_bit_string(name: str) -> None:
    places = {"d": ("rd", 7, 31), "s": ("rs1", 15, 31), "t": ("rs2", 20, 31), "u": ("rs3", 27, 31)}
    places |= {"m": ("rm", 12, 7), "a": ("rm", 25, 3)}
    [needed] = ROWS[name]["need"].values()
    for word in words(ROWS[name], 20):
        decoded = _core.decode(word, needed)
        for letter, (operand, shift, mask) in places.items():
            if letter in ROWS[name]["bits"]:
                assert decoded[operand] == word >> shift & mask
        assert decoded["rd"] == 0 or "d" in ROWS[name]["bits"]


@pytest.mark.parametrize(
    ("word", "imm"),
    [
        (0xFFF00513, -1),  # addi a0, zero, -1
        (0xFE000FA3, -1),  # sb zero, -1(zero)
        (0x80000537, -(1 << 31)),  # lui a0, 0x80000
        (0x800000EF, -(1 << 20)),  # jal ra, -1 MiB
        (0x7FFFF0EF, (1 << 20) - 2),
        (0x80000063, -(1 << 12)),  # beq zero, zero, -4 KiB
        (0x7E000FE3, (1 << 12) - 2),
        (0x03F51513, 63),  # slli a0, a0, 63
        (0xFFF02573, 0xFFF),  # csrrs a0, 0xfff, zero
        (0x8330000F, 0),  # fence.tso
        (0x0FF0000F, 0xFF),  # fence iorw, iorw
        (0xFE056013, -32),  # prefetch.i -32(a0)
        (0xCDF5C573, 31),  # mop.r.31 a0, a1
        (0xCEC5C573, 7),  # mop.rr.7 a0, a1, a2
    ],
)
def test_immediates(word: int, imm: int) -> None:
    assert _core.decode(word)["imm"] == imm


@pytest.mark.parametrize(
    ("word", "why"),
    [
        (0x00000000, "all zero"),
        (0xFFFFFFFF, "all ones"),
        (0x0000001F, "the prefix of 48 bits"),
        (0x0000003F, "the prefix of 64 bits"),
        (0x0000007F, "the prefix of more"),
        (0x1015252F, "lr.w with rs2 = ra"),
        (0x1015352F, "lr.d with rs2 = ra"),
        (0x28A5C5AF, "amocas.q with an odd rd"),
        (0x28B5C52F, "amocas.q with an odd rs2"),
        (0x00B55553, "fadd.s with rm = 5"),
        (0x00B56553, "fadd.s with rm = 6"),
        (0x00B56543, "fmadd.s with rm = 6"),
        (0xE0051553 | 1 << 20, "fclass.s with rs2 = 1"),
        (0xF0058553 | 1 << 21, "fli.s with rs2 = 3"),
        (0xC28505D3 | 7 << 12, "fcvtmod.w.d with the dynamic mode"),
        (0x06B50533, "add with funct7 = 3"),
        (0x40051513, "slli with funct6 = 16"),
        (0x0205151B, "slliw with shamt[5]"),
        (0x6A855513, "rev8 of RV32"),
        (0x08F51513, "zip of RV32"),
        (0x00200073, "uret"),
        (0x30200173, "mret with rd = sp"),
        (0x0035A00F, "cbo with an unknown operation"),
        (0x0040200F | 1 << 7, "cbo.zero with rd = ra"),
        (0x00004073, "SYSTEM with funct3 = 4"),
        (0x6025C573, "hlv.b with rs2 = 2"),
    ],
)
def test_reserved_encodings_are_illegal(word: int, why: str) -> None:
    assert name_of(word) == "illegal", why


def test_longer_instructions_are_illegal() -> None:
    """Unprivileged ISA, "Expanded Instruction-Length Encoding": 11111 in the low bits."""
    random = Random(0)
    for _ in range(2000):
        assert name_of(random.getrandbits(32) | 0x1F) == "illegal"


@pytest.mark.parametrize("word", [0xF0F5850F, 0x0330000F, 0x7FF0000F, 0x0000008F, 0x0000800F])
def test_reserved_fences_are_fences(word: int) -> None:
    """Unprivileged ISA, "Memory Ordering Instructions": fm, rd and rs1 are ignored."""
    assert name_of(word) == "fence"


def test_fence_i_ignores_its_operands() -> None:
    assert name_of(0xFFFF9F8F) == "fence_i"


def test_a_shared_encoding_belongs_to_the_extension_that_is_there() -> None:
    assert name_of(0x0805C53B) == "zext_h"
    assert name_of(0x0805C53B, ["i", "zbkb"]) == "packw"
    assert name_of(0x00200033, ["i"]) == "add"
    assert name_of(0x00200033, ["i", "zihintntl"]) == "ntl_p1"


@pytest.mark.parametrize("name", ROWS)
def test_without_its_extensions_a_row_is_illegal(name: str) -> None:
    row = ROWS[name]
    [(quantifier, needed)] = row["need"].items()
    too_few = [["i"]] if needed != ["i"] else [[]]
    if quantifier == "all" and len(needed) > 1:
        too_few += [[one] for one in needed]
    for word in words(row, 5):
        assert name_of(word, needed) == name
        for extensions in too_few:
            assert name_of(word, extensions) in {"illegal", *within(row)} - {name}
    for one in needed if quantifier == "any" else []:
        assert name_of(next(words(row, 1)), [one]) == name


def test_unknown_extensions_are_named() -> None:
    with pytest.raises(ValueError, match="unknown extension: xyzzy"):
        _core.decode(0x13, ["i", "xyzzy"])


def test_operands_survive_encoding() -> None:
    random = Random(1)
    for _ in range(20_000):
        decoded = _core.decode(random.getrandbits(32) | 3)
        if decoded["name"] != "illegal":
            again = _core.decode(decoded["encoding"])
            assert [again[key] for key in OPERANDS] == [decoded[key] for key in OPERANDS]
