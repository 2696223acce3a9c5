"""``--clock instructions``: every way to ask for the time says the same, to the instruction, and
where a run is cut, or who looks on, changes nothing of it.

Time is what a nominal 1 GHz hart has executed: 100 instructions, or traps, are a tick of 10 MHz.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

import rvvm
from machine import elves
from machine.moments import all_of

TICK = 100
MTIMECMP, MTIME = 0x200_4000, 0x200_BFF8
MTI = 1 << 63 | 7

engines = pytest.mark.parametrize("accel", ["interp", "auto"])


def machine(
    folder: Path, source: str, accel: str, harts: int = 1, **options: object
) -> rvvm.Machine:
    return rvvm.Machine(
        kernel=elves.write(folder / "program.elf", source),
        bios="none",
        memory="4M",
        clock="instructions",
        accel=accel,
        harts=harts,
        **options,
    )


CLOCKWORK = f"""
        csrr  s0, mhartid
        la    t0, handler
        csrw  mtvec, t0
        li    t0, 1
        slli  t0, t0, 63
        csrs  menvcfg, t0               # STCE
        li    t0, -1
        csrw  stimecmp, t0
        slli  t0, s0, 3
        li    s1, {MTIMECMP}
        add   s1, s1, t0                # of this hart
        li    s2, {MTIME}
        addi  s3, s0, 77                # dice
        li    s4, 0                     # all that was read
        li    s5, ROUNDS
        li    s6, 0x101000              # the clock
        la    s7, latest                # time that any hart has read
        li    s8, 0                     # times before that, or before one's own
        li    s9, 0x2000000             # msip
        li    t0, 0xa8                  # MSIE, STIE, MTIE
        csrw  mie, t0
        csrsi mstatus, 8
round:
        li    t0, 1103515245
        mul   s3, s3, t0
        addi  s3, s3, 1234
        srli  s10, s3, 16
        andi  t1, s10, 0x3ff
        addi  t1, t1, 1
spin:
        addi  t1, t1, -1
        bnez  t1, spin
        ld    t2, 0(s7)
        csrr  t0, time
        addi  t1, t0, 1                 # within a tick
        sltu  t1, t1, t2
        add   s8, s8, t1
        amomaxu.d x0, t0, (s7)
        {{mix t0}}
        ld    t1, 0(s2)
        sltu  t2, t1, t0
        add   s8, s8, t2
        {{mix t1}}
        csrr  t2, time
        sltu  t3, t2, t1
        add   s8, s8, t3
        csrr  t3, mip
        {{mix t3}}
        csrr  t3, minstret
        {{mix t3}}
        srli  s10, s10, 10
        andi  t3, s10, 3
        srli  s10, s10, 2
        andi  s10, s10, 127
        add   t2, t2, s10
        beqz  t3, wait
        addi  t3, t3, -1
        beqz  t3, compare
        addi  t3, t3, -1
        beqz  t3, other
        lw    t0, 0(s6)                 # nanoseconds
        lw    t1, 4(s6)
        {{mix t0}}
        {{mix t1}}
        li    t3, 1
        sw    t3, 0x10(s6)              # irq_enabled
        sw    t1, 0xc(s6)
        slli  t2, s10, 7
        add   t0, t0, t2
        sw    t0, 8(s6)                 # an alarm
rings:
        lw    t3, 0x18(s6)
        addi  s4, s4, 1
        bnez  t3, rings
        j     next
wait:
        csrci mstatus, 8
        sd    t2, 0(s1)
        wfi
        csrr  t0, time
        {{mix t0}}
        csrsi mstatus, 8
        j     next
compare:
        csrw  stimecmp, t2
        j     next
other:
        li    t0, HARTS
        addi  t1, s0, 1
        bne   t0, t1, ring
        li    t1, 0
ring:
        slli  t1, t1, 2
        add   t1, t1, s9
        li    t0, 1
        sw    t0, 0(t1)
next:
        addi  s5, s5, -1
        bnez  s5, round
        la    t0, done
        li    t1, 1
        amoadd.d x0, t1, (t0)
        la    t2, misses
        amoadd.d x0, s8, (t2)
        bnez  s0, rest
all:
        ld    t1, 0(t0)
        li    t2, HARTS
        bne   t1, t2, all
        {elves.END}
rest:
        csrci mstatus, 8
        csrw  mie, x0
        wfi
        j     rest
        .align 2
handler:
        csrr  a2, mcause
        {{mix a2}}
        csrr  a3, mepc
        {{mix a3}}
        csrr  a3, time
        {{mix a3}}
        slli  a2, a2, 1
        addi  a4, a2, -14
        beqz  a4, machine_timer
        addi  a4, a2, -10
        beqz  a4, supervisor_timer
        slli  a4, s0, 2
        add   a4, a4, s9
        sw    x0, 0(a4)
        mret
