"""Snapshots, clones and saved machines: whatever goes on from a moment does so in the same way."""

from __future__ import annotations

import gc
import random
import threading
from pathlib import Path

import pytest

import rvvm
from machine.moments import all_of, check_goes_on, go_on
from rvvm.py.resources import resource

ENGINES = ["interp", "jit"]


def firmware(name: str, **options: object) -> rvvm.Machine:
    options = {"clock": "instructions", "memory": "16M", **options}
    return rvvm.Machine(kernel=resource(f"firmware/{name}.elf"), bios="none", **options)


@pytest.mark.parametrize("accel", ENGINES)
@pytest.mark.parametrize(("name", "harts"), [("hello", 1), ("hello", 2), ("hypervisor", 1)])
def test_every_successor_goes_on_bit_for_bit(
    name: str, harts: int, accel: str, tmp_path: Path
) -> None:
    pick = random.Random(f"{name} {harts} {accel}")
    machine = firmware(name, harts=harts, accel=accel)
    for _ in range(3):
        machine.run(until=rvvm.instructions(pick.randrange(1, 30_000)))
        check_goes_on(machine, [pick.randrange(1, 200), 5_000, 30_000], tmp_path / "saved")
    machine.run()
    assert machine.status == 0


def test_any_of_a_chain_of_moments_comes_back() -> None:
    machine = firmware("hello")
    snapshots, there = [], []
    for _ in range(6):
        machine.run(until=rvvm.instructions(9_000))
        snapshots.append(machine.snapshot())
        there.append(all_of(machine))
    for index in (5, 0, 3, 3, 1, 4, 2):
        machine.restore(snapshots[index])
        assert all_of(machine) == there[index]
        machine.run(until=rvvm.instructions(2_000))


def test_a_snapshot_outlives_its_machine() -> None:
    machine = firmware("hello")
    machine.run(until=rvvm.instructions(20_000))
    clone, snapshot, there = machine.fork(), machine.snapshot(), all_of(machine)
    del machine
    gc.collect()
    clone.run()
    assert clone.status == 0
    clone.restore(snapshot)
    assert all_of(clone) == there


def test_clones_are_independent() -> None:
    """They write to the same addresses, and run at the same time."""
    machine = firmware("hello")
    machine.run(until=rvvm.instructions(20_000))
    clones = [machine.fork() for _ in range(8)]
    where = machine.board.memory[0].base + 0x10_0000
    for number, clone in enumerate(clones):
        clone.memory[where : where + 8] = number.to_bytes(8, "little")
    threads = [threading.Thread(target=clone.run) for clone in clones]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [clone.memory.u64(where) for clone in clones] == list(range(8))
    assert machine.memory.u64(where) == 0 and machine.status is None
    assert {clone.status for clone in clones} == {0}
    assert len({clone.console.text for clone in clones}) == 1


def test_code_of_another_moment_is_not_executed() -> None:
    """The same address holds other instructions then: addi a0, a0, 1 or 2, again and again."""
    machine = firmware("hello")
    hart, at = machine.harts[0], machine.board.memory[0].base + 0x20_0000
    loop = 0xFFDF_F06F  # j .-4

    def write(step: int) -> None:
        code = (step << 20 | 0x50513).to_bytes(4, "little") + loop.to_bytes(4, "little")
        machine.memory[at : at + 8] = code
        hart.pc, hart.x.a0 = at, 0

    snapshots = []
    for step in (1, 2):
        write(step)
        snapshots.append(machine.snapshot())
        machine.run(until=rvvm.instructions(10_000))
        assert hart.x.a0 == 5_000 * step
    for step in (1, 2, 2, 1):
        machine.restore(snapshots[step - 1])
        machine.run(until=rvvm.instructions(10_000))
        assert hart.x.a0 == 5_000 * step


def test_what_a_device_and_a_person_wrote_counts() -> None:
    machine = firmware("hello")
    snapshot = machine.snapshot()
    where = machine.board.memory[0].base + 0x10_0000
    machine.memory[where : where + 4] = b"new!"
    machine.board.ram.view(where + 0x10_0000, 4)[:] = b"dma!"
    later = machine.snapshot()
    machine.restore(snapshot)
    assert machine.memory.u32(where) == machine.memory.u32(where + 0x10_0000) == 0
    machine.restore(later)
    assert bytes(machine.memory[where : where + 4]) == b"new!"
    assert machine.system.read(where + 0x10_0000, 4) == b"dma!"


def test_views_show_the_memory_that_is_there() -> None:
    machine = firmware("hello")
    where = machine.board.memory[0].base + 0x10_0000
    view = machine.memory[where : where + 1]
    snapshot = machine.snapshot()
    machine.memory[where] = 7
    assert view[0] == 7
    machine.restore(snapshot)
    assert view[0] == 0


def test_typed_input_is_part_of_it() -> None:
    machine = firmware("hello")
    machine.console.send("typed, and not read yet")
    snapshot = machine.snapshot()
    machine.console.send(" and more")
    machine.restore(snapshot)
    assert machine.console.pending == machine.fork().console.pending == 23


def test_a_machine_that_has_ended_stays_so(tmp_path: Path) -> None:
    machine = firmware("hello")
    begin = machine.snapshot()
    machine.run()
    machine.save(tmp_path / "ended")
    assert machine.fork().run().reason == "halt"
    assert rvvm.Machine.load(tmp_path / "ended").run().reason == "halt"
    machine.restore(begin)
    assert machine.status is None and machine.run().detail == 0


def test_a_clone_can_be_reset() -> None:
    machine = firmware("hello")
    machine.run(until=rvvm.instructions(20_000))
    clone = machine.fork()
    clone.reset()
    machine.reset()
    assert go_on(clone, [5_000]) == go_on(machine, [5_000])


def test_time_of_the_host_goes_on_without_a_jump() -> None:
    machine = firmware("hello", clock="host")
    machine.run(until=rvvm.instructions(1_000))
    machine.system.time = 1 << 40
    snapshot = machine.snapshot()
    machine.system.time = 1 << 50
    machine.restore(snapshot)
    clone = machine.fork()
    for one in (machine, clone):
        assert 0 <= one.system.time - (1 << 40) < 60 * 10_000_000


def test_a_snapshot_of_another_machine_is_refused() -> None:
    with pytest.raises(rvvm.UserError, match="the snapshot is of another machine"):
        firmware("hello").restore(firmware("hello", memory="32M").snapshot())


def test_a_running_machine_is_refused() -> None:
    machine = firmware("hello")
    problems: list[Exception] = []

    def ask(data: bytes) -> None:
        try:
            machine.snapshot()
        except RuntimeError as error:
            problems.append(error)

    machine.console.listeners.append(ask)
    machine.run()
    assert problems and "pause it first" in str(problems[0])
