"""What starts before a kernel, and instead of one."""

from __future__ import annotations

import re

import pytest

import rvvm

pytestmark = pytest.mark.xdist_group("debian")
LINUX = re.compile(r"Linux version [\d.]+")


@pytest.mark.parametrize("bios", ["opensbi", "opensbi-jump"])
def test_opensbi_starts_linux(bios: str) -> None:
    machine = rvvm.Machine(kernel="debian", bios=bios)
    machine.console.expect("OpenSBI v", timeout=60)
    machine.console.expect(LINUX, timeout=60)
    # Early on the kernel prints through the SBI, so it may be the firmware that was stopped.
    assert machine.harts[0].mode in ("HS", "M")


def test_u_boot_is_a_payload() -> None:
    machine = rvvm.Machine(kernel="u-boot")
    machine.console.expect("Hit any key", timeout=120)
    machine.console.send("\n")
    machine.console.expect("=> ", timeout=60)
    machine.console.send("poweroff\n")
    assert machine.run(timeout=60).detail == 0


def test_two_harts_boot_and_restart() -> None:
    machine = rvvm.Machine(kernel="debian", harts=2, memory="256M")
    machine.console.expect("smp: Brought up 1 node, 2 CPUs", timeout=300)
    machine.console.expect("/init", timeout=600)
    machine.console.send("reboot -f\n")
    machine.console.expect(LINUX, timeout=600)


def test_same_boot_twice() -> None:
    """--clock instructions: kernel and devices come to the same state, register by register."""
    states = []
    for _ in range(2):
        machine = rvvm.Machine(kernel="debian", clock="instructions", memory="256M")
        machine.run(until=rvvm.instructions(300_000_000), timeout=600)
        states.append((machine.harts[0].core.registers(), machine.board.state()))
    assert states[0] == states[1]
    assert "Linux version" in machine.console.text
