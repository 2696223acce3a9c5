"""Virtio over PCI, as a driver finds it: configuration space, capabilities, structures in the BAR
(section 4.1), and the interrupts of the host bridge."""

from __future__ import annotations

import random
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from board.fake_core import FakeSystem
from board.trees import CPU, MEMORY, VIRT
from board.trees import tree as make
from devices.virtio.driver import Placed, SplitDriver, System
from rvvm.py import fdt
from rvvm.py.board import Board
from rvvm.py.devices.pci.host import PciHost
from rvvm.py.devices.virtio.entropy import Entropy
from rvvm.py.devices.virtio.function import Function
from rvvm.py.devices.virtio.pci import VirtioPci
from rvvm.py.devices.virtio.queue import Queue
from rvvm.py.errors import UserError
from rvvm.py.host import Card, Host
from rvvm.py.register import Register

ECAM, WINDOW, PLIC = 0x3000_0000, 0x4000_0000, 0xC00_0000
COMMON_CFG, NOTIFY_CFG, ISR_CFG, DEVICE_CFG, PCI_CFG = 1, 2, 3, 4, 5
ONES = 0xFFFF_FFFF


class Upper(Function, kind=0x7D):
    """Answers in capital letters."""

    count = Register(0x0, width=8, access="r", reset=0x1_0000_0002)
    limit = Register(0x8, width=2)

    def __init__(self) -> None:
        super().__init__(queues=2)

    def serve(self, queue: Queue) -> None:
        for chain in queue:
            data = b"".join(chain.readable).upper()
            chain.writable[0][: len(data)] = data
            queue.push(chain, len(data))


class Slot:
    """A driver's view of one slot of the virt board."""

    def __init__(self, *functions: Function, number: int = 1) -> None:
        self.system = FakeSystem()
        self.told: list[str] = []
        cards = [Card(function, "pci") for function in functions]
        self.board = Board(fdt.load(VIRT), self.system, Host(cards=cards, report=self.told.append))
        self.load, self.store = self.system.load, self.system.store
        self.config = ECAM + (number << 15)
        self.ram = System()
        base = 0x8000_0000
        self.ram.bytes = self.system.ram[base, 0x4000_0000]

    @property
    def bridge(self) -> PciHost:
        bridge = self.board.devices["/soc/pci@30000000"]
        assert isinstance(bridge, PciHost)
        return bridge

    def map(self, address: int = WINDOW) -> int:
        self.store(self.config + 0x10, 4, address)
        self.store(self.config + 4, 2, 6)
        return address

    def capabilities(self) -> Iterator[tuple[int, int]]:
        """Type and place of each virtio capability."""
        at = self.load(self.config + 0x34, 1)
        while at:
            assert self.load(self.config + at, 1) == 9
            yield self.load(self.config + at + 3, 1), self.config + at
            at = self.load(self.config + at + 1, 1)

    def structure(self, kind: int) -> tuple[int, int]:
        """Offset in the BAR, and size."""
        at = dict(self.capabilities())[kind]
        assert self.load(at + 4, 1) == 0
        return self.load(at + 8, 4), self.load(at + 12, 4)

    def start(self, size: int = 16) -> SplitDriver:
        """Through to DRIVER_OK; the ring of queue 1."""
        common = self.map() + self.structure(COMMON_CFG)[0]
        for status in (0, 1, 3):
            self.store(common + 0x14, 1, status)
        self.store(common + 8, 4, 1)
        self.store(common + 0xC, 4, 1)
        self.store(common + 0x14, 1, 11)
        assert self.load(common + 0x14, 1) == 11
        self.store(common + 0x16, 2, 1)
        ring = SplitDriver(self.ram, size)
        self.store(common + 0x18, 2, size)
        for offset, address in zip((0x20, 0x28, 0x30), ring.places, strict=True):
            self.store(common + offset, 4, address & ONES)
            self.store(common + offset + 4, 4, address >> 32)
            assert self.load(common + offset, 8) == address
        self.store(common + 0x1C, 2, 1)
        self.store(common + 0x14, 1, 15)
        return ring

    def notify(self) -> int:
        """The place that queue 1 is kicked at."""
        common, at = WINDOW + self.structure(COMMON_CFG)[0], dict(self.capabilities())[NOTIFY_CFG]
        self.store(common + 0x16, 2, 1)
        offset, multiplier = self.load(common + 0x1E, 2), self.load(at + 16, 4)
        return WINDOW + self.structure(NOTIFY_CFG)[0] + offset * multiplier