machine_timer:
        li    a4, -1
        sd    a4, 0(s1)
        mret
supervisor_timer:
        li    a4, -1
        csrw  stimecmp, a4
        mret
        .align 3
latest: .dword 0
done:   .dword 0
misses: .dword 0
"""


def clockwork(rounds: int, harts: int) -> str:
    """Each hart reads the time in all ways, sets timers and alarms, waits, and wakes the next."""
    lines = []
    for line in CLOCKWORK.replace("ROUNDS", str(rounds)).replace("HARTS", str(harts)).splitlines():
        if "{mix" in line:
            register = line.strip()[5:-1]
            lines += ["slli t6, s4, 5", "add s4, s4, t6", f"add s4, s4, {register}"]
        else:
            lines.append(line)
    return "\n".join(lines)


def whole(it: rvvm.Machine, folder: Path) -> None:
    it.run(timeout=300)


def pieces(it: rvvm.Machine, folder: Path) -> None:
    dice = Random(1)
    while it.status is None:
        it.run(until=rvvm.instructions(dice.randrange(1, 1 << dice.randrange(3, 14))))


def logged(it: rvvm.Machine, folder: Path) -> None:
    it.system.log_commits(str(folder / "log"))
    it.run(timeout=300)


def stops(it: rvvm.Machine, folder: Path) -> None:
    while it.status is None:
        it.run(until=rvvm.pc("round") | rvvm.trap(MTI) | rvvm.pc("wait"))


def moments(it: rvvm.Machine, folder: Path) -> None:
    dice = Random(2)
    while it.status is None:
        it.run(until=rvvm.instructions(dice.randrange(1, 40_000)))
        if it.status is None:
            kept = it.snapshot()
            it.run(until=rvvm.instructions(1000))
            it.restore(kept)


def steps(it: rvvm.Machine, folder: Path) -> None:
    while it.status is None:
        it.step(16)


@pytest.mark.parametrize("harts", [1, 2, 3])
def test_the_same_run_however_it_is_cut(tmp_path: Path, harts: int) -> None:
    ways: list[Callable[[rvvm.Machine, Path], None]] = [whole, pieces, logged, stops, moments]
    if harts == 1:
        ways.append(steps)
    first = None
    for way in ways:
        for accel in ("interp", "auto"):
            it = machine(tmp_path, clockwork(60, harts), accel, harts)
            way(it, tmp_path)
            assert it.memory[it.address("misses")] == 0, (way.__name__, accel)
            state = all_of(it) | {"progress": it.system.time}  # whose turn it is tells nothing
            first = first or state
            assert state == first, (way.__name__, accel)


DELAY = (
    f"""
        li    s0, {MTIME}
        li    s1, {MTIMECMP}
        la    t0, handler
        csrw  mtvec, t0
        li    t0, 0x80
        csrw  mie, t0
        csrsi mstatus, 8
        csrr  s2, time
        addi  t1, s2, PERIOD
        sd    t1, 0(s1)
stay:   j     stay
        .align 2
handler:
        csrr  s3, time
        csrr  s4, instret
"""
    + elves.END
)


@engines
@pytest.mark.parametrize("period", [1, 2, 99, 499, 500, 2000])
def test_a_timer_that_is_set_meanwhile(tmp_path: Path, accel: str, period: int) -> None:
    it = machine(tmp_path, DELAY.replace("PERIOD", str(period)), accel)
    it.run(timeout=60)
    hart = it.harts[0]
    assert hart.x.s3 == hart.x.s2 + period
    assert hart.x.s4 <= (hart.x.s3 + 1) * TICK


STORM = (
    f"""
        li    t0, 0xb1ff
        csrw  medeleg, t0
        csrw  stvec, x0                 # nothing is there
        la    t0, handler
        csrw  mtvec, t0
        li    t0, -1
        csrw  pmpaddr0, t0
        li    t0, 0x1f
        csrw  pmpcfg0, t0
        li    t0, 0x80
        csrw  mie, t0
        li    s0, {MTIMECMP}
        li    s1, {MTIME}
        ld    t0, 0(s1)
        addi  t0, t0, 2000
        sd    t0, 0(s0)
        li    t0, 0x1000
        csrc  mstatus, t0
        li    t0, 0x800
        csrs  mstatus, t0
        la    t0, lost
        csrw  mepc, t0
        mret
lost:   .word 0
        .align 2
handler:
        csrr  s2, mcause
        csrr  s3, time
        csrr  s4, minstret
