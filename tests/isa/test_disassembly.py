"""The text of every row is capstone's, but for differences that are named here with a reason.

A named difference says what capstone writes instead. It fails when that is no longer so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from isa.reference import PC, text_of, words
from rvvm import _core

ROWS = {row["name"]: row for row in _core.instructions()}


@dataclass(frozen=True)
class Difference:
    """Why capstone's text is another, and which, given ours."""

    reason: str
    theirs: Callable[[int, str], str | None]


def absent(word: int, ours: str) -> None:
    return None


def instead(text: str) -> Callable[[int, str], str]:
    return lambda word, ours: text


def plain_fence_only(word: int, ours: str) -> str | None:
    return None if word >> 28 else ours


def without_rne(word: int, ours: str) -> str:
    return ours.removesuffix(", rne")


HINT = "hints are shown as the instruction they are hints in"
DIFFERENCES = {
    "fence": Difference("a reserved fm is refused", plain_fence_only),
    "pause": Difference(HINT, instead("fence w, 0")),
    "ntl_p1": Difference(HINT, instead("add zero, zero, sp")),
    "ntl_pall": Difference(HINT, instead("add zero, zero, gp")),
    "ntl_s1": Difference(HINT, instead("add zero, zero, tp")),
    "ntl_all": Difference(HINT, instead("add zero, zero, t0")),
}
DIFFERENCES |= {
    name: Difference("the mode of these exact conversions is shown unless it is RNE", without_rne)
    for name in ("fcvt_s_h", "fcvt_d_h", "fcvt_d_s", "fcvt_d_w", "fcvt_d_wu")
}
DIFFERENCES |= {
    name: Difference("Zabha is unknown", absent)
    for name, row in ROWS.items()
    if "zabha" in row["need"].get("all", [])
}


@pytest.mark.parametrize("name", [name for name in ROWS if not name.startswith("csr")])
def test_text_is_capstones(name: str) -> None:
    for word in words(ROWS[name], 50):
        ours = _core.disassemble(word, PC)
        expected = DIFFERENCES[name].theirs(word, ours) if name in DIFFERENCES else ours
        assert text_of(word, 4) == expected, hex(word)


@pytest.mark.parametrize("name", DIFFERENCES)
def test_named_difference_is_one(name: str) -> None:
    assert any(text_of(word, 4) != _core.disassemble(word, PC) for word in words(ROWS[name], 50))


@pytest.mark.parametrize("name", [name for name in ROWS if name.startswith("csr")])
def test_csr_text_is_capstones(name: str) -> None:
    """A CSR that only one of the two names is a number to the other."""
    for word in words(ROWS[name], 200):
        ours, theirs = _core.disassemble(word, PC).split(", "), str(text_of(word, 4)).split(", ")
        assert [ours[0], ours[2]] == [theirs[0], theirs[2]]
        assert ours[1] == theirs[1] or "0123456789".find(ours[1][0]) >= 0


def test_csr_names_are_capstones() -> None:
    for csr in _core.csrs():
        word = csr["address"] << 20 | 0x2573
        assert text_of(word, 4) == _core.disassemble(word, PC) == f"csrrs a0, {csr['name']}, zero"


@pytest.mark.parametrize(
    ("word", "text"),
    [
        (0x00008067, "jalr zero, 0(ra)"),
        (0xFE0588E3, "beq a1, zero, 0xff0"),
        (0xFFFFF56F, "jal a0, 0xffe"),
        (0x0AB5252F, "amoswap.w.rl a0, a1, (a0)"),
        (0xF0108553, "fli.s fa0, min"),
        (0x8505, "srai a0, a0, 1"),
        (0x0000, ".2byte 0x0"),
        (0xFFFFFFFF, ".4byte 0xffffffff"),
    ],
)
def test_style(word: int, text: str) -> None:
    assert _core.disassemble(word, PC) == text


def test_targets_wrap_around() -> None:
    assert _core.disassemble(0xFE0588E3, 0) == "beq a1, zero, 0xfffffffffffffff0"
