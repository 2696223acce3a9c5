"""By the host's clock: a hart that reads a time at which its timer is due gets the interrupt then,
not when its turn is over. How long the host keeps the hart from running does not matter here."""

from __future__ import annotations

from pathlib import Path

import pytest

import rvvm
from machine import elves

SPIN = """
        la    t0, handler
        csrw  mtvec, t0
        li    t0, 1
        slli  t0, t0, 63
        csrs  menvcfg, t0               # STCE
        li    s1, 0x2004000             # mtimecmp
        li    s8, 200                   # timers
        li    s9, 0                     # the most rounds past a deadline
        li    t0, 0xa0                  # STIE, MTIE
        csrw  mie, t0
        csrsi mstatus, 8
again:
        li    s3, 0
        li    s4, 0
        csrr  s2, time
        addi  s2, s2, 300
        {set}
round:
        csrr  t1, time
        bltu  t1, s2, early
        addi  s3, s3, 1                 # it is due
early:
        beqz  s4, round
        bgeu  s9, s3, less
        mv    s9, s3
less:
        addi  s8, s8, -1
        bnez  s8, again
        j     end
        .align 2
handler:
        li    s4, 1
        li    t2, -1
        csrw  stimecmp, t2
        sd    t2, 0(s1)
        mret
end:
"""


@pytest.mark.parametrize("timer", ["sd s2, 0(s1)", "csrw stimecmp, s2"])
@pytest.mark.parametrize(("accel", "harts"), [("interp", 1), ("auto", 1), ("auto", 2)])
def test_no_timer_is_late(tmp_path: Path, accel: str, harts: int, timer: str) -> None:
    program = SPIN.replace("{set}", timer) + elves.END
    if harts > 1:
        program = "csrr t0, mhartid\nstay1: bnez t0, stay1\n" + program
    it = rvvm.Machine(
        kernel=elves.write(tmp_path / "program.elf", program),
        bios="none",
        memory="4M",
        accel=accel,
        harts=harts,
    )
    assert it.run(timeout=120).reason == "halt"
    assert it.harts[0].x.s9 <= 2, "a turn has thousands of rounds"
