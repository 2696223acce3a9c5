"""Conditions on their own."""

from __future__ import annotations

from pathlib import Path

import pytest

import rvvm
from machine import elves


def test_they_show_themselves() -> None:
    condition = rvvm.pc(0x80) | rvvm.trap(13) | rvvm.instructions(5) | rvvm.pc("main")
    assert repr(condition) == "pc(0x80) | trap('load page fault') | instructions(5) | pc(main)"


@pytest.mark.parametrize(
    ("make", "argument"), [(rvvm.trap, "nonsense"), (rvvm.text, ""), (rvvm.instructions, -1)]
)
def test_nonsense_is_refused(make: object, argument: object) -> None:
    with pytest.raises(ValueError):
        make(argument)  # type: ignore[operator]


@pytest.mark.parametrize("harts", [1, 2])
def test_instructions_end_where_nothing_retires(tmp_path: Path, harts: int) -> None:
    """mtvec = 0 holds no memory: each fetch of the handler traps again."""
    program = elves.write(tmp_path / "lost.elf", "jr zero")
    machine = rvvm.Machine(kernel=program, bios="none", harts=harts)
    assert machine.run(until=rvvm.instructions(10**30), timeout=30).reason == "until"
    assert machine.instret == harts and machine.traps > 1000
