"""Drivers with habits from before version 1.0, on both transports: they find what QEMU gives them.

Teaching kernels compare the vendor with QEMU's, accept the low half of the features alone, and
make their queues before FEATURES_OK, or never set that. Section 3.1 forbids the driver all of this,
and lets the device refuse only some.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from devices.access import Guest
from devices.virtio.driver import (
    ACKNOWLEDGE,
    BASE,
    DRIVER,
    DRIVER_OK,
    EVENT_IDX,
    FEATURES_OK,
    SIZE,
    VERSION_1,
    Bench,
    Placed,
    SplitDriver,
    System,
)
from devices.virtio.test_network import Wire
from rvvm.py.devices.virtio.block import Block
from rvvm.py.devices.virtio.entropy import Entropy
from rvvm.py.devices.virtio.function import Function
from rvvm.py.devices.virtio.mmio import VirtioMmio
from rvvm.py.devices.virtio.network import Network
from rvvm.py.devices.virtio.pci import VirtioPci
from rvvm.py.devices.virtio.ram import Ram
from rvvm.py.disk import open_disk
from rvvm.py.register import Window
from rvvm.py.tree import Region

BEGUN = ACKNOWLEDGE | DRIVER


class OverMmio:
    """The registers of 4.2.2."""

    def __init__(self, function: Function) -> None:
        self.guest = Guest(VirtioMmio(function))

    def status(self, value: int) -> int:
        self.guest.store(0x70, value)
        return self.guest.load(0x70)

    def accept_low(self, features: int) -> None:
        """And never look at the high half."""
        self.guest.store(0x20, features)

    def queue(self, index: int, size: int, places: tuple[int, int, int]) -> None:
        self.guest.store(0x30, index)
        self.guest.store(0x38, size)
        for register, address in zip((0x80, 0x90, 0xA0), places, strict=True):
            self.guest.store(register, address & 0xFFFF_FFFF)
            self.guest.store(register + 4, address >> 32)
        self.guest.store(0x44, 1)
        assert self.guest.load(0x44) == 1

    def kick(self, index: int) -> None:
        self.guest.store(0x50, index)


class OverPci:
    """The structures of 4.1.4, at the places that the capabilities name."""

    def __init__(self, function: Function) -> None:
        self.load, self._store = Window(VirtioPci(function).bar_places()).locked(function.lock)

    def store(self, offset: int, width: int, value: int) -> None:
        self._store(offset, width, value)

    def status(self, value: int) -> int:
        self.store(0x14, 1, value)
        return self.load(0x14, 1)

    def accept_low(self, features: int) -> None:
        self.store(0x08, 4, 0)
        self.store(0x0C, 4, features)

    def queue(self, index: int, size: int, places: tuple[int, int, int]) -> None:
        self.store(0x16, 2, index)
        self.store(0x18, 2, size)
        for offset, address in zip((0x20, 0x28, 0x30), places, strict=True):
            self.store(offset, 8, address)
        self.store(0x1C, 2, 1)
        assert self.load(0x1C, 2) == 1

    def kick(self, index: int) -> None:
        self.store(0x3000 + 4 * index, 2, index)


class Machine:
    """A device, a transport and RAM."""

    def __init__(self, function: Function, transport: type[OverMmio | OverPci]) -> None:
        self.system, self.reports = System(), list[str]()
        self.function = function
        self.transport = transport(function)
        function.attach(Ram(self.system, [Region(BASE, SIZE)]), self.reports.append, function.lock)
        self.rings: list[SplitDriver] = []

    def queues(self) -> None:
        for index in range(len(self.function.queues)):
            self.rings.append(SplitDriver(self.system, 8))
            self.transport.queue(index, 8, self.rings[-1].places)

    def ask(self, *buffers: bytes | int, queue: int = 0) -> bytes:
        placed = Placed(self.system, buffers)
        self.rings[queue].add(placed)
        self.transport.kick(queue)
        ((_, written),) = self.rings[queue].collect()
        return placed.answer(written)


def xv6(it: Machine, features: int) -> None:
    """The low half of the features, FEATURES_OK, queues."""
    assert it.transport.status(BEGUN) == BEGUN
    it.transport.accept_low(features)
    assert it.transport.status(BEGUN | FEATURES_OK) == BEGUN | FEATURES_OK
    it.queues()
    it.transport.status(BEGUN | FEATURES_OK | DRIVER_OK)


def early_queues(it: Machine, features: int) -> None:
    """Queues first, then features."""
    it.transport.status(BEGUN)
    it.queues()
    it.transport.accept_low(features)
    it.transport.status(BEGUN | FEATURES_OK)
    it.transport.status(BEGUN | FEATURES_OK | DRIVER_OK)


def no_features_ok(it: Machine, features: int) -> None:
    """As before version 1.0: acknowledge, features, queues, ready."""
    it.transport.status(BEGUN)
    it.transport.accept_low(features)
    it.queues()
    it.transport.status(BEGUN | DRIVER_OK)


def all_at_once(it: Machine, features: int) -> None:
    it.queues()
    it.transport.accept_low(features)
    it.transport.status(BEGUN | FEATURES_OK | DRIVER_OK)


def a_disk(path: Path) -> Block:
    path.write_bytes(random.Random(1).randbytes(1 << 16))
    return Block(open_disk(path))


HABITS = [xv6, early_queues, no_features_ok, all_at_once]
TRANSPORTS = pytest.mark.parametrize("transport", [OverMmio, OverPci])
Habit = Callable[[Machine, int], None]


@TRANSPORTS
@pytest.mark.parametrize("habit", HABITS)
@pytest.mark.parametrize("features", [0, 1 << 6, 0xFFFF_FFFF & ~(1 << 29)], ids=hex)
def test_a_disk_is_read(
    transport: type[OverMmio | OverPci], habit: Habit, features: int, tmp_path: Path
) -> None:
    it = Machine(a_disk(tmp_path / "disk"), transport)
    habit(it, features)
    assert not it.function.has(VERSION_1)
    assert not it.function.accepted & ~it.function.features, "what is not offered is left out"
    for sector in range(20):  # round the ring, and again
        answer = it.ask(struct.pack("<IIQ", 0, 0, sector), 512, 1)
        assert answer == random.Random(1).randbytes(1 << 16)[512 * sector :][:512] + b"\0"
    assert not it.reports


@TRANSPORTS
def test_a_disk_is_read_before_driver_ok(
    transport: type[OverMmio | OverPci], tmp_path: Path
) -> None:
    it = Machine(a_disk(tmp_path / "disk"), transport)
    it.transport.status(BEGUN)
    it.queues()
    assert it.ask(struct.pack("<IIQ", 0, 0, 0), 512, 1)[-1:] == b"\0"
    it.transport.accept_low(0)
    it.transport.status(BEGUN | FEATURES_OK)
    it.transport.status(BEGUN | FEATURES_OK | DRIVER_OK)
    assert it.ask(struct.pack("<IIQ", 0, 0, 1), 512, 1)[-1:] == b"\0"
    assert not it.reports


@TRANSPORTS
@pytest.mark.parametrize("early", [False, True])
def test_notices_follow_the_features_that_count(
    transport: type[OverMmio | OverPci], early: bool
) -> None:
    """EVENT_IDX is kept also by a queue that was made before it was accepted."""
    it = Machine(Entropy(random.Random(1).randbytes), transport)
    (early_queues if early else xv6)(it, EVENT_IDX)
    assert it.function.has(EVENT_IDX)
    it.ask(4)
    it.rings[0].add(Placed(it.system, [4]))
    assert it.rings[0].kick_wanted()


def test_features_without_features_ok_count_over_pci_alone() -> None:
    """As on QEMU, where the registers of MMIO are looked at with FEATURES_OK."""
    for transport, counts in ((OverMmio, False), (OverPci, True)):
        it = Machine(Entropy(), transport)
        no_features_ok(it, EVENT_IDX)
        assert it.function.has(EVENT_IDX) is counts
        assert len(it.ask(4)) == 4


@TRANSPORTS
@pytest.mark.parametrize("habit", HABITS)
@pytest.mark.parametrize("headers", [False, True])
def test_frames_have_the_shorter_header(
    transport: type[OverMmio | OverPci], habit: Habit, headers: bool
) -> None:
    """5.1.6.1: without VERSION_1 and MRG_RXBUF there is no num_buffers."""
    wire = Wire(headers)
    it = Machine(Network(wire, bytes(6)), transport)
    habit(it, 0)
    given = Placed(it.system, [10, 100])
    it.rings[0].add(given)
    it.transport.kick(0)
    it.ask(bytes(10), b"x" * 60, queue=1)
    assert wire.sent == [bytes(12 if headers else 0) + b"x" * 60]
    wire.bring(bytes(12 if headers else 0) + b"y" * 60)
    ((_, written),) = it.rings[0].collect()
    assert given.answer(written) == bytes(10) + b"y" * 60
    assert not it.reports


def test_the_vendor_is_the_one_that_drivers_look_for() -> None:
    for slot in (VirtioMmio(), VirtioMmio(Entropy())):
        assert Guest(slot).load(0x0C) == 0x554D_4551


def test_a_reset_forgets_the_features() -> None:
    it = Bench(Entropy()).start(EVENT_IDX)
    it.guest.store(0x70, 0)
    it.guest.store(0x70, BEGUN | FEATURES_OK)
    assert not it.function.accepted


def test_a_moment_between_features_and_features_ok() -> None:
    """A saved machine keeps what a driver has written so far."""
    it, other = Bench(Entropy()), Bench(Entropy())
    it.guest.store(0x70, BEGUN)
    it.accept(VERSION_1 | EVENT_IDX)
    other.slot.load_state(it.slot.state())
    other.guest.store(0x70, BEGUN | FEATURES_OK)
    assert other.function.accepted == VERSION_1 | EVENT_IDX
