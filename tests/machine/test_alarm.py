"""A device's alarm where time counts instructions: nothing but the run itself makes time pass."""

from __future__ import annotations

from pathlib import Path

import pytest

import rvvm
from machine import elves

SET = """
    li      t0, 0x101000            # the clock
    li      t1, 1
    sw      t1, 0x10(t0)            # irq_enabled
    lw      t2, 0(t0)
    lw      t3, 4(t0)
    sw      t3, 0xc(t0)             # alarm_high
    li      t4, 5000000
    add     t2, t2, t4
    sw      t2, 8(t0)               # alarm_low: in 5 ms
"""
POLL = SET + "again: lw t5, 0x18(t0)\n bnez t5, again\n" + elves.END
WAIT = (
    SET
    + """
    li      t1, 0xc000000           # the PLIC
    li      t2, 1
    sw      t2, 44(t1)              # priority of the clock's interrupt, 11
    li      t3, 0xc002000
    li      t2, 0x800
    sw      t2, 0(t3)               # enabled for the hart's machine mode
    csrw    mie, t2                 # MEIE
    wfi
"""
    + elves.END
)


@pytest.mark.parametrize(("source", "most"), [(POLL, 5_100_000), (WAIT, 100)], ids=["poll", "wait"])
@pytest.mark.parametrize("accel", ["interp", "auto"])
def test_it_rings_in_a_run_without_end(tmp_path: Path, accel: str, source: str, most: int) -> None:
    program = elves.write(tmp_path / "program.elf", source)
    machine = rvvm.Machine(
        kernel=program, bios="none", memory="4M", clock="instructions", accel=accel
    )
    begun = machine.system.time
    assert machine.run(timeout=60).reason == "halt"
    assert machine.instret < most
    assert 50_000 <= machine.system.time - begun <= 51_000, "5 ms at 10 MHz, and the turn's end"
    machine.reset()
    assert machine.run(timeout=60).reason == "halt"


def test_one_that_is_cancelled_stops_nothing(tmp_path: Path) -> None:
    source = SET + "    sw zero, 0x14(t0)  # clear_alarm\n" + "stay: j stay"
    machine = rvvm.Machine(
        kernel=elves.write(tmp_path / "program.elf", source),
        bios="none",
        memory="4M",
        clock="instructions",
    )
    machine.run(until=rvvm.instructions(1000))
    assert machine.system.alarm == (1 << 64) - 1 and machine.board.host.clock.next_alarm is None
