"""Operands worth trying: the edges of every format and conversion, and dense neighbours."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice, product
from random import Random

from semantics.float_reference import ALL_ONES, FORMATS, RNE, D, Format, H, S, pack

X_EDGES = sorted(
    {
        (sign * ((1 << n) + delta)) & ALL_ONES
        for n in (0, 7, 10, 11, 12, 23, 24, 25, 31, 32, 33, 52, 53, 54, 62, 63, 64)
        for delta in (-1, 0, 1)
        for sign in (1, -1)
    }
    # halfway between neighbours, seen from 11, 24 and 53 bits
    | {m << s for m in (0x1001, 0x1003, 0x2000001, 0x2000003, (1 << 54) + 2) for s in (0, 7)}
)


def sizes(f: Format) -> set[int]:
    """Encodings without a sign."""
    hidden, one, top = 1 << f.fraction, f.bias << f.fraction, f.infinity
    half_ulp_patterns = {one | hidden >> 1, one | hidden - 2, one | 3, one | hidden // 3}
    return (
        {0, 1, 2, 3, hidden >> 1, hidden - 2, hidden - 1, hidden, hidden + 1, 2 * hidden - 1}
        | {one - 1, one, one + 1, one + hidden - 1, one + hidden, one + 2 * hidden, one - hidden}
        | {one - hidden - 1, one - hidden + 1, one + hidden + hidden // 4}
        | half_ulp_patterns
        | {(f.fraction + f.bias) << f.fraction | 1, (f.fraction + f.bias - 1) << f.fraction | 1}
        | {top - 2, top - 1, top, top + 1, f.nan, f.nan | 1, f.nan - 1}
    )


def neighbours(f: Format, numerator: int, denominator: int = 1) -> set[int]:
    """The data around a value."""
    near, _ = pack(f, RNE, negative=False, numerator=numerator, denominator=denominator)
    return {near - 1, near, near + 1} if near < f.infinity else set()


def limits(f: Format) -> set[int]:
    """Where conversions to integers and to narrower formats change their mind."""
    found = set()
    for n in (31, 32, 63, 64):
        for value in ((1 << n) - 1, 1 << n, (1 << n) + 1, (2 << n) - 1, (2 << n) + 1):
            found |= neighbours(f, value, 2)
    for narrow in (n for n in (H, S) if n.width < f.width):
        smallest = narrow.bias + narrow.fraction - 1  # of the subnormals: 2**-smallest
        for odd in (1, 2, 3, 5, (2 << narrow.fraction) - 1, (4 << narrow.fraction) - 1):
            found |= neighbours(f, odd, 2 << smallest) | neighbours(f, odd, 4 << smallest)
        greatest = ((2 << narrow.precision) - 1) << (narrow.bias - narrow.precision)
        found |= neighbours(f, greatest) | neighbours(f, (4 << narrow.fraction) + 1)
        found |= neighbours(f, (4 << narrow.fraction) + 3)
    return found


def signed(f: Format, encodings: Iterable[int]) -> list[int]:
    """Both signs, boxed."""
    return [bits | sign | f.boxing for bits in sorted(encodings) for sign in (0, f.sign)]


def unboxed(f: Format) -> list[int]:
    """Registers that hold no datum of this format."""
    one = f.bias << f.fraction
    return [one, f.boxing >> 1 & f.boxing | one, (f.boxing << 1) & ALL_ONES | one] * (f is not D)


@cache
def edges(letter: str, arity: int) -> list[int]:
    """Raw register values for one operand of an instruction with `arity` of them."""
    if letter == "x":
        return X_EDGES if arity == 1 else signed(D, sizes(D)) + signed(S, {0, S.nan}) + unboxed(S)
    f = FORMATS[letter]
    if arity == 1:
        return signed(f, sizes(f) | limits(f)) + unboxed(f)
    if arity == 2:
        return signed(f, sizes(f)) + unboxed(f)
    hidden, one = 1 << f.fraction, f.bias << f.fraction
    few = {0, 1, hidden - 1, hidden, one - 1, one, one + 1, f.infinity - 1, f.infinity}
    return signed(f, few) + [n | f.boxing for n in (f.nan, f.nan - 1, one | hidden - 2)]


def all_edges(sources: str) -> Iterator[tuple[int, ...]]:
    return product(*(edges(letter, len(sources)) for letter in sources))


def random_datum(f: Format, random: Random, around: int) -> int:
    """Few distinct exponents and long runs of equal bits: cancellation, ties and carries abound."""
    fraction = random.getrandbits(f.fraction)
    style = random.randrange(4)
    if style == 1:
        fraction &= -1 << random.randrange(f.fraction)
    elif style == 2:
        fraction |= (1 << random.randrange(f.fraction)) - 1
    elif style == 3:
        fraction = fraction & 3 | (random.getrandbits(2) << (f.fraction - 2))
    top = 2 * f.bias
    near = min(max(around + random.randrange(-3, 4), 0), top)
    biased = near if random.random() < 0.7 else random.randrange(top + 1)
    return biased << f.fraction | fraction | random.getrandbits(1) * f.sign | f.boxing


def random_operands(sources: str, count: int, seed: object) -> list[tuple[int, ...]]:
    random = Random(f"{sources} {seed}")
    return list(islice(random_tuples(sources, random), count))


def random_tuples(sources: str, random: Random) -> Iterator[tuple[int, ...]]:
    """The first operand of a product steers it to where the format ends, the third to cancel it."""
    while True:
        operands = []
        for index, letter in enumerate(sources):
            if letter == "x":
                operands.append(random.getrandbits(64) >> random.randrange(64))
                operands[-1] ^= ALL_ONES * random.getrandbits(1)
                continue
            f = FORMATS[letter]
            around = random.choice((0, f.fraction, f.bias, f.bias, f.bias, 2 * f.bias))
            if index == 1 and random.random() < 0.4:
                biased = operands[0] >> f.fraction & (2 * f.bias + 1)
                around = random.choice((biased, f.bias - biased, 3 * f.bias - biased))
            if index == 2:
                biased = sum(n >> f.fraction & (2 * f.bias + 1) for n in operands) - f.bias
                around = biased + random.choice((0, 0, 1, f.fraction, -f.fraction))
            operands.append(random_datum(f, random, around))
        yield tuple(operands)


def packed(operands: Iterable[tuple[int, ...]]) -> array[int]:
    """What `evaluate_many` takes: three registers for each evaluation."""
    flat = array("Q")
    for operand in operands:
        flat.extend((operand + (0, 0))[:3])
    return flat
