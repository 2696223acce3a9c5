"""Softfloat against exact integers, the host's shorter way against softfloat.

Unprivileged spec, chapters "F", "D", "Zfh and Zfhmin", "Zfa"; IEEE 754-2008.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvvm._core import softfloat
from semantics.float_operands import all_edges, edges, packed, random_operands
from semantics.float_reference import (
    ALL_ONES,
    DZ,
    FORMATS,
    INSTRUCTIONS,
    MODES,
    NV,
    NX,
    OF,
    RMM,
    RNE,
    RTZ,
    RUP,
    UF,
    D,
    H,
    S,
    evaluate,
)

NAMES = sorted(INSTRUCTIONS)
QNAN, SNAN = D.nan, D.nan - 1
ONE, INFINITY, MIN_NORMAL = D.bias << D.fraction, D.infinity, 1 << D.fraction


def many(
    name: str, operands: array[int], rm: int, *, fast: bool = False, accrued: int = 0
) -> list[tuple[int, int]]:
    pairs = array("Q", softfloat.evaluate_many(name, operands, rm, fast, accrued))
    return list(zip(pairs[::2], pairs[1::2], strict=True))


def modes(name: str) -> Iterable[int]:
    return MODES if INSTRUCTIONS[name].rounds else (RNE,)


def agree(name: str, operands: list[tuple[int, ...]]) -> None:
    """Every mode, the core against the reference."""
    for rm in modes(name):
        for operand, found in zip(operands, many(name, packed(operands), rm), strict=True):
            expected = evaluate(name, operand, rm)
            assert found == expected, describe(name, operand, rm, found, expected)


def describe(name: str, operand: tuple[int, ...], rm: int, *pairs: tuple[int, int]) -> str:
    registers = " ".join(f"{n:#x}" for n in operand)
    return f"{name} {registers} rm={rm}: " + " / ".join(f"{r:#x} {f:05b}" for r, f in pairs)


def test_every_instruction_has_a_reference() -> None:
    assert sorted(softfloat.names()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_edges(name: str) -> None:
    agree(name, list(all_edges(INSTRUCTIONS[name].sources)))


@pytest.mark.parametrize("name", NAMES)
def test_random(name: str) -> None:
    agree(name, random_operands(INSTRUCTIONS[name].sources, 400, name))


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_random_at_length(name: str) -> None:
    agree(name, random_operands(INSTRUCTIONS[name].sources, 10_000, f"{name} at length"))


@pytest.mark.long
@pytest.mark.parametrize(
    "name", [n for n in NAMES if INSTRUCTIONS[n].sources == "h" or n.startswith("fmv_h")]
)
def test_every_half(name: str) -> None:
    """One operand of 16 bits: all there are."""
    agree(name, [(bits | H.boxing,) for bits in range(1 << 16)])


@given(st.data())
@settings(max_examples=500, deadline=None)
def test_any_register(data: st.DataObject) -> None:
    """Any 64 bits in a register, boxed or not."""
    name = data.draw(st.sampled_from(NAMES))
    register = st.integers(0, ALL_ONES) | st.sampled_from(edges("s", 1) + edges("d", 1))
    agree(name, [data.draw(st.tuples(*(register for _ in INSTRUCTIONS[name].sources)))])


# The shorter way.


def fast_agrees(name: str, operands: list[tuple[int, ...]]) -> None:
    """Without NX accrued all flags are exact; with it NX, and nothing else, may go unreported."""
    flat = packed(operands)
    for rm in modes(name):
        soft = many(name, flat, rm)
        assert many(name, flat, rm, fast=True, accrued=0x1E) == soft, (name, rm)
        fast = many(name, flat, rm, fast=True, accrued=NX)
        assert [(r, f | NX) for r, f in fast] == [(r, f | NX) for r, f in soft], (name, rm)


@pytest.mark.parametrize("name", NAMES)
def test_fast_is_soft(name: str) -> None:
    sources = INSTRUCTIONS[name].sources
    fast_agrees(name, [*all_edges(sources), *shared_random(sources)])


@cache
def shared_random(sources: str) -> list[tuple[int, ...]]:
    """Drawing operands takes longer than trying them."""
    return random_operands(sources, 10_000, "fast")


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_fast_is_soft_at_length(name: str) -> None:
    fast_agrees(name, random_operands(INSTRUCTIONS[name].sources, 100_000, f"fast {name}"))


# Named corners, so that a failure says what was forgotten.

CORNERS = [
    ("fmadd_d", (INFINITY, 0, QNAN), RNE, QNAN, NV, "infinity * 0 + qNaN is invalid"),
    ("fmadd_d", (QNAN, ONE, ONE), RNE, QNAN, 0, "a quiet NaN is not"),
    ("fnmadd_d", (ONE, ONE, D.sign | ONE), RNE, 0, 0, "-(1 * 1) - -1 is +0"),
    ("fmin_d", (SNAN, ONE), RNE, ONE, NV, "minimumNumber(sNaN, x) is x, and invalid"),
    ("fminm_d", (QNAN, ONE), RNE, QNAN, 0, "minimum(qNaN, x) is NaN"),
    ("fmin_d", (0, D.sign), RNE, D.sign, 0, "-0 is less than +0"),
    ("fmax_d", (D.sign, 0), RNE, 0, 0, "+0 is greater than -0"),
    ("fmul_d", (MIN_NORMAL, ONE - 1), RNE, MIN_NORMAL, NX | UF, "tiny after rounding"),
    ("fmul_d", (MIN_NORMAL + 1, ONE - 2), RUP, MIN_NORMAL, NX, "rounded up out of tininess"),
    ("fdiv_d", (ONE, D.sign), RNE, D.sign | INFINITY, DZ, "1 / -0"),
    ("fadd_d", (INFINITY - 1, INFINITY - 1), RTZ, INFINITY - 1, OF | NX, "overflow, truncated"),
    ("fsqrt_d", (D.sign,), RNE, D.sign, 0, "the root of -0"),
    ("fcvt_wu_d", (D.sign | ONE,), RNE, 0, NV, "-1 to unsigned"),
    ("fcvt_wu_d", (D.sign | ONE - (1 << 52),), RNE, 0, NX, "-0.5 to unsigned"),
    ("fcvt_wu_d", (QNAN,), RNE, ALL_ONES, NV, "2**32 - 1 is sign-extended"),
    ("fcvt_w_d", (ONE - (1 << 52),), RMM, 1, NX, "a half, away from zero"),
    ("fcvtmod_w_d", (0x41F0000000100000,), RNE, 1, NV, "2**32 + 1 modulo 2**32"),
    ("fround_d", (D.sign | 1,), RNE, D.sign, 0, "-0 for a negative fraction, silently"),
    ("froundnx_d", (D.sign | 1,), RNE, D.sign, NX, "and not"),
    ("fltq_d", (QNAN, ONE), RNE, 0, 0, "quiet"),
    ("flt_d", (QNAN, ONE), RNE, 0, NV, "signaling"),
    ("fli_h", (29,), RNE, H.boxing | H.infinity, 0, "2**16 does not fit in a half"),
    ("fsgnj_s", (ONE, ONE), RNE, S.boxing | S.nan, 0, "sign injection looks at the box"),
    ("fmv_x_w", (0x80000001,), RNE, 0xFFFFFFFF_80000001, 0, "fmv.x.w does not"),
    ("fadd_s", (S.bias << 23, S.boxing), RNE, S.boxing | S.nan, 0, "an open box is a quiet NaN"),
    ("fcvt_s_d", (SNAN,), RNE, S.boxing | S.nan, NV, "narrowing a signaling NaN"),
]


@pytest.mark.parametrize(
    ("name", "operands", "rm", "result", "flags"),
    [corner[:5] for corner in CORNERS],
    ids=[f"{corner[0]}: {corner[5]}" for corner in CORNERS],
)
def test_corner(name: str, operands: tuple[int, ...], rm: int, result: int, flags: int) -> None:
    assert evaluate(name, operands, rm) == (result, flags), "the reference"
    assert softfloat.evaluate(name, *operands, rm=rm) == (result, flags), "the core"


@pytest.mark.parametrize("rm", [5, 6, 7])
def test_reserved_rounding_modes(rm: int) -> None:
    """Only instructions with an rm field mind, the exact ones among them."""
    for name in NAMES:
        if INSTRUCTIONS[name].rounds:
            with pytest.raises(ValueError, match="reserved"):
                softfloat.evaluate(name, 0, rm=rm)
        else:
            softfloat.evaluate(name, 0, rm=rm)


def test_boxes() -> None:
    """A narrower result comes boxed, and an integer result does not."""
    for name in NAMES:
        result, _ = softfloat.evaluate(name, 0)
        target = INSTRUCTIONS[name].target
        if target != "x":
            boxing = FORMATS[target].boxing
            assert result & boxing == boxing, name
