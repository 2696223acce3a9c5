"""The host's nanoseconds as ticks of a timebase: exact, so that ``time`` never goes back."""

from __future__ import annotations

import random
import time

import pytest

from rvvm import _core

SECOND = 10**9
HIGHEST = (1 << 33) - 1
LONGEST = (1 << 63) - 1  # nanoseconds: 292 years
FREQUENCIES = (
    *(1, 2, 3, 10, 1000, 32_768, 1_000_000, 10_000_000, 24_000_000, 25_000_000),
    *(999_999_999, SECOND, SECOND + 1, 1_193_182, 2 * SECOND, 1 << 32, (1 << 31) - 1, HIGHEST),
)


def moments(dice: random.Random, frequency: int) -> list[int]:
    """Random ones of all sizes, and those where a tick begins."""
    found = [dice.getrandbits(dice.randrange(1, 64)) for _ in range(300)]
    for _ in range(300):
        limit = LONGEST * min(frequency, SECOND) // SECOND
        tick = dice.randrange(1, min(limit, dice.choice((1 << 20, 1 << 40, limit))))
        begin = -(-tick * SECOND // frequency)
        found += [begin - 1, begin, begin + 1]
    return [0, 1, LONGEST - 1, LONGEST, *(moment for moment in found if moment <= LONGEST)]


@pytest.mark.parametrize("frequency", FREQUENCIES)
def test_ticks_are_exact(frequency: int) -> None:
    dice = random.Random(frequency)
    for nanoseconds in moments(dice, frequency):
        expected = nanoseconds * frequency // SECOND & (1 << 64) - 1
        assert _core.ticks(nanoseconds, frequency) == expected, nanoseconds


def test_random_frequencies() -> None:
    dice = random.Random(1)
    for _ in range(20_000):
        frequency, nanoseconds = dice.randint(1, HIGHEST), dice.getrandbits(dice.randrange(1, 64))
        expected = nanoseconds * frequency // SECOND & (1 << 64) - 1
        assert _core.ticks(nanoseconds, frequency) == expected, (nanoseconds, frequency)


@pytest.mark.parametrize("frequency", [0, HIGHEST + 1])
def test_frequencies_that_are_refused(frequency: int) -> None:
    with pytest.raises(ValueError, match="timebase"):
        _core.System(frequency)


def test_the_host_clock_drives_time() -> None:
    system = _core.System(1_000_000)
    began, first = time.monotonic_ns(), system.time
    time.sleep(0.02)
    passed, ended = system.time - first, time.monotonic_ns()
    assert 20_000 <= passed <= (ended - began) // 1000 + 1
