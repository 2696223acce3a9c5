"""When a counter begins and ends to count, and when it overflows: at the very instruction.

Privileged spec, "Hardware Performance Monitor", "Machine Counter-Inhibit CSR"; Sscofpmf, "Count
Overflow Control". A write of a CSR takes effect after the instruction that writes, which counts as
before; a return counts in the mode that it returns from.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from privileged.bench import CODE, M_VECTOR, Bench
from privileged.manual import HS, ONES, VS, Irq, M, Mode, U, bits

LCOFI = 1 << Irq.LCOFI
OF, MINH, SINH, UINH, VSINH, VUINH = (1 << n for n in (63, 62, 61, 60, 59, 58))
INSTRUCTIONS = 2  # the event of retired instructions

Run = Callable[[Bench, int], None]


def at_once(bench: Bench, count: int) -> None:
    bench.system.run(count)


def in_steps(bench: Bench, count: int) -> None:
    bench.hart.step(count)


def in_runs_of_one(bench: Bench, count: int) -> None:
    for _ in range(count):
        bench.system.run(1)


def logged(bench: Bench, count: int) -> None:
    bench.system.log_commits("/dev/null")
    bench.system.run(count)


runs = pytest.mark.parametrize("run", [at_once, in_steps, in_runs_of_one, logged])
pytestmark = pytest.mark.usefixtures("accel")


def go(bench: Bench, source: str, run: Run, mode: Mode = M, **registers: int) -> None:
    """All of a program that traps nowhere."""
    program = bench.load(source)
    bench.regs(**registers)
    bench.enter(mode, CODE)
    run(bench, len(program.code) // 4)
    assert bench.hart.pc == CODE + len(program.code)


@runs
@pytest.mark.parametrize(
    ("source", "counted"),
    [
        ("csrrw x0, mhpmevent3, a1; nop; nop; csrrs a0, mhpmcounter3, x0", 2),
        ("csrrw x0, mhpmevent3, a1; nop; csrrw x0, mhpmevent3, x0; nop", 2),
        ("csrrw x0, mhpmevent3, a1; nop; csrrs x0, mcountinhibit, a2; nop", 2),
        ("csrrw x0, mcountinhibit, a2; csrrw x0, mhpmevent3, a1; nop; nop", 0),
        ("csrrw x0, mcountinhibit, a2; csrrw x0, mhpmevent3, a1; csrrc x0, mcountinhibit, a2", 0),
        ("csrrw x0, mhpmevent3, a1; nop; csrrw x0, mhpmevent3, a3; nop", 2),
        ("csrrw x0, mhpmevent3, a3; nop; csrrw x0, mhpmevent3, a1; nop", 1),
        ("csrrw x0, mhpmevent3, a1; nop; csrrw x0, mhpmevent3, a1; nop", 3),
        ("csrrw x0, mhpmevent3, a1; nop; csrrw x0, mhpmcounter3, x0", 0),
        ("csrrw x0, mhpmevent3, a1; nop; csrrw x0, mhpmcounter3, x0; nop", 1),
        ("csrrw x0, mhpmevent3, a1; csrrw x0, mhpmcounter4, x0; csrrw x0, mcycle, x0", 2),
    ],
)
def test_a_write_takes_effect_behind_its_instruction(run: Run, source: str, counted: int) -> None:
    bench = Bench()
    go(bench, source, run, a1=INSTRUCTIONS, a2=8, a3=INSTRUCTIONS | MINH)
    read = bench.x("a0") if "a0" in source else bench.get("mhpmcounter3")
    assert read == counted


@runs
@pytest.mark.parametrize("name", ["minstret", "mcycle"])
def test_inhibits_of_the_fixed_counters(run: Run, name: str) -> None:
    bench = Bench()
    source = f"""
        csrrw x0, {name}, x0
        nop
        csrrw x0, mcountinhibit, a1     # counts
        csrrs a2, {name}, x0
        csrrw x0, mcountinhibit, x0     # does not
        csrrs a3, {name}, x0
    """
    go(bench, source, run, a1=5)
    assert (bench.x("a2"), bench.x("a3")) == (2, 2)


@pytest.mark.parametrize("mode", [HS, U, VS], ids=str)
@pytest.mark.parametrize("inhibit", [MINH, SINH, UINH, VSINH, 0])
@runs
def test_a_return_counts_where_it_is_executed(run: Run, inhibit: int, mode: Mode) -> None:
    """MRET in M-mode, then an ECALL, which does not retire, and back by two of the handler's."""
    bench = Bench()
    bench.load("csrrw x0, mepc, a0; mret", M_VECTOR)
    bench.load("nop; ecall; nop; nop")
    bench.load("mret", CODE + 0x100)
    bench.set(mepc=CODE, mhpmevent3=INSTRUCTIONS | inhibit, mhpmcounter3=0)
    bench.set(mstatus=mode.privilege << 11 | mode.virtual << 39)
    bench.regs(a0=CODE + 8)
    bench.enter(M, CODE + 0x100)
    bench.load("nop", CODE + 16)
    before = bench.hart.instret
    while bench.hart.pc != CODE + 16:
        run(bench, 1)
    machine = bench.hart.instret - before - 3  # nop, nop, nop
    assert machine == 3, "mret, csrrw, mret"
    bit = {HS: SINH, U: UINH, VS: VSINH}[mode]
    counted = machine * (inhibit != MINH) + 3 * (inhibit != bit)
    assert bench.get("mhpmcounter3") == counted


