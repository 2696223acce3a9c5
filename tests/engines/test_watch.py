"""A file of the host's that can be read is told of from within a run, whatever the guest does."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import rvvm
from asm import assemble
from machine import elves

SPIN, WAIT = "spin: j spin", "wait: wfi\n j wait"
PROGRAMS = pytest.mark.parametrize("code", [SPIN, WAIT], ids=["spin", "wait"])


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def machine(folder: Path, code: str, **options: object) -> rvvm.Machine:
    path = folder / "program.elf"
    path.write_bytes(elves.elf(assemble(code).code))
    return rvvm.Machine(kernel=path, bios="none", memory="16M", **options)


def soon(action: Callable[[], object]) -> None:
    """Once the machine runs."""
    threading.Timer(0.1, action).start()


@PROGRAMS
@pytest.mark.parametrize("harts", [1, 2])
@pytest.mark.parametrize("accel", ["interp", "auto"])
@pytest.mark.parametrize("clock", ["host", "instructions"])
def test_in_a_run(
    tmp_path: Path, pipe: tuple[int, int], code: str, harts: int, accel: str, clock: str
) -> None:
    it = machine(tmp_path, code, harts=harts, accel=accel, clock=clock)
    got: list[bytes] = []

    def arrived() -> None:
        got.append(os.read(pipe[0], 1))
        it.pause()

    for byte in (b"a", b"b"):
        it.system.watch(pipe[0], arrived)
        soon(lambda byte=byte: os.write(pipe[1], byte))  # type: ignore[misc]
        began = time.monotonic()
        it.run(until=rvvm.seconds(60))
        assert got.pop() == byte and time.monotonic() - began < 30


@PROGRAMS
def test_once(tmp_path: Path, pipe: tuple[int, int], code: str) -> None:
    it = machine(tmp_path, code)
    told: list[int] = []
    os.write(pipe[1], b"a")
    it.system.watch(pipe[0], lambda: told.append(1))
    it.system.watch(pipe[0], lambda: told.append(2))
    assert told == []
    it.run(until=rvvm.seconds(0.1))
    assert told == [2], "the last that was asked for"


def test_the_end_is_told_too(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    it = machine(tmp_path, WAIT)
    it.system.watch(reading, it.pause)
    soon(lambda: os.close(writing))
    assert it.run(until=rvvm.seconds(60)).reason == "pause"
    os.close(reading)


@PROGRAMS
@pytest.mark.parametrize("harts", [1, 2])
def test_from_another_thread(tmp_path: Path, pipe: tuple[int, int], code: str, harts: int) -> None:
    it = machine(tmp_path, code, harts=harts)
    os.write(pipe[1], b"a")
    soon(lambda: it.system.watch(pipe[0], it.pause))
    assert it.run(until=rvvm.seconds(60)).reason == "pause"


@PROGRAMS
@pytest.mark.parametrize("harts", [1, 2])
def test_an_error_ends_the_run(
    tmp_path: Path, pipe: tuple[int, int], code: str, harts: int
) -> None:
    it = machine(tmp_path, code, harts=harts)
    os.write(pipe[1], b"a")
    it.system.watch(pipe[0], lambda: 1 / 0)  # type: ignore[arg-type,return-value]
    with pytest.raises(ZeroDivisionError):
        it.run(until=rvvm.seconds(60))


def test_an_error_elsewhere_does_not_lose_it(tmp_path: Path, pipe: tuple[int, int]) -> None:
    it = machine(tmp_path, WAIT)
    os.write(pipe[1], b"a")
    copies, told = [os.dup(pipe[0]) for _ in range(3)], []
    for copy in copies:
        it.system.watch(copy, lambda: told.append(1) or 1 / len(told[1:]))  # type: ignore[arg-type,func-returns-value,return-value]
    with pytest.raises(ZeroDivisionError):
        it.run(until=rvvm.seconds(60))
    assert len(told) == 3
    it.run(until=rvvm.seconds(0.1))
    assert len(told) == 3
    for copy in copies:
        os.close(copy)
