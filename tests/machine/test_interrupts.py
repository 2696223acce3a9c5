"""Signals whose handlers raise, while a machine runs: nothing of it is half done."""

from __future__ import annotations

import _thread
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import rvvm
from machine import elves

SECTOR, SECTORS = 512, 64

# A driver of virtio-blk that writes one sector after the other, each with its number, and waits.
WRITER = """
    li      s0, 0x10001000      # the first virtio-mmio slot
    li      s1, 0x80010000      # descriptors, then by pages: driver area, device area, header, data
    sw      zero, 0x70(s0)      # status: reset, ACKNOWLEDGE, DRIVER
    li      t0, 3
    sw      t0, 0x70(s0)
    li      t0, 1               # VERSION_1 alone
    sw      t0, 0x24(s0)
    sw      t0, 0x20(s0)
    li      t0, 11              # FEATURES_OK
    sw      t0, 0x70(s0)
    sw      zero, 0x30(s0)      # queue 0, of 4 descriptors
    li      t0, 4
    sw      t0, 0x38(s0)
    sw      s1, 0x80(s0)
    li      s2, 0x80011000
    sw      s2, 0x90(s0)
    li      s3, 0x80012000
    sw      s3, 0xa0(s0)
    sh      zero, 2(s2)         # RAM keeps what it had before a reset
    sh      zero, 2(s3)
    li      t0, 1
    sw      t0, 0x44(s0)        # ready
    li      t0, 15              # DRIVER_OK
    sw      t0, 0x70(s0)
    li      s4, 0x80013000      # header, and the status behind it
    li      s5, 0x80014000      # data
    sd      s4, 0(s1)
    li      t0, 16
    sw      t0, 8(s1)
    li      t0, 0x10001         # next: 1
    sw      t0, 12(s1)
    sd      s5, 16(s1)
    li      t0, 512
    sw      t0, 24(s1)
    li      t0, 0x20001         # next: 2
    sw      t0, 28(s1)
    addi    t0, s4, 16
    sd      t0, 32(s1)
    li      t0, 1
    sw      t0, 40(s1)
    li      t0, 2               # writable
    sw      t0, 44(s1)
    li      t0, 1               # OUT
    sw      t0, 0(s4)
    li      s6, 0               # requests that are done
again:
    andi    t0, s6, 63
    sd      t0, 8(s4)           # the sector
    sd      s6, 0(s5)
    li      t0, 0xff
    sb      t0, 16(s4)
    addi    s6, s6, 1
    sh      s6, 2(s2)           # a request, always descriptor 0
    fence   rw, rw
    sw      zero, 0x50(s0)
wait:
    lhu     t0, 2(s3)
    slli    t1, s6, 48
    srli    t1, t1, 48
    bne     t0, t1, wait
    lbu     t0, 16(s4)
    bnez    t0, failed
    li      t0, 0x10000000      # a byte a request
    li      t1, 0x2e
    sb      t1, 0(t0)
    j       again
failed:
    li      t0, 0x100000
    li      t1, 0x13333
    sw      t1, 0(t0)
    j       failed
"""


class Alarmed(Exception):
    """What a handler raises."""


def ring(number: int, frame: object) -> None:
    raise Alarmed


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """In the background of a shell SIGINT is ignored, and that is inherited."""
    numbers = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGALRM: ring,
        signal.SIGTERM: ring,
    }
    before = {number: signal.signal(number, handler) for number, handler in numbers.items()}
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def machine(tmp_path: Path, accel: str) -> Iterator[rvvm.Machine]:
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(SECTOR * SECTORS))
    kernel = elves.write(tmp_path / "writer.elf", WRITER)
    options: dict[str, Any] = {"bios": "none", "kernel": kernel, "accel": accel, "memory": "32M"}
    with rvvm.Machine(drive=f"{disk},bus=mmio", **options) as made:
        yield made


@pytest.fixture(params=["auto", "interp"])
def accel(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def disk_of(machine: rvvm.Machine) -> Any:
    return machine.board.host.cards[0].function.disk  # type: ignore[attr-defined]


def requests(machine: rvvm.Machine) -> int:
    return len(machine.console.unread())


def goes_on(machine: rvvm.Machine, count: int = 100) -> None:
    """So many more requests are done; what the last ones wrote is on the disk."""
    wanted = max(requests(machine), SECTORS) + count
    while requests(machine) < wanted:
        machine.run(until=rvvm.text("."), timeout=60)
    data = memoryview(bytearray(SECTOR * SECTORS))
    disk_of(machine).read([data], 0)
    written = sorted(int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 512))
    done = requests(machine)
    assert written[:-1] == list(range(written[0], written[0] + SECTORS - 1))
    assert done - 1 <= written[-1] <= done, "one may be under way"


