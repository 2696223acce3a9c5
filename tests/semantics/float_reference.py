"""What every floating-point instruction computes: exact integers, then one rounding.

An independent statement of IEEE 754-2008 and of the Unprivileged spec, chapters "F", "D", "Zfh"
and "Zfa"; nothing here follows the structure of the C++ core. `evaluate(name, operands, rm)` takes
and gives raw 64-bit register values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial
from itertools import product
from math import isqrt

NX, UF, OF, DZ, NV = (1 << n for n in range(5))
RNE, RTZ, RDN, RUP, RMM = MODES = range(5)
ALL_ONES = (1 << 64) - 1


class Format:
    """IEEE 754-2008, 3.4: a binary interchange format."""

    def __init__(self, width: int, precision: int) -> None:
        self.width = width
        self.precision = precision
        self.fraction = precision - 1
        self.bias = (1 << (width - precision - 1)) - 1
        self.emin = 1 - self.bias
        self.sign = 1 << (width - 1)
        self.infinity = (2 * self.bias + 1) << self.fraction
        self.nan = self.infinity | 1 << (self.fraction - 1)
        self.boxing = ALL_ONES ^ ((1 << width) - 1)


H, S, D = Format(16, 11), Format(32, 24), Format(64, 53)


@dataclass(frozen=True)
class Number:
    """A datum: a NaN, an infinity, or the exact value size * 2**exponent with its sign."""

    negative: bool
    size: int = 0
    exponent: int = 0
    infinite: bool = False
    nan: str = ""  # "quiet" or "signaling"

    @property
    def zero(self) -> bool:
        return not (self.size or self.infinite or self.nan)

    @property
    def finite(self) -> bool:
        return not (self.infinite or self.nan)

    @property
    def value(self) -> Fraction:
        exact = Fraction(self.size) * Fraction(2) ** self.exponent
        return -exact if self.negative else exact

    def negated(self) -> Number:
        return Number(not self.negative, self.size, self.exponent, self.infinite, self.nan)


@cache
def unpack(f: Format, bits: int) -> Number:
    """IEEE 754-2008, 3.4: what an encoding means."""
    negative = bool(bits & f.sign)
    biased, fraction = divmod(bits & ~f.sign, 1 << f.fraction)
    if biased == 2 * f.bias + 1:
        quiet = "quiet" if fraction >> (f.fraction - 1) else "signaling"
        return Number(negative, nan=quiet) if fraction else Number(negative, infinite=True)
    if biased == 0:
        return Number(negative, fraction, f.emin - f.fraction)
    return Number(negative, fraction | 1 << f.fraction, biased - f.bias - f.fraction)


def round_quotient(
    numerator: int, denominator: int, rm: int, *, negative: bool
) -> tuple[int, bool]:
    """IEEE 754-2008, 4.3: the integer a magnitude rounds to, and whether that is inexact."""
    whole, rest = divmod(numerator, denominator)
    match rm:
        case 0:  # ties to even
            up = 2 * rest > denominator or (2 * rest == denominator and whole % 2 == 1)
        case 1:  # towards zero
            up = False
        case 2:  # down
            up = negative and rest > 0
        case 3:  # up
            up = not negative and rest > 0
        case _:  # ties to the greater magnitude
            up = 2 * rest >= denominator
    return whole + up, rest > 0


def scaled(numerator: int, denominator: int, power: int) -> tuple[int, int]:
    """The fraction divided by 2**power."""
    if power > 0:
        return numerator, denominator << power
    return numerator << -power, denominator


def floor_log2(numerator: int, denominator: int) -> int:
    guess = numerator.bit_length() - denominator.bit_length()
    n, d = scaled(numerator, denominator, guess)
    return guess if n >= d else guess - 1


def pack(
    f: Format, rm: int, *, negative: bool, numerator: int, denominator: int = 1
) -> tuple[int, int]:
    """The datum for a magnitude above zero; overflow 7.4, underflow 7.5, inexact 7.6."""
    exponent = floor_log2(numerator, denominator)
    sign = f.sign if negative else 0

    def at(lowest: int) -> tuple[int, bool]:
        n, d = scaled(numerator, denominator, lowest)
        return round_quotient(n, d, rm, negative=negative)

    lowest = max(exponent, f.emin) - f.fraction
    kept, inexact = at(lowest)
    biased = lowest + f.fraction + f.bias
    bits = kept + ((biased - 1) << f.fraction)  # a hidden bit counts as one exponent step
    if bits >= f.infinity:
        to_infinity = rm in (RNE, RMM) or rm == (RDN if negative else RUP)
        return sign | (f.infinity if to_infinity else f.infinity - 1), OF | NX
    flags = NX if inexact else 0
    if inexact and exponent < f.emin:
        # "tininess is detected after rounding": as if the exponent range were unbounded.
        unbounded, _ = at(exponent - f.fraction)
        if exponent < f.emin - 1 or unbounded < 1 << f.precision:
            flags |= UF
    return sign | bits, flags


def pack_binary(f: Format, rm: int, n: Number) -> tuple[int, int]:
    """The datum for an exact binary value; zero keeps its sign."""
    if n.size == 0:
        return (f.sign if n.negative else 0), 0
    if n.exponent >= 0:
        return pack(f, rm, negative=n.negative, numerator=n.size << n.exponent)
    return pack(f, rm, negative=n.negative, numerator=n.size, denominator=1 << -n.exponent)


def invalid(f: Format) -> tuple[int, int]:
    return f.nan, NV


def with_nan(f: Format, *operands: Number) -> tuple[int, int]:
    return f.nan, NV if any(n.nan == "signaling" for n in operands) else 0


def infinity(f: Format, *, negative: bool) -> tuple[int, int]:
    return f.infinity | (f.sign if negative else 0), 0


# Arithmetic: IEEE 754-2008, 5.4.1; infinities 6.1, signs 6.3, invalid 7.2, division by zero 7.3.


def add(f: Format, rm: int, a: Number, b: Number) -> tuple[int, int]:
    if a.nan or b.nan:
        return with_nan(f, a, b)
    if a.infinite and b.infinite and a.negative != b.negative:
        return invalid(f)
    if a.infinite or b.infinite:
        return infinity(f, negative=a.negative if a.infinite else b.negative)
    return pack_binary(f, rm, exact_sum(rm, a, b))


def exact_sum(rm: int, a: Number, b: Number) -> Number:
    exponent = min(a.exponent, b.exponent)
    total = sum((-n.size if n.negative else n.size) << (n.exponent - exponent) for n in (a, b))
    negative = total < 0
    if total == 0:
        negative = a.negative if a.negative == b.negative else rm == RDN
    return Number(negative, abs(total), exponent)


def sub(f: Format, rm: int, a: Number, b: Number) -> tuple[int, int]:
    return add(f, rm, a, b.negated())


def mul(f: Format, rm: int, a: Number, b: Number) -> tuple[int, int]:
    if a.nan or b.nan:
        return with_nan(f, a, b)
    negative = a.negative != b.negative
    if a.infinite or b.infinite:
        return invalid(f) if a.zero or b.zero else infinity(f, negative=negative)
    return pack_binary(f, rm, Number(negative, a.size * b.size, a.exponent + b.exponent))


def div(f: Format, rm: int, a: Number, b: Number) -> tuple[int, int]:
    if a.nan or b.nan:
        return with_nan(f, a, b)
    negative = a.negative != b.negative
    if (a.infinite and b.infinite) or (a.zero and b.zero):
        return invalid(f)
    if a.infinite or b.zero:
        return infinity(f, negative=negative)[0], 0 if a.infinite else DZ
    if a.zero or b.infinite:
        return (f.sign if negative else 0), 0
    n, d = scaled(a.size, b.size, b.exponent - a.exponent)
    return pack(f, rm, negative=negative, numerator=n, denominator=d)


def sqrt(f: Format, rm: int, a: Number) -> tuple[int, int]:
    if a.nan:
        return with_nan(f, a)
    if a.zero:
        return pack_binary(f, rm, a)
    if a.negative:
        return invalid(f)
    if a.infinite:
        return infinity(f, negative=False)
    # floor(sqrt(a) * 2**scale), and a half more if that is not exact: rounds as the true root.
    scale = f.precision + 2 + abs(a.exponent)
    radicand = a.size << (2 * scale + a.exponent)
    root = isqrt(radicand)
    return pack_binary(f, rm, Number(False, 2 * root + (root * root != radicand), -scale - 1))


def fma(
    f: Format, rm: int, a: Number, b: Number, c: Number, *, minus_product: bool, minus_addend: bool
) -> tuple[int, int]:
    """± (a * b) ± c; 7.2 (c) as the manual fixes it: infinity * 0 + quiet NaN is invalid."""
    if (a.zero and b.infinite) or (a.infinite and b.zero):
        return invalid(f)
    if a.nan or b.nan or c.nan:
        return with_nan(f, a, b, c)
    negative = (a.negative != b.negative) != minus_product
    addend = c.negated() if minus_addend else c
    exact = Number(negative, a.size * b.size, a.exponent + b.exponent, a.infinite or b.infinite)
    return add(f, rm, exact, addend)


# Comparisons, minimum and maximum, signs, classes.


def compare(
    relation: Callable[[Fraction, Fraction], bool], *, quiet: bool
) -> Callable[[Format, int, Number, Number], tuple[int, int]]:
    def apply(f: Format, _rm: int, a: Number, b: Number) -> tuple[int, int]:
        if a.nan or b.nan:
            return 0, with_nan(f, a, b)[1] if quiet else NV
        return int(relation(on_line(a), on_line(b))), 0

    return apply


@cache
def on_line(n: Number) -> Fraction:
    """A place on the real line, with the infinities beyond every number."""
    if n.infinite:
        return Fraction(-1 if n.negative else 1) * 2**5000
    return n.value


def extremum(
    f: Format, _rm: int, a: Number, b: Number, *, largest: bool, nan_wins: bool
) -> tuple[int, int]:
    flags = with_nan(f, a, b)[1]
    numbers = [n for n in (a, b) if not n.nan]
    if not numbers or (nan_wins and len(numbers) < 2):
        return f.nan, flags
    best = (max if largest else min)(numbers, key=lambda n: (on_line(n), not n.negative))
    if best.infinite:
        return infinity(f, negative=best.negative)[0], flags
    return pack_binary(f, RNE, best)[0], flags


def classify(f: Format, _rm: int, a: Number) -> tuple[int, int]:
    if a.nan:
        return (1 << 8 if a.nan == "signaling" else 1 << 9), 0
    smallest_normal = Fraction(2) ** f.emin
    order = 0 if a.infinite else 3 if a.zero else 1 if abs(a.value) >= smallest_normal else 2
    return 1 << (order if a.negative else 7 - order), 0


# Conversions: IEEE 754-2008, 5.8, 5.9, 5.4.2.


def round_number(rm: int, n: Number) -> tuple[int, bool]:
    """A finite number to an integer with its sign."""
    top, bottom = scaled(n.size, 1, -n.exponent)
    whole, inexact = round_quotient(top, bottom, rm, negative=n.negative)
    return (-whole if n.negative else whole), inexact


def to_integer(_f: Format, rm: int, a: Number, *, bits: int, signed: bool) -> tuple[int, int]:
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    whole, inexact = (0, False) if not a.finite else round_number(rm, a)
    if a.nan or (a.infinite and not a.negative) or whole > high:
        return extended(high, bits), NV
    if a.infinite or whole < low:
        return extended(low, bits), NV
    return extended(whole, bits), NX if inexact else 0


def extended(value: int, bits: int) -> int:
    """The x register that holds an integer of that many bits: sign-extended, unsigned ones too."""
    low = value & ((1 << bits) - 1)
    return (low - (1 << bits) if low >> (bits - 1) else low) & ALL_ONES


def to_integer_modular(f: Format, _rm: int, a: Number) -> tuple[int, int]:
    flags = to_integer(f, RTZ, a, bits=32, signed=True)[1]
    return (extended(round_number(RTZ, a)[0], 32) if a.finite else 0), flags


def from_integer(f: Format, rm: int, x: int, *, bits: int, signed: bool) -> tuple[int, int]:
    value = x & ((1 << bits) - 1)
    if signed and value >> (bits - 1):
        value -= 1 << bits
    return pack_binary(f, rm, Number(value < 0, abs(value), 0))


def convert(f: Format, rm: int, a: Number) -> tuple[int, int]:
    if a.nan:
        return with_nan(f, a)
    if a.infinite:
        return infinity(f, negative=a.negative)
    return pack_binary(f, rm, a)


def to_integral(f: Format, rm: int, a: Number, *, report: bool) -> tuple[int, int]:
    if not a.finite:
        return convert(f, rm, a)
    whole, inexact = round_number(rm, a)
    bits, _ = pack_binary(f, rm, Number(a.negative, abs(whole), 0))
    return bits, NX if report and inexact else 0


CONSTANTS = (
    [None, None, *(Fraction(1, 1 << n) for n in (16, 15, 8, 7, 4, 3))]
    + [Fraction(n, 16) for n in (4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48)]
    + [Fraction(n) for n in (4, 8, 16, 128, 256, 1 << 15, 1 << 16)]
)


def constant(f: Format, index: int) -> int:
    """Zfa, table "Immediate values loaded by the FLI.S instruction"."""
    special = {0: f.sign | f.bias << f.fraction, 1: 1 << f.fraction, 30: f.infinity, 31: f.nan}
    if index in special:
        return special[index]
    n = CONSTANTS[index]
    assert n is not None
    return pack(f, RNE, negative=False, numerator=n.numerator, denominator=n.denominator)[0]


# The instructions.


@dataclass(frozen=True)
class Instruction:
    """Operands and result as letters: h s d are formats in f registers, x an integer register."""

    sources: str
    target: str
    rounds: bool
    apply: Callable[..., tuple[int, int]]


FORMATS = {"h": H, "s": S, "d": D}


def unbox(f: Format, raw: int) -> int:
    """Chapter D, "NaN Boxing of Narrower Values"."""
    return raw & ~f.boxing if raw & f.boxing == f.boxing else f.nan


def read(letter: str, raw: int) -> Number | int:
    if letter == "x":
        return raw
    f = FORMATS[letter]
    return unpack(f, unbox(f, raw))


def evaluate(name: str, operands: tuple[int, ...], rm: int) -> tuple[int, int]:
    """The raw result register and the flags of one instruction."""
    instruction = INSTRUCTIONS[name]
    values = [read(*pair) for pair in zip(instruction.sources, operands, strict=False)]
    result, flags = instruction.apply(rm, *values)
    if instruction.target != "x":
        result |= FORMATS[instruction.target].boxing
    return result, flags


def move(result: int) -> tuple[int, int]:
    return result, 0


def sign_injected(f: Format, rule: Callable[[int, int], int], a: int, b: int) -> tuple[int, int]:
    """Takes bits, not numbers: NaNs keep their payload."""
    a, b = unbox(f, a), unbox(f, b)
    sign = rule(int(bool(a & f.sign)), int(bool(b & f.sign)))
    return (a & ~f.sign) | (f.sign if sign else 0), 0


def arithmetic(letter: str) -> dict[str, Instruction]:
    f = FORMATS[letter]
    two, three = letter * 2, letter * 3
    rows = {
        name: Instruction(two, letter, True, partial(function, f))
        for name, function in (("fadd", add), ("fsub", sub), ("fmul", mul), ("fdiv", div))
    }
    rows["fsqrt"] = Instruction(letter, letter, True, partial(sqrt, f))
    for name, minus_product, minus_addend in (
        ("fmadd", False, False),
        ("fmsub", False, True),
        ("fnmsub", True, False),
        ("fnmadd", True, True),
    ):
        apply = partial(fma, f, minus_product=minus_product, minus_addend=minus_addend)
        rows[name] = Instruction(three, letter, True, apply)
    for name, report in (("fround", False), ("froundnx", True)):
        rows[name] = Instruction(letter, letter, True, partial(to_integral, f, report=report))
    return {f"{name}_{letter}": row for name, row in rows.items()}


def comparisons(letter: str) -> dict[str, Instruction]:
    f = FORMATS[letter]
    two = letter * 2
    relations = {
        "feq": compare(lambda a, b: a == b, quiet=True),
        "flt": compare(lambda a, b: a < b, quiet=False),
        "fle": compare(lambda a, b: a <= b, quiet=False),
        "fltq": compare(lambda a, b: a < b, quiet=True),
        "fleq": compare(lambda a, b: a <= b, quiet=True),
    }
    rows = {
        name: Instruction(two, "x", False, partial(apply, f)) for name, apply in relations.items()
    }
    rows["fclass"] = Instruction(letter, "x", False, partial(classify, f))
    for (kind, largest), (suffix, nan_wins) in product(
        (("fmin", False), ("fmax", True)), (("", False), ("m", True))
    ):
        apply = partial(extremum, f, largest=largest, nan_wins=nan_wins)
        rows[kind + suffix] = Instruction(two, letter, False, apply)
    signs: dict[str, Callable[[int, int], int]] = {
        "fsgnj": lambda _a, b: b,
        "fsgnjn": lambda _a, b: 1 - b,
        "fsgnjx": lambda a, b: a ^ b,
    }
    for name, rule in signs.items():
        apply_sign = partial(lambda rule, _rm, a, b: sign_injected(f, rule, a, b), rule)
        rows[name] = Instruction("xx", letter, False, apply_sign)
    return {f"{name}_{letter}": row for name, row in rows.items()}


def integer_conversions(letter: str) -> dict[str, Instruction]:
    f = FORMATS[letter]
    rows = {}
    for kind, bits, signed in (
        ("w", 32, True),
        ("wu", 32, False),
        ("l", 64, True),
        ("lu", 64, False),
    ):
        to = partial(to_integer, f, bits=bits, signed=signed)
        rows[f"fcvt_{kind}_{letter}"] = Instruction(letter, "x", True, to)
        from_ = partial(from_integer, f, bits=bits, signed=signed)
        rows[f"fcvt_{letter}_{kind}"] = Instruction("x", letter, True, from_)
    return rows


def transfers(letter: str, x_letter: str) -> dict[str, Instruction]:
    """Moves ignore boxes and keep bits; a 16 or 32-bit one sign-extends into x."""
    f = FORMATS[letter]
    mask = ALL_ONES ^ f.boxing
    return {
        f"fmv_x_{x_letter}": Instruction(
            "x", "x", False, lambda _rm, a: move(extended(a, f.width))
        ),
        f"fmv_{x_letter}_x": Instruction("x", letter, False, lambda _rm, a: move(a & mask)),
        f"fli_{letter}": Instruction("x", letter, False, lambda _rm, a: move(constant(f, a % 32))),
    }


INSTRUCTIONS: dict[str, Instruction] = {
    "fcvtmod_w_d": Instruction("d", "x", False, partial(to_integer_modular, D)),
}
for _letter in "hsd":
    INSTRUCTIONS |= arithmetic(_letter) | comparisons(_letter) | integer_conversions(_letter)
    INSTRUCTIONS |= transfers(_letter, {"s": "w"}.get(_letter, _letter))
for _to, _from in product("hsd", repeat=2):
    if _to != _from:
        INSTRUCTIONS[f"fcvt_{_to}_{_from}"] = Instruction(
            _from, _to, True, partial(convert, FORMATS[_to])
        )
