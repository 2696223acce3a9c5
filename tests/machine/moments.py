"""What a machine is, to compare where it gets to from different beginnings."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import rvvm


def all_of(machine: rvvm.Machine) -> dict[str, Any]:
    """Harts, time, devices, memory, and what was printed."""
    memory = hashlib.blake2b()
    for address, size in machine.system.filled():
        memory.update(f"{address:x}+{size:x}".encode())
        memory.update(machine.memory[address : address + size])
    return {
        "harts": [hart.state() for hart in machine.system.harts],
        "progress": machine.system.progress(),
        "devices": machine.board.state(),
        "memory": memory.hexdigest(),
        "console": machine.console.state(),
        "status": machine.status,
    }


def go_on(machine: rvvm.Machine, budgets: list[int]) -> list[dict[str, Any]]:
    """Where it is after each budget of instructions."""
    reached = []
    for budget in budgets:
        machine.run(until=rvvm.instructions(budget), timeout=300)
        reached.append(all_of(machine))
    return reached


def successors(machine: rvvm.Machine, path: Path) -> dict[str, rvvm.Machine]:
    """A clone, one from a file, and one that has come back in another."""
    snapshot = machine.snapshot()
    machine.save(path)
    other = machine.fork()
    other.run(until=rvvm.instructions(100_000), timeout=300)
    other.restore(snapshot)
    return {"fork": machine.fork(), "load": rvvm.Machine.load(path), "restore elsewhere": other}


def check_goes_on(machine: rvvm.Machine, budgets: list[int], path: Path) -> None:
    """From this moment on the original, its successors, and the original again do the same."""
    snapshot, before = machine.snapshot(), all_of(machine)
    others = successors(machine, path)
    for name, other in others.items():
        assert all_of(other) == before, name
    wanted = go_on(machine, budgets)
    for name, other in others.items():
        assert go_on(other, budgets) == wanted, name
    machine.restore(snapshot)
    assert all_of(machine) == before
    assert go_on(machine, budgets) == wanted, "restore"
