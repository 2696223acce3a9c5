"""A driver for virtio devices, typed from the specification: it keeps rings in RAM of its own and
reaches the device through the registers of its slot, as a guest does."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Sequence

from devices.access import Guest
from rvvm.py.devices.virtio.function import Function
from rvvm.py.devices.virtio.mmio import VirtioMmio
from rvvm.py.devices.virtio.ram import Ram
from rvvm.py.tree import Region

BASE, SIZE = 0x8000_0000, 1 << 22
VERSION_1, RING_PACKED, INDIRECT, EVENT_IDX = 1 << 32, 1 << 34, 1 << 28, 1 << 29
ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, NEEDS_RESET = 1, 2, 4, 8, 64
F_NEXT, F_WRITE, F_INDIRECT = 1, 2, 4
F_AVAIL, F_USED = 1 << 7, 1 << 15

Buffers = Sequence[bytes | int]
"""Bytes for the device to read; or how many it may write."""


class System:
    """RAM, as devices and the driver see it."""

    def __init__(self) -> None:
        self.bytes = bytearray(SIZE)
        self.told: list[tuple[int, int]] = []
        self.discarded: list[tuple[int, int]] = []
        self._free = BASE + 0x1000

    def dma(self, address: int, size: int) -> memoryview:
        return memoryview(self.bytes)[address - BASE : address - BASE + size]

    def written(self, address: int, size: int) -> None:
        self.told.append((address, size))

    def discard(self, address: int, size: int) -> None:
        assert address % 4096 == size % 4096 == 0
        self.store(address, bytes(size))
        self.discarded.append((address, size))

    def take(self, size: int, alignment: int = 16) -> int:
        """Zeroed bytes nobody else has."""
        address = -(-self._free // alignment) * alignment
        self._free = address + size
        assert self._free <= BASE + SIZE
        self.store(address, bytes(size))
        return address

    def store(self, address: int, data: bytes) -> None:
        self.bytes[address - BASE : address - BASE + len(data)] = data

    def load(self, address: int, size: int) -> bytes:
        return bytes(self.bytes[address - BASE : address - BASE + size])

    def put(self, layout: str, address: int, *values: int) -> None:
        struct.pack_into("<" + layout, self.bytes, address - BASE, *values)

    def get(self, layout: str, address: int) -> tuple[int, ...]:
        return struct.unpack_from("<" + layout, self.bytes, address - BASE)


class Placed:
    """A request in RAM: address, size and whether the device writes, of each buffer."""

    def __init__(self, system: System, buffers: Buffers) -> None:
        self.system = system
        self.parts = []
        for buffer in buffers:
            size = buffer if isinstance(buffer, int) else len(buffer)
            address = system.take(max(size, 1), 1)
            if not isinstance(buffer, int):
                system.store(address, buffer)
            self.parts.append((address, size, isinstance(buffer, int)))

    def answer(self, written: int) -> bytes:
        """The first bytes of what the device could write."""
        pieces = [self.system.load(at, size) for at, size, writes in self.parts if writes]
        return b"".join(pieces)[:written]


class SplitDriver:
    """2.7: the driver's side."""

    def __init__(self, system: System, size: int) -> None:
        self.system, self.size = system, size
        self.table = system.take(16 * size)
        self.avail = system.take(6 + 2 * size)
        self.used = system.take(6 + 8 * size)
        self.free = list(range(size))
        self.chains: dict[int, list[int]] = {}
        self.index = self.seen = 0

    @property
    def places(self) -> tuple[int, int, int]:
        return self.table, self.avail, self.used

    def descriptor(self, index: int, address: int, size: int, flags: int, following: int) -> None:
        self.system.put("QIHH", self.table + 16 * index, address, size, flags, following)

    def add(self, placed: Placed, indirect: bool = False) -> int:
        """The id of the request, which the device can see from now on."""
        parts = placed.parts
        rows = [(at, size, F_WRITE * writes) for at, size, writes in parts]
        if indirect:
            table = self.system.take(16 * len(rows))
            for k, (at, size, flags) in enumerate(rows):
                last = k == len(rows) - 1
                self.system.put("QIHH", table + 16 * k, at, size, flags | (not last), k + 1)
            rows = [(table, 16 * len(rows), F_INDIRECT)]
        own = [self.free.pop() for _ in rows]
        for k, (at, size, flags) in enumerate(rows):
            last = k == len(rows) - 1
            self.descriptor(own[k], at, size, flags | (not last), 0 if last else own[k + 1])
        self.chains[own[0]] = own
        self.offer(own[0])
        return own[0]

    def offer(self, head: int) -> None:
        self.system.put("H", self.avail + 4 + 2 * (self.index % self.size), head)
        self.index = self.index + 1 & 0xFFFF
        self.system.put("H", self.avail + 2, self.index)

    def collect(self) -> list[tuple[int, int]]:
        """What the device has done: id and bytes written."""
        (index,) = self.system.get("H", self.used + 2)
        done = []
        while self.seen != index:
            done.append(self.system.get("II", self.used + 4 + 8 * (self.seen % self.size)))
            self.seen = self.seen + 1 & 0xFFFF
            self.free += self.chains.pop(done[-1][0])
        return done

    def no_interrupts(self) -> None:
        self.system.put("H", self.avail, 1)

    def interrupt_after(self, requests: int) -> None:
        """With EVENT_IDX: once so many more are done."""
        self.system.put("H", self.avail + 4 + 2 * self.size, self.seen + requests - 1 & 0xFFFF)

    def kick_wanted(self) -> bool:
        """With EVENT_IDX: whether the request just added is the one to tell of."""
        (event,) = self.system.get("H", self.used + 4 + 8 * self.size)
        return event == self.index - 1 & 0xFFFF