@runs
def test_sret_counts_in_supervisor_mode(run: Run) -> None:
    bench = Bench()
    bench.load("nop; sret; nop; nop")
    bench.set(sepc=CODE + 8, mstatus=0, mhpmevent3=INSTRUCTIONS | UINH, mhpmcounter3=0)
    bench.set(mhpmevent4=INSTRUCTIONS | SINH, mhpmcounter4=0)
    bench.enter(HS, CODE)
    run(bench, 4)
    assert (bench.get("mhpmcounter3"), bench.get("mhpmcounter4")) == (2, 2)


@runs
def test_an_overflow_shows_at_once(run: Run) -> None:
    bench = Bench()
    bench.set(mhpmevent3=INSTRUCTIONS, mhpmcounter3=ONES - 1)
    source = """
        nop
        csrrs a0, mhpmevent3, x0
        csrrs a1, mip, x0
        csrrs a2, scountovf, x0
        csrrs a3, mhpmcounter3, x0
    """
    go(bench, source, run)
    assert bench.x("a0") == INSTRUCTIONS, "read before it has retired"
    assert bench.x("a1") & LCOFI and bench.x("a2") == 8 and bench.x("a3") == 2


@runs
def test_the_state_after_a_run_has_it(run: Run) -> None:
    bench = Bench()
    bench.set(mhpmevent3=INSTRUCTIONS, mhpmcounter3=ONES - 3)
    go(bench, "nop\n" * 3, run)
    assert bench.get("mhpmevent3") == INSTRUCTIONS and not bench.get("mip") & LCOFI
    go(bench, "nop", run)
    assert bench.get("mhpmcounter3") == 0
    assert bench.get("mhpmevent3") == INSTRUCTIONS | OF and bench.get("mip") & LCOFI


WRITES = {
    "csrrw x0, mhpmcounter3, x0": False,  # takes precedence over the increment
    "csrrw x0, mhpmcounter4, x0": True,
    "csrrw x0, minstret, x0": True,
    "csrrw x0, mcountinhibit, a1": True,
    "csrrw x0, mhpmevent4, a1": True,
    "csrrs a0, mhpmcounter3, x0": True,
}


@runs
@pytest.mark.parametrize(("write", "overflows"), WRITES.items())
def test_the_instruction_that_overflows_writes(run: Run, write: str, overflows: bool) -> None:
    bench = Bench()
    bench.set(mhpmevent3=INSTRUCTIONS, mhpmcounter3=ONES)
    go(bench, write, run, a1=8)
    assert bench.get("mhpmevent3") == (INSTRUCTIONS | OF if overflows else INSTRUCTIONS)
    assert bool(bench.get("mip") & LCOFI) == overflows
    assert bench.get("mhpmcounter3") == 0