def test_identity_and_empty_slots() -> None:
    slot = Slot(Upper(), Entropy())
    assert slot.load(slot.config, 4) == 0x10BD_1AF4
    assert slot.load(slot.config + 8, 1) >= 1 and slot.load(slot.config + 0x3D, 1) == 1
    assert slot.load(slot.config + 0xE, 1) == 0, "header type 0, one function"
    assert slot.load(ECAM + (2 << 15), 4) == 0x1044_1AF4
    for absent in (0, 3 << 15, 31 << 15, 1 << 20, (1 << 15) + (1 << 12), 255 << 20):
        assert slot.load(ECAM + absent, 4) == ONES and slot.load(ECAM + absent, 1) == 0xFF
        slot.store(ECAM + absent + 4, 2, 7)


def test_the_bar_says_its_size_and_moves() -> None:
    slot = Slot(Upper())
    slot.store(slot.config + 0x10, 4, ONES)
    assert slot.load(slot.config + 0x10, 4) == -0x4000 & ONES
    for offset in range(0x14, 0x28, 4):
        slot.store(slot.config + offset, 4, ONES)
        assert slot.load(slot.config + offset, 4) == 0, "the others are not there"
    slot.store(slot.config + 0x10, 4, WINDOW + 0x10_0000)
    assert slot.load(WINDOW + 0x10_0012, 2) == 0xFFFF, "memory accesses are not enabled"
    slot.store(slot.config + 4, 2, 2)
    assert slot.load(WINDOW + 0x10_0012, 2) == 2
    slot.map(WINDOW)
    assert slot.load(WINDOW + 0x10_0012, 2) == 0xFFFF and slot.load(WINDOW + 0x12, 2) == 2
    slot.store(slot.config + 4, 2, 0)
    assert slot.load(WINDOW + 0x12, 2) == 0xFFFF


def test_two_bars_in_one_place() -> None:
    slot = Slot(Upper(), Entropy())
    slot.map()
    slot.config += 1 << 15
    slot.map()
    assert slot.load(WINDOW + 0x12, 2) == 2, "the first has it"


def test_capabilities() -> None:
    """4.1.4: one of each, within the BAR, aligned, apart from each other."""
    slot = Slot(Upper())
    found = dict(slot.capabilities())
    assert sorted(found) == [1, 2, 3, 4, 5]
    assert slot.load(slot.config + 6, 2) & 0x10
    ranges = []
    for kind in (COMMON_CFG, NOTIFY_CFG, ISR_CFG, DEVICE_CFG):
        assert slot.load(found[kind] + 2, 1) >= (20 if kind == NOTIFY_CFG else 16)
        offset, size = slot.structure(kind)
        assert offset % 4 == 0 and offset + size <= 0x4000
        ranges.append(range(offset, offset + size))
    assert slot.structure(COMMON_CFG)[1] >= 0x38 and slot.structure(ISR_CFG)[1] >= 1
    ranges.sort(key=lambda r: r.start)
    assert all(a.stop <= b.start for a, b in zip(ranges, ranges[1:], strict=False))


def test_a_request_and_its_interrupt() -> None:
    slot = Slot(Upper())
    ring = slot.start()
    irq = 32 + 1  # slot 1, INTA
    slot.store(PLIC + 4 * irq, 4, 1)
    slot.store(PLIC + 0x2080 + 4, 4, 1 << irq - 32)
    placed = Placed(slot.ram, [b"hello", 9])
    ring.add(placed)
    slot.store(slot.notify(), 2, 1)
    ((_, written),) = ring.collect()
    assert placed.answer(written) == b"HELLO"
    assert slot.system.harts[0].interrupts == {9: True}
    assert slot.load(slot.config + 6, 2) & 8, "the status register says so too"
    isr = WINDOW + slot.structure(ISR_CFG)[0]
    assert slot.load(isr, 1) == 1 and slot.load(isr, 1) == 0, "reading acknowledges"
    assert not slot.load(slot.config + 6, 2) & 8
    assert slot.load(PLIC + 0x20_1004, 4) == irq
    slot.store(PLIC + 0x20_1004, 4, irq)
    assert slot.system.harts[0].interrupts == {9: False}


def test_interrupts_of_a_shared_wire() -> None:
    """Slots 1 and 5 have the same INTA; each can be switched off."""
    functions = [Upper() for _ in range(5)]
    slot = Slot(*functions)
    line = slot.bridge.lines[slot.bridge.routes[1]]
    assert slot.bridge.routes[1] == slot.bridge.routes[5] != slot.bridge.routes[2]
    functions[0].changed()
    functions[4].changed()
    assert line.level
    functions[0].acknowledge(3)
    assert line.level
    slot.store(ECAM + (5 << 15) + 4, 2, 0x400)
    assert not line.level
    slot.store(ECAM + (5 << 15) + 4, 2, 0)
    assert line.level
    functions[4].reset()
    assert not line.level


