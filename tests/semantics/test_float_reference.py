"""The reference itself, against arithmetic that others wrote: numpy (the host) and gmpy2 (MPFR)."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import product
from typing import Any

import pytest

from semantics.float_operands import all_edges, random_operands
from semantics.float_reference import (
    DZ,
    FORMATS,
    INSTRUCTIONS,
    NV,
    NX,
    OF,
    RDN,
    RMM,
    RNE,
    RTZ,
    RUP,
    UF,
    Format,
    evaluate,
    unbox,
    unpack,
)

numpy = pytest.importorskip("numpy")
gmpy2 = pytest.importorskip("gmpy2")

ARITHMETIC = ("fadd", "fsub", "fmul", "fdiv", "fsqrt")
FUSED = {"fmadd": (1, 1), "fmsub": (1, -1), "fnmsub": (-1, 1), "fnmadd": (-1, -1)}
MPFR_MODES = {
    RNE: gmpy2.RoundToNearest,
    RTZ: gmpy2.RoundToZero,
    RDN: gmpy2.RoundDown,
    RUP: gmpy2.RoundUp,
}


def operands_of(name: str, count: int) -> list[tuple[int, ...]]:
    """Some edges, evenly picked, and some random ones."""
    sources = INSTRUCTIONS[name].sources
    chosen = list(all_edges(sources))
    return chosen[:: len(chosen) // count + 1] + random_operands(sources, count, name)


def to_numpy(f: Format, raw: int) -> Any:
    kind = {16: numpy.uint16, 32: numpy.uint32, 64: numpy.uint64}[f.width]
    return kind(unbox(f, raw)).view(f"float{f.width}")


def to_mpfr(f: Format, raw: int) -> Any:
    n = unpack(f, unbox(f, raw))
    if n.nan:
        return gmpy2.nan()
    if n.infinite:
        return gmpy2.inf(-1 if n.negative else 1)
    if n.zero:
        return gmpy2.zero(-1 if n.negative else 1)
    with gmpy2.context(precision=64, emin=-5000, emax=5000):
        return gmpy2.mpfr(n.value)


def from_mpfr(f: Format, value: Any) -> int:
    """The datum of a value that the format holds."""
    sign = f.sign if gmpy2.is_signed(value) else 0
    if gmpy2.is_nan(value):
        return f.nan
    if gmpy2.is_infinite(value):
        return sign | f.infinity
    if gmpy2.is_zero(value):
        return sign
    size = abs(Fraction(*map(int, value.as_integer_ratio())))
    low, high = 0, f.infinity - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if unpack(f, middle).value < size else (low, middle)
    assert unpack(f, low).value == size
    return sign | low


@pytest.mark.parametrize(("kind", "letter"), list(product(ARITHMETIC, "hsd")))
def test_nearest_even_is_the_hosts(kind: str, letter: str) -> None:
    f, name = FORMATS[letter], f"{kind}_{letter}"
    operation = {
        "fadd": numpy.add,
        "fsub": numpy.subtract,
        "fmul": numpy.multiply,
        "fdiv": numpy.divide,
        "fsqrt": numpy.sqrt,
    }[kind]
    with numpy.errstate(all="ignore"):
        for operands in operands_of(name, 1500):
            theirs = operation(*(to_numpy(f, raw) for raw in operands))
            bits = f.nan if numpy.isnan(theirs) else int(theirs.view(f"uint{f.width}"))
            assert evaluate(name, operands, RNE)[0] == bits | f.boxing, operands


@pytest.mark.parametrize(("kind", "letter"), list(product(ARITHMETIC, "hsd")))
def test_directed_modes_are_mpfrs(kind: str, letter: str) -> None:
    check_against_mpfr(f"{kind}_{letter}", getattr(gmpy2, kind[1:]), NX | UF | OF | DZ)


@pytest.mark.parametrize(("kind", "letter"), list(product(FUSED, "hsd")))
def test_fused_is_mpfrs(kind: str, letter: str) -> None:
    product_sign, addend_sign = FUSED[kind]

    def fused(a: Any, b: Any, c: Any) -> object:
        return gmpy2.fma(-a if product_sign < 0 else a, b, -c if addend_sign < 0 else c)

    # mpfr_fma's underflow may be one of its intermediate product.
    check_against_mpfr(f"{kind}_{letter}", fused, NX | OF | DZ)


def check_against_mpfr(name: str, operation: Callable[..., object], compared: int) -> None:
    """Results, and those flags that MPFR raises when IEEE 754 does."""
    f = FORMATS[name[-1]]
    for operands, (rm, mpfr_mode) in product(operands_of(name, 300), MPFR_MODES.items()):
        values = [to_mpfr(f, raw) for raw in operands]
        with gmpy2.context(gmpy2.ieee(f.width), round=mpfr_mode) as context:
            theirs = operation(*values)
            # MPFR calls an exact subnormal result an underflow too.
            flags = UF if context.underflow and context.inexact else 0
            flags |= NX * context.inexact | OF * context.overflow | DZ * context.divzero
        result, ours = evaluate(name, operands, rm)
        assert result == from_mpfr(f, theirs) | f.boxing, (operands, rm)
        assert ours & compared == flags & compared, (operands, rm)
        assert gmpy2.is_nan(theirs) or not ours & NV


@pytest.mark.parametrize("letter", "hsd")
def test_ties_to_max_magnitude(letter: str) -> None:
    """No one else has this mode: it is the nearer of both neighbours, or else the greater."""
    f = FORMATS[letter]
    for a, b in operands_of(f"fmul_{letter}", 1500):
        down, up, found = (
            unpack(f, evaluate(f"fmul_{letter}", (a, b), rm)[0] & ~f.boxing)
            for rm in (RDN, RUP, RMM)
        )
        if not (down.finite and up.finite):
            continue
        exact = unpack(f, unbox(f, a)).value * unpack(f, unbox(f, b)).value
        below, above = exact - down.value, up.value - exact
        nearest = (
            down
            if below < above
            else up
            if above < below
            else max(down, up, key=lambda n: abs(n.value))
        )
        assert found.value == nearest.value, (a, b)