class PackedDriver:
    """2.8: the driver's side."""

    def __init__(self, system: System, size: int) -> None:
        self.system, self.size = system, size
        self.ring = system.take(16 * size)
        self.driver = system.take(4)
        self.device = system.take(4)
        self.next, self.wrap = 0, 1
        self.used, self.used_wrap = 0, 1
        self.ids = list(range(size))
        self.chains: dict[int, int] = {}

    @property
    def places(self) -> tuple[int, int, int]:
        return self.ring, self.driver, self.device

    def add(self, placed: Placed, indirect: bool = False) -> int:
        rows = [(at, size, F_WRITE * writes) for at, size, writes in placed.parts]
        if indirect:
            table = self.system.take(16 * len(rows))
            for k, (at, size, flags) in enumerate(rows):
                self.system.put("QIHH", table + 16 * k, at, size, 0, flags)
            rows = [(table, 16 * len(rows), F_INDIRECT)]
        identity = self.ids.pop()
        self.chains[identity] = len(rows)
        first = None
        for k, (at, size, flags) in enumerate(rows):
            flags |= F_AVAIL if self.wrap else F_USED
            flags |= F_NEXT if k < len(rows) - 1 else 0
            place = self.ring + 16 * self.next
            if first is None:
                first = (place + 14, flags)
                flags ^= F_AVAIL | F_USED  # not yet
            self.system.put("QIHH", place, at, size, identity, flags)
            self.next += 1
            if self.next == self.size:
                self.next, self.wrap = 0, 1 - self.wrap
        assert first is not None
        self.system.put("H", *first)
        return identity

    def collect(self) -> list[tuple[int, int]]:
        done = []
        while True:
            _, size, identity, flags = self.system.get("QIHH", self.ring + 16 * self.used)
            expected = F_AVAIL | F_USED if self.used_wrap else 0
            if flags & (F_AVAIL | F_USED) != expected or identity not in self.chains:
                return done
            done.append((identity, size))
            self.used += self.chains.pop(identity)
            self.ids.append(identity)
            if self.used >= self.size:
                self.used, self.used_wrap = self.used - self.size, 1 - self.used_wrap

    def no_interrupts(self) -> None:
        self.system.put("H", self.driver + 2, 1)

    def interrupt_after(self, requests: int) -> None:
        """With EVENT_IDX, when every request takes one place."""
        place, wrap = self.used + requests - 1, self.used_wrap
        if place >= self.size:
            place, wrap = place - self.size, 1 - wrap
        self.system.put("HH", self.driver, place | wrap << 15, 2)

    def kick_wanted(self) -> bool:
        """With EVENT_IDX, when every request takes one place."""
        event, flags = self.system.get("HH", self.device)
        before = (self.next - 1) % self.size
        wrap = self.wrap if self.next else 1 - self.wrap
        return flags == 2 and event == before | wrap << 15


