"""What many machines in one process cost, and that none is in another's way."""

from __future__ import annotations

import contextlib
import ctypes
import resource as resource_limits
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import rvvm
from machine import elves
from rvvm.py.resources import resource

MiB = 1 << 20
LITTLE = 32 * MiB  # each place that is used may take a large page of the host's
SPIN = "spin: j spin\n"


def made(tmp_path: Path, source: str, memory: str, **options: object) -> rvvm.Machine:
    program = elves.write(tmp_path / "program.elf", source)
    return rvvm.Machine(kernel=program, bios="none", memory=memory, **options)


def cost(machine: rvvm.Machine, what: str) -> int:
    """Bytes of guest memory by /proc/self/smaps: ``Rss``, ``Pss``, ``Anonymous``."""
    total, inside = 0, False
    region = machine.board.memory[0]
    first = ctypes.addressof(ctypes.c_char.from_buffer(machine.system.dma(region.base, 1)))
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            start, end = (int(edge, 16) for edge in words[0].split("-"))
            inside = start < first + region.size and first < end
        elif inside and words[0] == f"{what}:":
            total += int(words[1]) << 10
    return total


def test_memory_that_is_not_used_is_not_there(tmp_path: Path) -> None:
    machine = made(tmp_path, SPIN, "4G", clock="instructions")
    machine.run(until=rvvm.instructions(100_000))
    assert cost(machine, "Rss") < LITTLE
    snapshot = machine.snapshot()
    clone = machine.fork()
    machine.restore(snapshot)
    for one in (machine, clone):
        one.run(until=rvvm.instructions(100_000))
        assert cost(one, "Rss") < LITTLE


def test_identical_clones_share_their_memory(tmp_path: Path) -> None:
    machine = made(tmp_path, SPIN, "64M", clock="instructions")
    base = machine.board.memory[0].base
    for offset in range(8 * MiB, 40 * MiB, MiB):
        machine.memory[base + offset : base + offset + MiB] = bytes([offset // MiB]) * MiB
    clones = [machine.fork() for _ in range(10)]
    for clone in clones:
        assert sum(clone.memory[base + 8 * MiB : base + 40 * MiB : 1][::4096]) > 0
    assert cost(clones[0], "Rss") > 31 * MiB, "all of it is there"
    assert sum(cost(clone, "Pss") for clone in clones) < 33 * MiB, "once"
    assert sum(cost(clone, "Anonymous") for clone in clones) < MiB
    changed = base + 8 * MiB
    clones[3].memory[changed : changed + MiB] = bytes(MiB)
    assert MiB <= cost(clones[3], "Anonymous") < 2 * MiB


def test_what_has_changed_becomes_common(tmp_path: Path) -> None:
    """Clones of a machine that has changed much since the last share that, too."""
    machine = made(tmp_path, SPIN, "64M", clock="instructions")
    base = machine.board.memory[0].base
    snapshot = machine.snapshot()
    for value in (1, 2):
        machine.memory[base + 8 * MiB : base + 12 * MiB] = bytes([value]) * (4 * MiB)
        clones = [machine.fork() for _ in range(3)]
        for clone in clones:
            assert set(clone.memory[base + 8 * MiB : base + 12 * MiB]) == {value}
            assert cost(clone, "Anonymous") < MiB
    machine.restore(snapshot)
    assert not any(machine.memory[base + 8 * MiB : base + 12 * MiB])
    assert clones[0].memory[base + 8 * MiB] == 2


def test_a_host_that_does_not_tell_which_pages_changed(tmp_path: Path) -> None:
    """Without a descriptor for it, all pages are taken for changed."""
    for how in (contextlib.nullcontext, few_descriptors):
        machine = made(tmp_path, SPIN, "8M", clock="instructions")
        base = machine.board.memory[0].base
        snapshots = [machine.snapshot()]
        with how():
            for value in (1, 2):
                machine.memory[base + MiB : base + 2 * MiB] = bytes([value]) * MiB
                snapshots.append(machine.snapshot())
            for value in (1, 0, 2):
                machine.restore(snapshots[value])
                assert set(machine.memory[base + MiB : base + 2 * MiB]) == {value}


def test_a_host_without_room(tmp_path: Path) -> None:
    for lack in (small_files, few_descriptors):
        machine = made(tmp_path, SPIN, "8M", clock="instructions")
        with lack(), pytest.raises(rvvm.UserError, match="this host has no room to keep"):
            machine.snapshot()
        machine.run(until=rvvm.instructions(1000))
        assert machine.fork().instret == 1000


@contextlib.contextmanager
def limited(what: int, most: int) -> Iterator[None]:
    soft, hard = resource_limits.getrlimit(what)
    resource_limits.setrlimit(what, (most, hard))
    try:
        yield
    finally:
        resource_limits.setrlimit(what, (soft, hard))


def small_files() -> contextlib.AbstractContextManager[None]:
    return limited(resource_limits.RLIMIT_FSIZE, MiB)


def few_descriptors() -> contextlib.AbstractContextManager[None]:
    """Not for what has never run before: UBSan reads what it sees for the first time through a
    pipe, and reports a vptr that is not valid where it gets none."""
    return limited(resource_limits.RLIMIT_NOFILE, 3)


def test_what_nobody_can_come_back_to_is_freed(tmp_path: Path) -> None:
    machine = made(tmp_path, SPIN, "64M")
    base = machine.board.memory[0].base
    before = _all_pss()
    for round in range(1, 9):
        machine.memory[base + 8 * MiB : base + 40 * MiB] = bytes([round]) * (32 * MiB)
        snapshot = machine.snapshot()
        assert snapshot.memory.base_pages
        del snapshot
    assert _all_pss() - before < 100 * MiB


def _all_pss() -> int:
    rollup = Path("/proc/self/smaps_rollup").read_text().splitlines()
    (line,) = (line for line in rollup if line.startswith("Pss:"))
    return int(line.split()[1]) << 10


def test_one_that_crashes_or_spins_or_fills_its_disk_disturbs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RVVM_CACHE", str(tmp_path / "cache"))
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(MiB))
    spinning = made(tmp_path, SPIN, "4M")
    crashing = made(tmp_path, ".word 0\n", "4M")  # its handler is at 0: nothing but traps
    broken = made(tmp_path, elves.GREETING, "4M")
    full = made(tmp_path, SPIN, "4M", drive=disk)

    def fail(*_: object) -> None:
        raise RuntimeError("a device broke")

    broken.console.listeners.append(fail)
    block = full.board.host.cards[0].function

    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(block.disk, "write", no_room)
    done: list[str] = []

    def run(machine: rvvm.Machine) -> None:
        try:
            done.append(machine.run(until=rvvm.seconds(20)).reason)
        except RuntimeError as error:
            done.append(str(error))

    threads = [threading.Thread(target=run, args=[it]) for it in (spinning, crashing, broken, full)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        fine = rvvm.Machine(kernel=resource("firmware/hello.elf"), bios="none", memory="16M")
        assert fine.run(timeout=60).detail == 0
    assert "a device broke" in done and len(done) == 1
    for machine in (spinning, crashing, full):
        machine.pause()
    for thread in threads:
        thread.join()
    assert set(done) == {"a device broke", "pause"}