def test_the_common_configuration() -> None:
    slot = Slot(Upper())
    common = slot.map() + slot.structure(COMMON_CFG)[0]
    assert slot.load(common + 0x12, 2) == 2
    assert slot.load(common + 0x10, 2) == 0xFFFF, "no MSI-X"
    slot.store(common + 0x10, 2, 0)
    assert slot.load(common + 0x10, 2) == 0xFFFF
    slot.store(common, 4, 1)
    assert slot.load(common + 4, 4) == 0x105, "VERSION_1, RING_PACKED, RING_RESET"
    slot.store(common + 8, 4, 1)
    slot.store(common + 0xC, 4, 1)
    assert slot.load(common + 0xC, 4) == 1
    slot.store(common + 0x16, 2, 2)
    assert slot.load(common + 0x18, 2) == 0, "there is no queue 2"
    slot.store(common + 0x18, 2, 4)
    slot.store(common + 0x1C, 2, 1)
    slot.store(common + 0x20, 8, 0x1234)
    assert slot.load(common + 0x1C, 2) == 0 and slot.load(common + 0x20, 8) == 0
    before = slot.load(common + 0x15, 1)
    slot.bridge.slots[1].function.changed()  # type: ignore[attr-defined]
    assert slot.load(common + 0x15, 1) != before


def test_the_device_configuration() -> None:
    slot = Slot(Upper())
    config = slot.map() + slot.structure(DEVICE_CFG)[0]
    assert slot.load(config, 8) == 0x1_0000_0002 and slot.load(config + 4, 1) == 1
    slot.store(config + 8, 2, 0xABCD)
    assert slot.load(config + 8, 2) == 0xABCD


def test_access_through_the_capability() -> None:
    """4.1.4.9: for firmware that cannot map the BAR."""
    slot = Slot(Upper())
    at = dict(slot.capabilities())[PCI_CFG]
    for offset, length, value in ((0x12, 2, 2), (0x14, 1, 0), (0x2000, 4, 2)):
        slot.store(at + 8, 4, offset)
        slot.store(at + 12, 4, length)
        assert slot.load(at + 16, 4) == value
    slot.store(at + 8, 4, 0x2008)
    slot.store(at + 12, 4, 2)
    slot.store(at + 16, 4, 0xFFFF_1234)
    assert slot.load(at + 16, 4) == 0x1234
    for bar, offset, length in ((1, 0x12, 2), (0, 0x13, 2), (0, 0x12, 3), (0, 0x4000, 4)):
        slot.store(at + 4, 1, bar)
        slot.store(at + 8, 4, offset)
        slot.store(at + 12, 4, length)
        slot.store(at + 16, 4, ONES)
        assert slot.load(at + 16, 4) == 0


def test_a_device_that_stops_is_told_of() -> None:
    slot = Slot(Upper())
    ring = slot.start()
    ring.offer(99)
    slot.store(slot.notify(), 2, 1)
    assert slot.told == [
        "/soc/pci@30000000: upper: queue 1: descriptor 99 of a table of 16: "
        "stopped until it is reset"
    ]


def test_state_and_reset() -> None:
    slot, other = Slot(Upper()), Slot(Upper())
    fresh = slot.bridge.state()
    slot.start()
    slot.bridge.slots[1].function.changed()  # type: ignore[attr-defined]
    state = slot.bridge.state()
    assert state != fresh
    other.bridge.load_state(state)
    assert other.bridge.state() == state
    assert other.load(WINDOW + 0x14, 1) == 15, "the BAR is where it was"
    slot.board.reset()
    assert slot.bridge.state() == fresh and slot.load(WINDOW + 0x14, 1) == 0xFF


def test_the_bridge_as_the_tree_has_it(tmp_path: Path) -> None:
    bridge = """
        p: p@100 { compatible = "riscv,plic0"; reg = <0 0x100 0 0x100>; riscv,ndev = <50>;
            #interrupt-cells = <1>; #address-cells = <0>; interrupt-controller; };
        pci@10000000 { compatible = "pci-host-ecam-generic"; device_type = "pci";
            reg = <0 0x10000000 0 0x100000>; #address-cells = <3>; #size-cells = <2>;
            #interrupt-cells = <1>; RANGES
            interrupt-map-mask = <0 0 0 7>; interrupt-map = MAP; };
    """
    good = "<0 0 0 1 &p 7>"
    ranges = "ranges = <0x2000000 0 0x1000000 0 0x20000000 0 0x1000000>;"

    def board(ranges: str, rows: str) -> Board:
        text = CPU + MEMORY + bridge.replace("RANGES", ranges).replace("MAP", rows)
        return Board(make(tmp_path, text), FakeSystem(), Host(cards=[Card(Upper())]))

    made = board(ranges, good)
    made.system.store(0x1000_0000 + (1 << 15) + 0x10, 4, 0x100_4000)
    made.system.store(0x1000_0000 + (1 << 15) + 4, 2, 2)
    assert made.system.load(0x2000_4012, 2) == 2, "where the bus's addresses begin elsewhere"
    for wrong, says in (
        ((ranges, "<0 0 0 2 &p 7>"), "interrupt-map has no INTA of slot 0"),
        ((ranges, "<0 0 0 1 &p>"), "ends within the cells of /p@100"),
        ((ranges, "<0 0 0>"), "ends within a row"),
        ((ranges, "<0 0 0 1 99 1>"), "refers to phandle 0x63"),
        ((ranges.replace("0x2000000 ", "0x1000000 "), good), "has no 32-bit memory for the BARs"),
        (("", good), "has no ranges"),
    ):
        with pytest.raises(UserError, match=says):
            board(*wrong)


