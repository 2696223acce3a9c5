"""All 65,536 parcels of 16 bits, against capstone and against the manual's tables."""

from __future__ import annotations

from functools import cache

import pytest

from isa.reference import PC, text_of
from rvvm import _core

ROWS = {row["name"]: row for row in _core.compressed()}
PARCELS = [word for word in range(1 << 16) if word & 3 != 3]
HINTS = {"c_addi", "c_li", "c_lui", "c_slli", "c_srli", "c_srai", "c_add", "c_mv"}
HINTS |= {"c_ntl_p1", "c_ntl_pall", "c_ntl_s1", "c_ntl_all"}


@cache
def by_row() -> dict[str | None, list[int]]:
    """The parcels of each row; where rows lie within each other, of the most specific one."""
    found: dict[str | None, list[int]] = {}
    rows = sorted(ROWS.values(), key=lambda row: -row["mask"].bit_count())
    for word in PARCELS:
        name = next((row["name"] for row in rows if word & row["mask"] == row["match"]), None)
        found.setdefault(name, []).append(word)
    return found


def is_hint(word: int) -> bool:
    """Unprivileged ISA, C, "HINT Instructions": no result, or the operand unchanged."""
    insn = _core.decode(word)
    unchanged = insn["rd"] == insn["rs1"] and insn["imm"] == 0 and insn["rs2"] == 0
    return bool((insn["rd"] == 0 or unchanged) and word != 1)  # 1 is c.nop itself


def theirs(name: str | None, word: int) -> str | None:
    """What capstone should say about a parcel of a row."""
    ours = _core.disassemble(word, PC)
    operands = ours.partition(" ")[2].split(", ")
    match name:
        case "c_mop":  # Zcmop is not expanded
            return f"cmop.{word >> 7 & 31}"
        case "c_lui_zero":  # reserved by the manual: "the code points with imm=0"
            return str(text_of(word, 2)) if "lui" in str(text_of(word, 2)) else None
        case "c_reserved_zero":  # the parcel of zeros has a name there
            return "unimp" if word == 0 else None
        case "c_mv" if not is_hint(word):  # the manual: "expands to add rd, x0, rs2"
            return f"addi {operands[0]}, {operands[2]}, 0"
        case _:
            return None if ours.startswith(".2byte") else ours


@pytest.mark.parametrize("name", [*ROWS, None])
def test_every_parcel_is_capstones(name: str | None) -> None:
    for word in by_row()[name]:
        text = text_of(word, 2)
        if name in HINTS and is_hint(word):
            assert str(text).startswith("c.")  # a HINT is not expanded there
        else:
            assert text == theirs(name, word), hex(word)


@pytest.mark.parametrize("name", ["c_mop", "c_lui_zero", "c_reserved_zero", "c_mv"])
def test_named_difference_is_one(name: str) -> None:
    assert any(text_of(word, 2) != _core.disassemble(word, PC) for word in by_row()[name])


@pytest.mark.parametrize("name", sorted(HINTS))
def test_hints_are_not_expanded_there(name: str) -> None:
    hints = [word for word in by_row()[name] if is_hint(word)]
    assert hints
    assert all(text_of(word, 2) != _core.disassemble(word, PC) for word in hints)


@pytest.mark.parametrize("name", ROWS)
def test_row_expands_to_its_instruction(name: str) -> None:
    for word in by_row()[name]:
        insn = _core.decode(word)
        assert insn["name"] == ROWS[name]["expands_to"]
        assert insn["length"] == 2
        assert insn["bits"] == word
        assert insn["name"] == "illegal" or is_hint(word) or expansion_decodes(insn)


def expansion_decodes(insn: dict[str, object]) -> bool:
    wide = _core.decode(insn["encoding"])
    keys = ("rd", "rs1", "rs2", "imm")
    return insn["name"] == wide["name"] and all(insn[key] == wide[key] for key in keys)


@pytest.mark.parametrize(
    "word",
    [
        0x0000,  # the parcel of zeros
        0x0004,  # c.addi4spn s1, 0
        0x2001,  # c.addiw zero
        0x6101,  # c.addi16sp 0
        0x6001,  # c.lui zero, 0
        0x4002,  # c.lwsp zero
        0x6002,  # c.ldsp zero
        0x8002,  # c.jr zero
        0x8C40,  # beside c.sh
        0x9C79,  # beside c.not
    ],
)
def test_reserved_parcels_are_illegal(word: int) -> None:
    assert _core.decode(word)["name"] == "illegal"


@pytest.mark.parametrize("name", ROWS)
def test_without_its_extensions_a_row_is_another_or_illegal(name: str) -> None:
    """Without C nothing is compressed; of several extensions each is needed."""
    [(_, needed)] = ROWS[name]["need"].items()
    for word in by_row()[name][:20]:
        assert _core.decode(word, needed)["name"] == ROWS[name]["expands_to"]
        assert _core.decode(word, ["i", "m", "a", "f", "d"])["name"] == "illegal"
        for one in needed if len(needed) > 1 else []:
            assert _core.decode(word, [one])["name"] in {"illegal", "add"}


def test_double_loads_come_with_both_c_and_d() -> None:
    assert _core.decode(0x2108, ["i", "c"])["name"] == "illegal"
    assert _core.decode(0x2108, ["i", "c", "d"])["name"] == "fld"
    assert _core.decode(0x2108, ["i", "zca", "d"])["name"] == "illegal"
