"""With --clock instructions a boot is the same run on every engine, to the bit."""

from __future__ import annotations

import hashlib

import pytest

import rvvm

INSTRUCTIONS = 200_000_000
"""Into the kernel, past the first processes of its own and the timers."""


def boot(accel: str, harts: int) -> tuple[str, list[dict[str, object]]]:
    """The hash of RAM, and all registers of all harts, after so many instructions."""
    machine = rvvm.Machine(
        kernel="debian", memory="256M", harts=harts, clock="instructions", accel=accel
    )
    machine.run(until=rvvm.instructions(INSTRUCTIONS), timeout=300)
    region = machine.board.memory[0]
    ram = machine.memory[region.base : region.base + region.size]
    return hashlib.sha256(ram).hexdigest(), [hart.registers() for hart in machine.system.harts]


@pytest.mark.parametrize("harts", [1, 2])
def test_engines_agree_on_a_boot(harts: int) -> None:
    """RAM, registers, CSRs and counters after 200 million instructions of Debian."""
    assert boot("interp", harts) == boot("auto", harts)
