"""What the terminal says of a guest that will not go on, and what it does not say of others."""

from __future__ import annotations

import sys
from pathlib import Path

import pexpect
import pytest

import rvvm
from cli.run import ENVIRONMENT
from machine import elves
from rvvm.py.advice import Advisor
from rvvm.py.cli import Session

LINE = b"---[ end Kernel panic - not syncing: Attempted to kill init! ]---\n\0"
WAITS = "csrw mie, zero\nstay: wfi\nj stay"
PANIC = f"""
    la      t0, message
    li      t3, UART
next:
    lbu     t1, 0(t0)
    beqz    t1, stay
    sb      t1, 0(t3)
    addi    t0, t0, 1
    j       next
stay:
    j       stay
message:
    .dword  {", ".join(str(int.from_bytes(LINE[at : at + 8], "little")) for at in range(0, 72, 8))}
"""
TIMER = """
    li      t0, 0x80
    csrw    mie, t0
    li      t0, 0x2004000
    li      t1, 0x4000000000000000
    sd      t1, 0(t0)
stay:
    wfi
    j       stay
"""
EXTERNAL = "li t0, 0x800\ncsrw mie, t0\nstay: wfi\nj stay"
MASKED_TIMER = TIMER.replace("0x80\n", "0x0\n")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (WAITS, r"rvvm: every hart waits \(wfi\), and nothing will wake one: no timer is set"),
        ("jr zero", r"rvvm: hart 0 does nothing but trap: instruction access fault at 0x0"),
        (PANIC, r"---\r\nrvvm: the guest's kernel has panicked"),
    ],
)
def test_a_guest_that_will_not_go_on_is_told_of_with_the_way_out(
    tmp_path: Path, source: str, says: str
) -> None:
    program = elves.write(tmp_path / "program.elf", source)
    child = pexpect.spawn(sys.executable, ["-m", "rvvm", str(program)], timeout=60, env=ENVIRONMENT)
    child.expect(says)
    child.expect_exact("Ctrl-A x quits, Ctrl-A c opens the monitor.")
    child.send("\x01x")
    child.expect(pexpect.EOF)
    assert says[:30].encode() not in child.before, "said once"
    child.close()
    assert child.exitstatus == 0


class Watched:
    """A machine that seems to run, and what is said of it."""

    def __init__(self, folder: Path, source: str, **options: object) -> None:
        program = elves.write(folder / "program.elf", source)
        self.machine = rvvm.Machine(kernel=program, bios="none", memory="16M", **options)
        self.said: list[str] = []
        self.pauses = 0
        self.advisor = Advisor(self.machine, self.said.append, self._pause)

    def _pause(self) -> None:
        self.pauses += 1

    def run_until_all_wait(self) -> None:
        while not all(hart.waiting for hart in self.machine.harts):
            self.machine.run(until=rvvm.seconds(0.05))

    def look(self, count: int) -> None:
        """As the thread does while the machine runs."""
        self.machine._running.acquire()
        for _ in range(count):
            self.advisor.look()
        self.machine._running.release()
        self.advisor.judge()


@pytest.mark.parametrize("harts", [1, 2])
@pytest.mark.parametrize(
    ("source", "dead"), [(WAITS, True), (MASKED_TIMER, True), (TIMER, False), (EXTERNAL, False)]
)
def test_only_who_can_never_wake_is_told_of(
    tmp_path: Path, source: str, dead: bool, harts: int
) -> None:
    watched = Watched(tmp_path, source, harts=harts)
    watched.machine.console.put(ord("x"))
    watched.run_until_all_wait()
    watched.look(5)
    assert len(watched.said) == dead and watched.pauses
    watched.look(5)
    assert len(watched.said) == dead


def test_a_guest_that_works_is_not_paused(tmp_path: Path) -> None:
    watched = Watched(tmp_path, elves.SPIN)
    for _ in range(9):
        watched.machine.run(until=rvvm.instructions(100))
        watched.look(1)
    assert not watched.pauses and not watched.said


def test_an_idle_guest_is_paused_ever_more_rarely(tmp_path: Path) -> None:
    watched = Watched(tmp_path, EXTERNAL)
    watched.run_until_all_wait()
    watched.machine.console.put(ord("x"))
    for _ in range(1000):
        watched.look(1)
    assert 5 < watched.pauses < 25 and not watched.said


@pytest.mark.parametrize("printed", [False, True])
def test_silence_is_told_of(tmp_path: Path, printed: bool) -> None:
    watched = Watched(tmp_path, elves.SPIN)
    if printed:
        watched.machine.console.put(ord("x"))
    for _ in range(30):
        watched.machine.run(until=rvvm.instructions(100))
        watched.look(1)
    expected = "the guest has printed nothing in 10 s. Ctrl-A x quits, Ctrl-A c opens the monitor."
    assert watched.said == ([] if printed else [expected])


def test_a_limit_of_instructions_outlasts_a_pause(tmp_path: Path) -> None:
    """What was executed before it, or in the monitor, counts."""
    program = elves.write(tmp_path / "spin.elf", elves.SPIN)
    machine = rvvm.Machine(kernel=program, bios="none", memory="16M")
    session = Session(machine, 1000, None)
    machine.step(400)
    machine.run(until=session._limit())
    assert machine.instret == 1000