"""
    + elves.END
)


@engines
def test_time_passes_while_a_hart_only_traps(tmp_path: Path, accel: str) -> None:
    it = machine(tmp_path, STORM, accel)
    other = machine(tmp_path, STORM, accel)
    assert it.run(timeout=60).reason == "halt"
    hart = it.harts[0]
    assert hart.x.s2 == MTI and hart.x.s3 - 2000 < 3 and hart.x.s4 < 100
    assert 199_000 < it.traps < 201_000
    assert other.run(until=rvvm.instructions(10_000), timeout=60).reason == "halt", "not stuck"
    assert all_of(it) == all_of(other)


TIMERS = (
    f"""
        csrr  t0, mhartid
        bnez  t0, spin
        la    t0, handler
        csrw  mtvec, t0
        li    s1, {MTIMECMP}
        li    t0, 0x80
        csrw  mie, t0
        li    s8, 100                   # interrupts
        li    s5, PERIOD
        csrr  s6, time
        add   s6, s6, s5
        sd    s6, 0(s1)
        csrsi mstatus, 8
count:  addi  s7, s7, 1
        j     count
spin:   csrr  s9, time
        j     spin
        .align 2
handler:
        csrr  t1, time
        sub   t1, t1, s6
        bltu  t1, s10, less
        mv    s10, t1                   # the latest
less:
        add   s6, s6, s5
        sd    s6, 0(s1)
        addi  s8, s8, -1
        beqz  s8, end
        mret
end:
"""
    + elves.END
)


@engines
@pytest.mark.parametrize("harts", [1, 2, 4])
@pytest.mark.parametrize("period", [2, 100, 400, 499, 501])
def test_short_timers_starve_no_hart(tmp_path: Path, accel: str, harts: int, period: int) -> None:
    it = machine(tmp_path, TIMERS.replace("PERIOD", str(period)), accel, harts)
    it.run(timeout=60)
    hart = it.harts[0]
    assert hart.x.s10 <= 1, "none is late by more than a tick"
    due = 100 * period * TICK
    assert 0.8 * due - 100 * 24 <= 2 * hart.x.s7 <= due
    assert all(abs(other.x.s9 - hart.x.s6) < period + 2 for other in it.harts[1:])


CLOCKS = (
    f"""
        li    s0, {MTIME}
        li    s1, 0x101000
        li    s2, 60                    # rounds
        li    s3, 0                     # wrong
        li    s5, 0                     # of the clock at a time of 0
        li    t0, {1_700_000_000 * 10**9}
        mv    s5, t0
round:
        li    t0, 237
spin:   addi  t0, t0, -1
        bnez  t0, spin
        csrr  a0, time
        ld    a1, 0(s0)
        lwu   a2, 0(s1)
        lwu   a3, 4(s1)
        csrr  a4, time
        slli  a3, a3, 32
        or    a2, a2, a3
        sub   a2, a2, s5
        li    t0, 100
        divu  a2, a2, t0
        bltu  a1, a0, wrong
        bltu  a2, a1, wrong
        bltu  a4, a2, wrong
        j     right
wrong:  addi  s3, s3, 1
right:  addi  s2, s2, -1
        bnez  s2, round
"""
    + elves.END
)


@engines
def test_all_clocks_are_one(tmp_path: Path, accel: str) -> None:
    """The CSR, CLINT's mtime and the RTC, read one after the other, do not go back."""
    it = machine(tmp_path, CLOCKS, accel)
    it.run(timeout=60)
    assert it.harts[0].x.s2 == 0 and it.harts[0].x.s3 == 0


MESSAGES = (
    """
        csrr  s0, mhartid
        la    s1, shared
        li    s8, 0                     # times before one that was known
        li    s9, 300
        bnez  s0, hear
tell:
        li    t0, 333
spin:   addi  t0, t0, -1
        bnez  t0, spin
        csrr  t1, time
        sd    t1, 0(s1)
        ld    t2, 8(s1)
        csrr  t1, time
        addi  t1, t1, 1
        sltu  t1, t1, t2
        add   s8, s8, t1
        addi  s9, s9, -1
        bnez  s9, tell
        j     end
hear:
        ld    t2, 0(s1)
        csrr  t1, time
        sd    t1, 8(s1)
        addi  t1, t1, 1
        sltu  t1, t1, t2
        add   s8, s8, t1
        j     hear
        .align 3
shared: .dword 0, 0
end:
"""
    + elves.END
)


@engines
@pytest.mark.parametrize("harts", [2, 3])
def test_harts_that_tell_each_other_the_time(tmp_path: Path, accel: str, harts: int) -> None:
    """Zicntr: "the real-time clocks of all harts must be synchronized to within one tick"."""
    it = machine(tmp_path, MESSAGES, accel, harts)
    it.run(timeout=60)
    assert [hart.x.s8 for hart in it.harts] == [0] * harts