@runs
def test_one_that_is_rewritten_afterwards_has_overflowed(run: Run) -> None:
    bench = Bench()
    bench.set(mhpmevent3=INSTRUCTIONS, mhpmcounter3=ONES - 2)
    go(bench, "nop\n" * 5 + "csrrw x0, mhpmcounter3, x0\n" + "nop\n" * 5, run)
    assert bench.get("mhpmevent3") == INSTRUCTIONS | OF and bench.get("mip") & LCOFI
    assert bench.get("mhpmcounter3") == 5


@runs
def test_a_counter_of_zero_has_not_overflowed_when_another_does(run: Run) -> None:
    bench = Bench()
    bench.set(mhpmevent3=INSTRUCTIONS, mhpmcounter3=ONES - 1, mhpmevent4=INSTRUCTIONS)
    go(bench, "nop; csrrw x0, mhpmcounter4, x0; nop", run)
    assert bench.get("mhpmevent3") & OF and not bench.get("mhpmevent4") & OF


@runs
def test_a_mode_that_counts_overflows_there(run: Run) -> None:
    """What is far from an overflow in one mode may be near one in the next."""
    bench = Bench()
    bench.load("mret")
    bench.load("nop\n" * 8 + "spin: j spin", CODE + 0x100)
    bench.set(mepc=CODE + 0x100, mstatus=0, mideleg=LCOFI, mie=LCOFI)
    bench.set(mhpmevent3=INSTRUCTIONS | MINH, mhpmcounter3=ONES - 4)
    bench.enter(M, CODE)
    run(bench, 7)
    assert bench.hart.traps == 1
    assert bench.get("sepc") == CODE + 0x100 + 5 * 4
    assert bench.get("scause") == 1 << 63 | Irq.LCOFI


def test_without_sscofpmf_nothing_is_noted() -> None:
    bench = Bench(without=["sscofpmf"])
    bench.set(mhpmevent3=INSTRUCTIONS, mhpmcounter3=ONES - 2)
    go(bench, "nop\n" * 8, at_once)
    assert bench.get("mhpmevent3") == INSTRUCTIONS and bench.get("mhpmcounter3") == 5


SAMPLING = """
    begin:  csrrw x0, mhpmcounter3, a1
            csrrw x0, mhpmevent3, a2
            csrrsi x0, mstatus, 8
            lui   t0, 16
    loop:   addi  t0, t0, -1
            bne   t0, x0, loop
            csrrci x0, mstatus, 8
    end:    j end
"""
SAMPLE = """
            addi  a4, a4, 1
            csrrw x0, mhpmevent3, x0
            csrrw x0, mip, x0
            csrrw x0, mhpmcounter3, a1
            csrrw x0, mhpmevent3, a2
            mret
"""
ROUNDS = 1 << 16


def samples(period: int, pieces: int, log: Path | None = None) -> tuple[int, int]:
    bench = Bench()
    program = bench.load(SAMPLING)
    bench.load(SAMPLE, M_VECTOR)
    bench.set(mie=LCOFI)
    bench.regs(a1=-period, a2=INSTRUCTIONS, a4=0)
    bench.enter(M, CODE)
    if log:
        bench.system.log_commits(str(log))
    while bench.hart.pc != program["end"]:
        bench.system.run(pieces)
    return bench.x("a4"), bench.hart.traps


@pytest.mark.parametrize("period", [50, 1000, 4097])
def test_every_interrupt_that_is_due_is_taken(period: int, tmp_path: Path) -> None:
    """In a period after the first the return counts, too."""
    main = 2 * ROUNDS + 3  # csrrsi, lui and csrrci
    wanted = 1 + (main - 1 - period) // (period - 1)
    count = samples(period, 7919)
    assert abs(count[0] - wanted) <= 1 and count[1] == count[0]
    assert samples(period, 400_000) == count
    if period == 1000:
        assert samples(period, 7919, tmp_path / "log") == count


def test_scountovf_is_of_delegated_counters_only() -> None:
    bench = Bench()
    bench.set(mhpmevent3=INSTRUCTIONS, mhpmcounter3=ONES, mcounteren=bits(4))
    bench.load("nop; csrrs a0, scountovf, x0")
    bench.enter(HS, CODE)
    bench.system.run(2)
    bench.enter(M)
    assert bench.x("a0") == 0 and bench.get("scountovf") == 8
