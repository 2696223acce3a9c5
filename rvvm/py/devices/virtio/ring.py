"""What split and packed rings share: requests, as chains of buffers, and how notices are saved."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable
from typing import Protocol

from rvvm.py.devices.virtio.ram import ProtocolError, Ram

DESCRIPTOR_SIZE = 16
MAX_CHAIN = 1024
"""Descriptors of one request, and what the host's preadv takes (IOV_MAX). Section 2.7.5.3.1 allows
a queue's size; drivers make longer indirect tables."""

DESCRIPTOR_WORK = 1 << 11
"""What it costs to look at a descriptor, in bytes that could be moved instead."""

# 2.7.5 and 2.8.13: flags of a descriptor
NEXT, WRITE, INDIRECT = 1, 2, 4

Unpack = Callable[[memoryview, int], tuple[int, int, int, int]]


class Chain:
    """One request: what the device reads, then what it writes, as views of guest RAM."""

    __slots__ = ("count", "id", "length", "readable", "spans", "writable")

    def __init__(self, id: int = 0) -> None:
        self.id = id
        self.count = 1  # places it takes in a packed ring
        self.length = 0  # descriptors
        self.readable: list[memoryview] = []
        self.writable: list[memoryview] = []
        self.spans: list[tuple[int, int]] = []  # address and size of what is writable

    def add(self, ram: Ram, address: int, size: int, flags: int) -> None:
        """One more buffer; those to be written come last (2.7.4.2)."""
        self.length += 1
        if self.length > MAX_CHAIN:
            raise ProtocolError(f"a request of more than {MAX_CHAIN} descriptors")
        view = ram.view(address, size)
        if flags & WRITE:
            self.writable.append(view)
            self.spans.append((address, size))
        elif self.writable:
            raise ProtocolError("a buffer to be read comes after one to be written")
        else:
            self.readable.append(view)

    def add_table(self, ram: Ram, table: memoryview) -> None:
        """The buffers of an indirect table, one after the other: ``add`` for many."""
        self.length += len(table) // DESCRIPTOR_SIZE
        if self.length > MAX_CHAIN:
            raise ProtocolError(f"a request of more than {MAX_CHAIN} descriptors")
        view = ram.view
        for address, size, _, flags in PACKED_TABLE(table):
            if flags & WRITE:
                self.writable.append(view(address, size))
                self.spans.append((address, size))
            elif self.writable:
                raise ProtocolError("a buffer to be read comes after one to be written")
            else:
                self.readable.append(view(address, size))

    @property
    def work(self) -> int:
        """How much it is to look at it and to move its bytes, as bytes."""
        return DESCRIPTOR_WORK * self.length + self.room + sum([len(v) for v in self.readable])

    @property
    def room(self) -> int:
        """How many bytes the device may write."""
        return sum([size for _, size in self.spans])

    def tell(self, ram: Ram, written: int) -> None:
        """The core learns of the bytes that were written."""
        tell = ram.written
        for address, size in self.spans:
            if written <= 0:
                return
            tell(address, size if size < written else written)
            written -= size

    def spans_between(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Where these of the writable bytes are.

        >>> chain = Chain()
        >>> chain.spans = [(0x1000, 5), (0x2000, 5)]
        >>> chain.spans_between(3, 7)
        [(4099, 2), (8192, 2)]
        """
        found, at = [], 0
        for address, size in self.spans:
            first, last = max(start - at, 0), min(stop - at, size)
            if first < last:
                found.append((address + first, last - first))
            at += size
        return found

    def tell_between(self, ram: Ram, start: int, stop: int) -> None:
        """The core learns of some bytes that were written, before the request is done."""
        for address, size in self.spans_between(start, stop):
            ram.written(address, size)


class Ring(Protocol):
    """A ring in use. ``state`` is where it has got to."""

    def pop(self) -> Chain | None:
        """The next request. With None the driver knows to tell when there is one."""

    def unpop(self, chain: Chain) -> None:
        """Give back the request that was popped last: it comes again."""

    def mark(self) -> list[int]:
        """Where ``pop`` is."""

    def back(self, mark: list[int]) -> None:
        """Give back what was popped since: it comes again."""

    def push(self, chain: Chain, written: int) -> None:
        """A request is done; ``publish`` shows it to the driver."""

    def show(self) -> None:
        """Let the driver see what was pushed; ``publish`` tells it later."""

    def publish(self) -> bool:
        """Show what was pushed; whether the driver wants an interrupt for it."""

    def state(self) -> list[int]:
        """Positions, as plain numbers."""

    def load_state(self, state: list[int]) -> None:
        """Take them over."""


def within(numbers: list[int], *limits: int) -> bool:
    """Whether these are numbers from 0, each below its limit, or all below the only one."""
    below = limits * len(numbers) if len(limits) == 1 else limits
    return len(numbers) == len(below) and all(
        type(number) is int and 0 <= number < limit
        for number, limit in zip(numbers, below, strict=True)
    )


def indirect_table(ram: Ram, address: int, size: int) -> tuple[memoryview, int]:
    """The table an indirect descriptor leads to, and how many descriptors it has (2.7.5.3)."""
    count, rest = divmod(size, DESCRIPTOR_SIZE)
    if rest or not 0 < count <= MAX_CHAIN:
        raise ProtocolError(f"an indirect table of {size} bytes")
    return ram.view(address, size), count


def passed(event: int, new: int, old: int) -> bool:
    """Whether ``event`` lies in what was done between two positions (2.7.10).

    >>> passed(4, new=5, old=4), passed(5, new=5, old=4), passed(0xFFFF, new=1, old=0xFFFE)
    (True, False, True)
    """
    return (new - event - 1) & 0xFFFF < (new - old) & 0xFFFF


_LOCK = threading.Lock()


def fence() -> None:
    """Stores before it are seen before loads after it are made: the two sides of a ring each write
    their position, then read the other's wish. Taking a lock is the host's full barrier."""
    if _LOCK.acquire(False):
        _LOCK.release()


def aligned(what: str, address: int, alignment: int) -> int:
    """The address; ProtocolError unless it is aligned as sections 2.7 and 2.8.10.1 say."""
    if address % alignment:
        raise ProtocolError(f"the {what} at {address:#x} is not aligned to {alignment}")
    return address


SPLIT_DESCRIPTOR: Unpack = struct.Struct("<QIHH").unpack_from
"""Address, size, flags, next (2.7.5)."""
PACKED_DESCRIPTOR: Unpack = struct.Struct("<QIHH").unpack_from
"""Address, size, id, flags (2.8.13)."""
PACKED_TABLE = struct.Struct("<QIHH").iter_unpack
