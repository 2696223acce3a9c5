"""Short random programs by the thousand on both engines, and that the fuzzer finds what it must."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from asm import asm
from engines import fuzz
from engines.fuzz import NOP, PROGRAMS, TOGETHER, Batch, apart, outcome, run_batches, shrunk
from engines.fuzz_worlds import Place
from rvvm import _core

QUICK, MANY = 20_000, 1_000_000


def check(first: int, programs: int) -> None:
    count = programs // PROGRAMS
    for at in range(first, first + count, TOGETHER):
        if failure := run_batches(range(at, min(at + TOGETHER, first + count)), print):
            pytest.fail(failure)


def test_random_programs() -> None:
    check(0, QUICK)


@pytest.mark.long
def test_a_million_random_programs() -> None:
    check(1_000_000, MANY)


class Fewer(Place):
    """The translating one lacks an extension."""

    def __post_init__(self) -> None:
        if self.engine:
            self.world = replace(self.world, without=(*self.world.without, "zicond"))
        super().__post_init__()


def test_a_difference_is_found_and_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "Place", Fewer)
    batch = Batch.random(3)
    assert outcome(batch).startswith("differs")
    least = shrunk(batch, print)
    assert len(least.runs) == 1
    assert sum(slot != NOP for program in least.programs for slot in program) == 1
    assert "czero" in least.listing()


@pytest.mark.parametrize(
    ("work", "patience", "end"),
    [
        (lambda say: os.kill(os.getpid(), signal.SIGKILL), 60, "SIGKILL"),
        (lambda say: time.sleep(60), 0.2, "said nothing for 0.2 s"),
        (lambda say: say("once"), 60, ""),
    ],
)
def test_the_end_of_another_process(work: Callable[..., Any], patience: float, end: str) -> None:
    assert apart(work, patience).end == end


def test_lockstep_says_after_which_budget() -> None:
    """Twice the same code, but for its seventh instruction."""
    systems = [_core.System(clock="instructions") for _ in range(2)]
    for number, system in enumerate(systems):
        system.add_ram(0x8000_0000, 0x2000)
        system.add_hart(0, ["i"], 0x8000_0000)
        lines = ["addi x1, x1, 1"] * 6 + [f"addi x1, x1, {number}", "jal x0, 0"]
        code = b"".join(asm(line).to_bytes(4, "little") for line in lines)
        system.write(0x8000_0000, code)
    one, other = systems
    assert _core.lockstep(one, other, [3, 3], []) is None
    assert _core.lockstep(one, one, [], [(0x8000_0000, 0x2000)]) is None
    assert _core.lockstep(one, other, [1, 5], []) == 0
    assert [system.harts[0].pc for system in systems] == [0x8000_001C] * 2


def test_lockstep_looks_at_memory() -> None:
    systems = [_core.System(clock="instructions") for _ in range(2)]
    for system in systems:
        system.add_ram(0x8000_0000, 0x2000)
        system.add_hart(0, ["i"], 0x8000_0000)
        system.write(0x8000_0000, asm("jal x0, 0").to_bytes(4, "little"))
    systems[1].write(0x8000_1008, b"x")
    assert _core.lockstep(*systems, [1, 1], [(0x8000_1000, 8)]) is None
    assert _core.lockstep(*systems, [1], [(0x8000_1000, 9)]) == 0