def test_the_bus_is_full() -> None:
    Slot(*(Upper() for _ in range(31)))
    with pytest.raises(UserError, match="no free virtio slot on pci for the device Upper"):
        Slot(*(Upper() for _ in range(32)))


def test_the_layout_of_a_capability() -> None:
    slot = Slot(Upper())
    at = dict(slot.capabilities())[COMMON_CFG]
    raw = b"".join(struct.pack("<I", slot.load(at + 4 * k, 4)) for k in range(4))
    vendor, _, length, kind, bar, identity, offset, size = struct.unpack("<BBBBBBxxII", raw)
    assert (vendor, length >= 16, kind, bar, identity) == (9, True, 1, 0, 0)
    assert (offset, size) == slot.structure(COMMON_CFG)


def test_the_function_is_shown() -> None:
    slot = Slot(Upper())
    (function,) = slot.bridge.slots.values()
    assert isinstance(function, VirtioPci)
    assert any(line.startswith("slot 1: <VirtioPci: command") for line in slot.bridge.show())


@pytest.mark.parametrize("seed", range(3))
def test_random_accesses(seed: int) -> None:
    """Configuration space and BARs: nothing raises, nothing answers what does not fit."""
    rng = random.Random(seed)
    slot = Slot(Upper(), Entropy())
    slot.start()
    for _ in range(6000):
        width = rng.choice((1, 2, 4, 8))
        place = rng.choice((ECAM + (rng.randrange(1, 3) << 15), WINDOW, WINDOW + 0x1000))
        address = place + rng.choice((rng.randrange(0x100), rng.randrange(0x4000)))
        if rng.random() < 0.5:
            assert 0 <= slot.load(address, width) < 1 << 8 * width
        else:
            value = rng.choice((0, 1, 4, 15, WINDOW, rng.getrandbits(8 * width)))
            slot.store(address, width, value & (1 << 8 * width) - 1)
    state = slot.bridge.state()
    slot.bridge.load_state(state)
    assert slot.bridge.state() == state
    slot.board.reset()
    assert slot.bridge.state() == Slot(Upper(), Entropy()).bridge.state()


def test_a_queue_is_reset_alone() -> None:
    slot = Slot(Upper())
    slot.start()
    common = WINDOW + slot.structure(COMMON_CFG)[0]
    slot.store(common + 0x16, 2, 1)
    slot.store(common + 0x3A, 2, 1)
    assert slot.load(common + 0x1C, 2) == 1, "it was not agreed upon"
    slot.bridge.slots[1].function.accepted |= 1 << 40  # type: ignore[attr-defined]
    slot.store(common + 0x3A, 2, 1)
    assert slot.load(common + 0x3A, 2) == 0 and slot.load(common + 0x1C, 2) == 0
    assert slot.load(common + 0x18, 2) == 256 and slot.load(common + 0x20, 8) == 0
    assert slot.structure(COMMON_CFG)[1] >= 0x3C


def test_a_bar_that_moves_does_not_hide_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Harts look at the map of the window without the lock, at any moment of its making."""
    functions = [VirtioPci(Entropy()), VirtioPci(Entropy())]
    bridge = PciHost(functions)
    lock = threading.RLock()
    (_, write), (load, _) = bridge.window().locked(lock), bridge.bars.locked(lock)
    for number, base in enumerate((0x1_0000, 0x2_0000), 1):
        write(number << 15 | 0x10, 4, base)
        write(number << 15 | 0x04, 2, 2)
    seen: list[int] = []
    looks = VirtioPci.base.fget  # type: ignore[attr-defined]

    def base_of(function: VirtioPci) -> int | None:
        seen.append(load(0x1_0012, 2))  # num_queues, of the one that stays
        return looks(function)  # type: ignore[no-any-return]

    monkeypatch.setattr(VirtioPci, "base", property(base_of))
    write(2 << 15 | 0x10, 4, 0x3_0000)
    assert seen == [1, 1] and load(0x3_0012, 2) == 1 and load(0x2_0012, 2) == 0xFFFF
