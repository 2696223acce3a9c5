"""Checks of what a person passes to the Python API: each answers in one sentence of its own words.

A wrong type is a TypeError, a wrong value a ValueError. The sentence names the argument, says what
is expected, and shows what came instead.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

LARGEST = (1 << 64) - 1
_LONGEST = 60
_PLAIN = (str, bytes, int, float, type(None), list, tuple, dict, set)


class UnknownName(KeyError, ValueError):
    """A name that nothing has: a symbol, a register, a CSR. Its text is a sentence, not a repr.

    >>> raise UnknownName("no register a9")
    Traceback (most recent call last):
    ...
    rvvm.py.arguments.UnknownName: no register a9
    """

    def __str__(self) -> str:
        return str(self.args[0])


def shown(value: object) -> str:
    """A value for an error message, on one line and short.

    >>> shown("text"), shown(object()), shown("long" * 99)[-7:]
    ("'text'", 'a value of type object', 'long...')
    """
    if not isinstance(value, _PLAIN):
        return f"a value of type {type(value).__name__}"
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def wrong_type(what: str, expected: str, value: object) -> TypeError:
    """The error for a value of another type."""
    return TypeError(f"{what}: expected {expected}, not {shown(value)}")


def integer(what: str, value: Any, low: int = 0, high: int = LARGEST) -> int:
    """A whole number between two limits, both included.

    >>> integer("count", 3), integer("count", -1)
    Traceback (most recent call last):
    ...
    ValueError: count: -1 is not between 0 and 0xffffffffffffffff
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise wrong_type(what, "a whole number", value) from None
    if not low <= number <= high:
        raise ValueError(
            f"{what}: {_short(number)} is not between {_short(low)} and {_short(high)}"
        )
    return number


def bits(what: str, value: Any, size: int = 8) -> int:
    """A number as ``size`` bytes hold it: a negative one as its two's complement.

    >>> hex(bits("a0", -2)), bits("byte", 300, 1)
    Traceback (most recent call last):
    ...
    ValueError: byte: 300 does not fit in 1 byte
    """
    number = integer(what, value, -(1 << 4096), 1 << 4096)
    if not -(1 << 8 * size - 1) <= number < 1 << 8 * size:
        bytes_ = "1 byte" if size == 1 else f"{size} bytes"
        raise ValueError(f"{what}: {_short(number)} does not fit in {bytes_}")
    return number & ((1 << 8 * size) - 1)


def duration(what: str, value: Any) -> float:
    """Seconds: a number that is not negative."""
    if isinstance(value, str) or not hasattr(value, "__float__"):
        raise wrong_type(what, "a number of seconds", value)
    seconds = float(value)
    if not seconds >= 0:  # NaN is no duration either
        raise ValueError(f"{what}: {shown(value)} is not a duration in seconds")
    return seconds


def text(what: str, value: Any) -> str:
    """A str."""
    if not isinstance(value, str):
        raise wrong_type(what, "a text", value)
    return value


def one_of(what: str, value: Any, known: Iterable[str]) -> str:
    """One of a few words."""
    names = list(known)
    if not isinstance(value, str):
        raise wrong_type(what, f"one of {', '.join(names)}", value)
    if value not in names:
        raise ValueError(f"{what}: expected one of {', '.join(names)}, not {shown(value)}")
    return value


def path(what: str, value: Any) -> Path:
    """A file's name."""
    if not isinstance(value, (str, os.PathLike)):
        raise wrong_type(what, "a file's name", value)
    return Path(value)


def data(what: str, value: Any) -> bytes:
    """Bytes, from whatever holds some: bytes, a bytearray, a memoryview, an array, a list."""
    if isinstance(value, (list, tuple)):
        return bytes(integer(f"{what}[{at}]", item, 0, 255) for at, item in enumerate(value))
    try:
        return memoryview(value).tobytes()
    except (TypeError, ValueError):
        raise wrong_type(what, "bytes", value) from None


def near(name: str, known: Iterable[str]) -> str:
    """A guess at what was meant, to be put behind a message.

    >>> near("mian", ["main", "loop"]), near("x", ["main"])
    ('; did you mean main?', '')
    """
    from difflib import get_close_matches

    matches = get_close_matches(name, list(known), 1)
    return f"; did you mean {matches[0]}?" if matches else ""


def _short(number: int) -> str:
    if number.bit_length() > 256:
        return "that number"
    return str(number) if abs(number) < 100_000 else f"{number:#x}"
