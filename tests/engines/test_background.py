"""Translation in a thread of its own, while the hart goes on interpreting."""

from __future__ import annotations

import os
import time

import pytest

from asm import asm
from privileged.bench import CODE, DATA, Bench

ENGINE = {"accel": "jit", "hot": 1, "background": True}
#: calls a function that it changes itself, between two forms, and sums what that returns
CHANGES = """
    li    x10, {code}
    li    x11, {rounds}
    li    x15, 0
    la    x16, function
    li    x12, {one}
    li    x13, {two}
    more: sw x12, 0(x16)
    fence.i
    jalr  x1, 0(x16)
    add   x15, x15, x14
    xor   x12, x12, x13
    xor   x13, x12, x13
    xor   x12, x12, x13
    addi  x11, x11, -1
    bnez  x11, more
    end: j end
    function: nop
    jalr  x0, 0(x1)
"""
LOOP = """
    li   x10, {data}
    more: ld x12, 0(x10)
    addi x12, x12, 3
    sd   x12, 0(x10)
    j    more
"""


def units(bench: Bench) -> int:
    return int(bench.system.stats()["units"])


def run_until_translated(bench: Bench) -> None:
    deadline = time.monotonic() + 60
    while not units(bench):
        bench.system.run(10_000)
        assert time.monotonic() < deadline, "nothing was translated"


def looping() -> Bench:
    bench = Bench(engine=ENGINE)
    bench.load(LOOP.format(data=DATA))
    bench.hart.pc = CODE
    return bench


def test_the_hart_goes_on() -> None:
    bench = looping()
    run_until_translated(bench)
    before = bench.peek(DATA)
    bench.system.run(4_000)
    assert bench.peek(DATA) == before + 3_000


@pytest.mark.parametrize("rounds", [3, 50, 2000])
def test_code_that_changes_under_way(rounds: int) -> None:
    """What was being translated is of the old code: it never runs."""
    one, two = (int(asm(f"addi x14, x0, {n}", 0)) for n in (5, 7))
    bench = Bench(engine=ENGINE)
    bench.load(CHANGES.format(code=CODE, rounds=rounds, one=one, two=two))
    bench.hart.pc = CODE
    bench.system.run(20 * rounds + 100)
    assert bench.hart.x(15) == sum((5, 7)[k % 2] for k in range(rounds))
    assert bench.system.stats()["pages_dropped"] >= rounds - 1


def test_systems_that_end_under_way() -> None:
    for k in range(60):
        bench = looping()
        bench.system.run(50 * k + 20)


def test_code_is_dropped_under_way() -> None:
    bench = looping()
    for _ in range(200):
        bench.system.run(100)
        bench.system.reset()
        bench.hart.pc = CODE
    bench.hart.pc = CODE
    run_until_translated(bench)


def test_a_child_process_leaves_the_machine_alone() -> None:
    """It has neither the thread nor the memory of translated code, and may end like any other."""
    bench = looping()
    run_until_translated(bench)
    before = bench.peek(DATA)
    child = os.fork()
    if not child:
        status = 1
        try:
            bench.system.run(400)
        except RuntimeError:
            status = 0
        del bench
        os._exit(status)
    _, status = os.waitpid(child, 0)
    assert status == 0
    bench.system.run(400)
    assert bench.peek(DATA) == before + 300
