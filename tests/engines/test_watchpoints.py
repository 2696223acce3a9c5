"""What watchpoints and the commit log see as a load and as a store."""

from __future__ import annotations

import pytest

from privileged.bench import CODE, DATA, Bench

#: What an instruction does to the watched word at DATA, which holds 5: r loads, w stores.
ACCESSES = [
    ("lw a0, (a2)", "r"),
    ("sw a0, (a2)", "w"),
    ("lr.w a0, (a2)", "r"),
    ("lr.d a0, (a2)", "r"),
    ("sc.w a0, a1, (a2)", ""),  # without a reservation it does not store
    ("amoadd.w a0, a1, (a2)", "rw"),
    ("amoor.b a0, x0, (a2)", "rw"),
    ("amocas.w a1, a1, (a2)", "rw"),
    ("amocas.w x0, a1, (a2)", "r"),  # not equal
    ("amocas.q a4, a4, (a2)", "rw"),
    ("hlv.w a0, (a2)", "r"),
    ("hlvx.wu a0, (a2)", "r"),
    ("hsv.b a0, (a2)", "w"),
    ("cbo.zero (a3)", "w"),  # 60 bytes further in the block
    ("cbo.flush (a2)", ""),
    ("ld a0, -4(a2)", "r"),  # the page before, too
    ("sd a0, -4(a2)", "w"),
    ("fld fa0, (a2)", "r"),
    ("fsw fa0, (a2)", "w"),
    ("lw a0, 4(a2)", ""),
    ("lw a0, -4(a2)", ""),
]


def bench_for(*lines: str) -> Bench:
    bench = Bench()
    bench.set(mstatus=0x6000)
    bench.poke(DATA, 5)
    bench.regs(a1=5, a2=DATA, a3=DATA + 60, a4=5, a5=0)
    bench.load("; ".join(lines))
    bench.hart.pc = CODE
    return bench


def stops(bench: Bench, instructions: int, kind: str) -> int:
    """How many of the instructions a watchpoint stops behind."""
    bench.system.add_watchpoint(DATA, 4, kind)
    count = 0
    while bench.hart.instret < instructions:
        count += bench.system.run(instructions - bench.hart.instret).reason == "watchpoint"
    assert bench.hart.traps == 0
    return count


@pytest.mark.parametrize(("line", "accesses"), ACCESSES)
def test_accesses(line: str, accesses: str) -> None:
    for kind in ("r", "w"):
        assert stops(bench_for(line), 1, kind) == (kind in accesses), kind


def test_sc_that_stores() -> None:
    assert stops(bench_for("lr.w a0, (a2)", "sc.w a0, a1, (a2)"), 2, "w") == 1
    assert stops(bench_for("lr.w a0, (a2)", "sc.w a0, a1, (a2)"), 2, "r") == 1
    assert stops(bench_for("lr.w a0, (a2)", "sc.w a0, a1, (a3)"), 2, "w") == 0
