"""The registers of a slot, and the initialisation through them (sections 3.1.1 and 4.2)."""

from __future__ import annotations

import random

from devices.access import Guest
from devices.virtio.driver import (
    ACKNOWLEDGE,
    DRIVER,
    DRIVER_OK,
    FEATURES_OK,
    NEEDS_RESET,
    VERSION_1,
    Bench,
)
from rvvm.py.devices.virtio.entropy import Entropy
from rvvm.py.devices.virtio.function import Function
from rvvm.py.devices.virtio.mmio import VirtioMmio
from rvvm.py.register import Register


class Counting(Function, kind=0x7E):
    """A device whose configuration somebody turns."""

    count = Register(0x0, width=8, access="r")
    limit = Register(0x8, width=2, writable=0x0FFF)

    def __init__(self) -> None:
        super().__init__(queues=1, features=1 << 3 | 1 << 40)


def test_identification() -> None:
    guest = Guest(VirtioMmio(Entropy()))
    assert [guest.load(offset) for offset in (0, 4, 8)] == [0x7472_6976, 2, 4]
    empty = Guest(VirtioMmio())
    assert [empty.load(offset) for offset in (0, 4, 8)] == [0x7472_6976, 2, 0]
    assert empty.load(0x34) == 0 and empty.load(0x70) == 0
    assert empty.load(0x100) == 0


def test_features_are_settled_once() -> None:
    it = Bench(Counting())
    assert it.offered() == 1 << 3 | 1 << 40 | 0x5 << 32 | 0x3 << 28
    it.guest.store(0x14, 2)
    assert it.guest.load(0x10) == 0
    it.negotiate(VERSION_1 | 1 << 3)
    assert it.status == ACKNOWLEDGE | DRIVER | FEATURES_OK
    it.accept(VERSION_1 | 1 << 40)
    assert it.function.has(1 << 3) and not it.function.has(1 << 40), "too late"


def test_features_that_are_not_offered() -> None:
    """They are left out, as on QEMU; what a driver for such a feature then finds is its affair."""
    it = Bench(Counting())
    for features in (0, 1 << 3, VERSION_1 | 1 << 5, VERSION_1 | 1 << 63):
        it.negotiate(features)
        assert it.status == ACKNOWLEDGE | DRIVER | FEATURES_OK
        assert it.function.accepted == features & it.function.features
        it.place(0, 16, [0x8000_1000, 0x8000_2000, 0x8000_3000])
        assert it.guest.load(0x44) == 1
    assert it.broken is None


def test_configuration() -> None:
    it = Bench(Counting()).start()
    before = it.guest.load(0xFC)
    it.function.count = 0x1_0000_0005  # type: ignore[attr-defined]
    it.function.changed()
    assert it.guest.load(0xFC) != before
    assert it.interrupt and it.acknowledge() == 2 and not it.interrupt
    assert [it.guest.load(offset) for offset in (0x100, 0x104)] == [5, 1]
    assert it.guest.load(0x100, 8) == 0x1_0000_0005 and it.guest.load(0x104, 1) == 1
    it.guest.store(0x108, 0xFFFF, 2)
    assert it.guest.load(0x108, 2) == 0x0FFF
    it.guest.store(0x100, 7)
    assert it.guest.load(0x100) == 5, "read-only"


def test_reset_takes_everything_back() -> None:
    it = Bench(Counting())
    fresh = it.slot.state()
    it.start()
    it.function.changed()
    it.guest.store(0x70, 0)
    assert it.status == 0 and not it.interrupt and it.guest.load(0x44) == 0
    it.guest.store(0x14, 0)
    it.guest.store(0x24, 0)
    assert it.slot.state() == fresh
    assert it.start().status & DRIVER_OK


def test_a_queue_in_use_keeps_its_place() -> None:
    it = Bench(Counting()).start()
    before = it.function.queues[0].state()
    it.guest.store(0x38, 4)
    it.guest.store(0x80, 0x1234)
    it.guest.store(0x44, 1)
    assert it.function.queues[0].state() == before
    it.guest.store(0x44, 0)
    assert it.guest.load(0x44) == 0


def test_queues_that_do_not_exist() -> None:
    it = Bench(Counting()).start()
    it.guest.store(0x30, 1)
    assert it.guest.load(0x34) == 0 and it.guest.load(0x44) == 0
    it.guest.store(0x44, 1)
    it.kick(1)
    it.kick(0xFFFF_FFFF)
    assert it.broken is None


def test_needs_reset_stays_until_reset() -> None:
    it = Bench(Counting()).start()
    it.function.fail("somebody trips over the cable")
    assert it.status & NEEDS_RESET
    it.guest.store(0x70, it.status & ~NEEDS_RESET)
    assert it.status & NEEDS_RESET
    assert it.reports == ["counting: somebody trips over the cable: stopped until it is reset"]
    it.guest.store(0x70, 0)
    assert it.status == 0


def test_entropy() -> None:
    it = Bench(Entropy(random.Random(1).randbytes)).start()
    expected = random.Random(1)
    assert it.ask([5, 7]) == expected.randbytes(5) + expected.randbytes(7)
    assert len(it.ask([1 << 16, 16])) == 1 << 16, "no more at once"
    assert it.ask([b"odd"]) == b""


def test_random_bytes_are_random() -> None:
    it = Bench(Entropy()).start()
    assert it.ask([32]) != it.ask([32])