RAISES: Sequence[tuple[Callable[[], None], type[BaseException]]] = [
    (lambda: signal.raise_signal(signal.SIGINT), KeyboardInterrupt),
    (_thread.interrupt_main, KeyboardInterrupt),
    (lambda: signal.raise_signal(signal.SIGALRM), Alarmed),
    (lambda: os.kill(os.getpid(), signal.SIGTERM), Alarmed),
]


@pytest.mark.parametrize(("interrupt", "error"), RAISES)
def test_a_signal_within_a_request(
    machine: rvvm.Machine, interrupt: Callable[[], None], error: type[BaseException]
) -> None:
    """The request is done all the same, and the run raises what the handler has raised."""
    disk, wanted = disk_of(machine), False
    write = disk.write

    def interrupted(views: Sequence[memoryview], offset: int) -> None:
        nonlocal wanted
        if wanted and requests(machine) % 5 == 4:
            wanted = False
            interrupt()
            for _ in range(100):  # where Python looks for signals
                pass
        write(views, offset)

    disk.write = interrupted
    for _ in range(3):
        wanted = True
        with pytest.raises(error):
            machine.run(timeout=60)
        assert not wanted
    goes_on(machine)


def test_a_signal_within_what_is_put_off_or_watched(tmp_path: Path) -> None:
    """``defer`` and ``watch``: each is called to its end, and so are those behind it."""
    system = rvvm.Machine(bios="none", kernel=elves.write(tmp_path / "spin.elf", elves.SPIN)).system
    ready, tell = os.pipe()
    done: list[str] = []

    def put_off(name: str) -> None:
        signal.raise_signal(signal.SIGINT)
        done.append(name)

    def arrived() -> None:
        os.read(ready, 1)
        put_off("watched")

    for name in ("first", "second"):
        system.defer(lambda name=name: put_off(name))
    system.watch(ready, arrived)
    os.write(tell, b"x")
    with pytest.raises(KeyboardInterrupt):
        system.run()
    assert done == ["first", "second", "watched"]
    os.close(ready)
    os.close(tell)


@pytest.mark.parametrize("accel", ["auto"])
def test_signals_at_any_moment(machine: rvvm.Machine) -> None:
    moments = random.Random(11)
    for _ in range(200):
        with pytest.raises(Alarmed):
            signal.setitimer(signal.ITIMER_REAL, moments.uniform(0.0002, 0.004))
            while True:
                machine.run(until=rvvm.text("."), timeout=60)
    goes_on(machine)


@pytest.mark.parametrize("accel", ["auto"])
def test_handlers_are_back_and_may_change(machine: rvvm.Machine) -> None:
    """A handler sees the handlers as they are without a machine, and may set others."""
    seen: list[object] = []

    def usual(number: int, frame: object) -> None:
        seen.append(signal.getsignal(signal.SIGTERM))
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        machine.pause()

    signal.signal(signal.SIGTERM, usual)
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
    assert machine.run(timeout=60).reason == "pause"
    assert seen == [usual] and signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGALRM) is ring


@pytest.mark.parametrize("accel", ["auto"])
def test_a_reset_is_done_to_its_end(machine: rvvm.Machine) -> None:
    first = {path: device.state() for path, device in machine.board.devices.items()}
    goes_on(machine)
    system_reset = machine.board.reset

    def reset() -> None:
        signal.raise_signal(signal.SIGINT)
        system_reset()

    machine.board.reset = reset  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        machine.reset()
    assert {path: device.state() for path, device in machine.board.devices.items()} == first
    assert machine.instret == 0 and machine.harts[0].pc == elves.RAM
    machine.run(until=rvvm.text("."), timeout=60)


def test_a_device_of_python_that_fails_loses_no_request(tmp_path: Path) -> None:
    """While an error waits for the end of the run, other harts' accesses are done."""
    source = """
    csrr    a0, mhartid
    li      t0, 0x3000000
    li      s1, 0
next:
    addi    s1, s1, 1
    sd      s1, (t0)
    j       next
    """
    kernel = elves.write(tmp_path / "stores.elf", source)
    machine = rvvm.Machine(bios="none", kernel=kernel, harts=4, memory="32M")
    last = [0] * 4
    errors = 0

    def store(offset: int, width: int, value: int) -> None:
        nonlocal errors
        hart = max(range(4), key=lambda index: last[index] == value - 1)
        assert last[hart] == value - 1, "a store was lost"
        last[hart] = value
        if value % 50 == 0:
            errors += 1
            raise ZeroDivisionError

    machine.system.add_device("python", 0x3000000, 0x1000, lambda *_: 0, store)
    for _ in range(20):
        with pytest.raises(ZeroDivisionError):
            machine.run(timeout=60)
    assert errors >= 20