class Bench:
    """A device in a slot, and the driver that has it."""

    def __init__(self, function: Function, system: System | None = None) -> None:
        self.system = system or System()
        self.reports: list[str] = []
        self.function = function
        self.slot = VirtioMmio(function)
        self.lock = threading.RLock()
        function.attach(Ram(self.system, [Region(BASE, SIZE)]), self.reports.append, self.lock)
        function.later = self.put_off
        self.deferred: list[Callable[[], None]] = []
        self.by_turns = False
        """What is put off waits for ``end_turn``; else it is done at once."""
        self.guest = Guest(self.slot)
        self.queues: list[SplitDriver | PackedDriver] = []

    def put_off(self, action: Callable[[], None]) -> None:
        """As the core: done when the hart has had its turn, which is soon."""
        self.deferred.append(action)
        if not self.by_turns and len(self.deferred) == 1:
            while self.end_turn():
                pass

    def end_turn(self) -> bool:
        """Whether something was put off again."""
        now = list(self.deferred)
        for action in now:
            action()
        del self.deferred[: len(now)]
        return bool(self.deferred)

    @property
    def status(self) -> int:
        return self.guest.load(0x70)

    @property
    def interrupt(self) -> bool:
        return self.slot.irq.level

    def offered(self) -> int:
        halves = []
        for half in range(2):
            self.guest.store(0x14, half)
            halves.append(self.guest.load(0x10))
        return halves[0] | halves[1] << 32

    def accept(self, features: int) -> None:
        for half in range(2):
            self.guest.store(0x24, half)
            self.guest.store(0x20, features >> 32 * half & 0xFFFF_FFFF)

    def negotiate(self, features: int) -> None:
        self.guest.store(0x70, 0)
        self.guest.store(0x70, ACKNOWLEDGE)
        self.guest.store(0x70, ACKNOWLEDGE | DRIVER)
        self.accept(features)
        self.guest.store(0x70, ACKNOWLEDGE | DRIVER | FEATURES_OK)

    def place(self, index: int, size: int, places: Sequence[int]) -> None:
        self.guest.store(0x30, index)
        self.guest.store(0x38, size)
        for register, address in zip((0x80, 0x90, 0xA0), places, strict=True):
            self.guest.store(register, address & 0xFFFF_FFFF)
            self.guest.store(register + 4, address >> 32)
        self.guest.store(0x44, 1)

    def start(self, features: int = 0, packed: bool = False, size: int = 16) -> Bench:
        """Everything up to DRIVER_OK (3.1.1)."""
        self.negotiate(features | VERSION_1 | (RING_PACKED if packed else 0))
        assert self.status == ACKNOWLEDGE | DRIVER | FEATURES_OK
        self.queues = []
        for index in range(len(self.function.queues)):
            ring = (PackedDriver if packed else SplitDriver)(self.system, size)
            self.place(index, size, ring.places)
            assert self.guest.load(0x44) == 1
            self.queues.append(ring)
        self.guest.store(0x70, self.status | DRIVER_OK)
        return self

    def kick(self, queue: int = 0) -> None:
        self.guest.store(0x50, queue)

    def acknowledge(self) -> int:
        why = self.guest.load(0x60)
        self.guest.store(0x64, why)
        return why

    def ask(self, buffers: Buffers, queue: int = 0, indirect: bool = False) -> bytes:
        """One request, to its end: what the device has written."""
        placed = Placed(self.system, buffers)
        identity = self.queues[queue].add(placed, indirect)
        self.kick(queue)
        ((done, written),) = self.queues[queue].collect()
        assert done == identity
        return placed.answer(written)

    @property
    def broken(self) -> str | None:
        """What stopped the device, if something did."""
        assert bool(self.status & NEEDS_RESET) == bool(self.reports)
        return self.reports[-1] if self.reports else None
