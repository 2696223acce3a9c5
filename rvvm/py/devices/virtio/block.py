"""Block device (section 5.2): the sectors of a disk."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rvvm.py.devices.virtio.function import Function
from rvvm.py.devices.virtio.queue import MAX_SIZE, WORK, Queue
from rvvm.py.devices.virtio.ram import ProtocolError
from rvvm.py.devices.virtio.ring import DESCRIPTOR_WORK, Chain, within
from rvvm.py.disk import SECTOR, Disk, Kept, RawFile, cut
from rvvm.py.host import Alarm
from rvvm.py.register import Register, State
from rvvm.py.throttle import Throttle

# 5.2.3: features
SEG_MAX, RO, BLK_SIZE, FLUSH, TOPOLOGY, CONFIG_WCE, MQ, DISCARD, WRITE_ZEROES = (
    1 << bit for bit in (2, 5, 6, 9, 10, 11, 12, 13, 14)
)

# 5.2.6: kinds of requests, and how they end
IN, OUT, FLUSH_CACHE, GET_ID, DISCARD_RANGES, ZERO_RANGES = 0, 1, 4, 8, 11, 13
OK, IOERR, UNSUPP = 0, 1, 2

HEADER = struct.Struct("<IIQ")  # type, reserved, sector
RANGE = struct.Struct("<QII")  # sector, sectors, flags
UNMAP = 1  # flag of a range
ID_BYTES = 20
MAX_RANGES = 64
EAGER = 15  # after one that would not have been worth the wait: then it is tried again
MAX_RANGE = (1 << 32) // SECTOR - 1  # sectors

# What is done at a time; a handler's answer below 0 says how much is, and that there is more to do
PIECE = WORK
PIECE_OF_RANGES = 16 << 20
RANGE_WORK = FLUSH_WORK = WORK // 32


class Request(NamedTuple):
    """What is asked, without header and status: where, and the data."""

    offset: int
    readable: list[memoryview]
    writable: list[memoryview]
    start: int
    """How much of it was done in earlier turns."""


class Block(Function, kind=2):
    """A disk, with as many queues as asked for.

    Requests are handled in the order they come, so a flush covers every write before it. They are
    not in the kick but when the hart has had its turn: many then, with one interrupt for all. A
    driver that asks for one at a time is better served at once, before it goes to sleep. A turn's
    work is bounded: a longer request is done in pieces, and stays in the queue until the last.
    """

    capacity = Register(0x00, width=8, access="r", stored=False)
    seg_max = Register(0x0C, access="r", reset=MAX_SIZE - 2)  # room for header and status
    blk_size = Register(0x14, access="r", reset=SECTOR)
    physical_block_exp = Register(0x18, width=1, access="r", reset=3)  # pages are written best
    min_io_size = Register(0x1A, width=2, access="r", reset=8)
    writeback = Register(0x20, width=1, reset=1, writable=1)
    num_queues = Register(0x22, width=2, access="r", stored=False)
    max_discard_sectors = Register(0x24, access="r", reset=MAX_RANGE)
    max_discard_seg = Register(0x28, access="r", reset=MAX_RANGES)
    discard_sector_alignment = Register(0x2C, access="r", reset=8)
    max_write_zeroes_sectors = Register(0x30, access="r", reset=MAX_RANGE)
    max_write_zeroes_seg = Register(0x34, access="r", reset=MAX_RANGES)
    write_zeroes_may_unmap = Register(0x38, width=1, access="r", reset=1)

    serves_early = True

    eager = State(0)  # kicks that are to be served at once

    def __init__(
        self, disk: Disk, queues: int = 1, serial: str = "", throttle: Throttle | None = None
    ) -> None:
        self.disk = disk
        self.throttle = throttle
        self.serial = serial.encode()[:ID_BYTES].ljust(ID_BYTES, b"\0")
        features = SEG_MAX | BLK_SIZE | TOPOLOGY | FLUSH | CONFIG_WCE | (MQ if queues > 1 else 0)
        features |= RO if disk.read_only else DISCARD | WRITE_ZEROES
        self._kinds: dict[int, Callable[[Request], int]] = {
            IN: self._read,
            OUT: self._write,
            FLUSH_CACHE: self._flush,
            GET_ID: self._identify,
            DISCARD_RANGES: self._discard,
            ZERO_RANGES: self._zero,
        }
        self._kicked: set[int] = set()
        self._alarm: Alarm | None = None
        self._served = 0  # since the last kick that was put off
        self._work = 0  # done for a queue in this turn
        super().__init__(queues=queues, features=features)

    def on_capacity_read(self) -> int:
        return self.disk.size // SECTOR

    def on_num_queues_read(self) -> int:
        return len(self.queues)

    def kick(self, index: int) -> None:
        if self.eager:
            self.eager -= 1
            super().kick(index)
            return
        known = bool(self._kicked)
        self._kicked.add(index)
        if not known:
            self.later(self._serve_kicked)

    def _serve_kicked(self) -> None:
        kicked = sorted(self._kicked)
        self._kicked.clear()
        self._served = 0
        for index in kicked:
            super().kick(index)
        self.eager = EAGER if self._served == 1 else 0

    def serve(self, queue: Queue) -> None:
        if self.throttle is not None:
            self._serve_slowly(queue, self.throttle)
            return
        pop, handle, served, self._work = queue.pop, self._handle, 0, 0
        while (chain := pop()) is not None:
            handle(queue, chain)
            served += 1
            if self._work >= WORK:
                queue.more = True
                break
        self._served += served

    def _serve_slowly(self, queue: Queue, throttle: Throttle) -> None:
        """What may not be served yet stays in the queue until an alarm."""
        self._work = 0
        while not (wait := throttle.wait(self.clock.now())):
            if self._work >= WORK:
                queue.more = True
                return
            if (chain := queue.pop()) is None:
                return
            if not queue.progress:
                throttle.spend(max(_total(chain.readable), chain.room))
            self._handle(queue, chain)
        if self._alarm is None or self._alarm.callback is None:
            self._alarm = self.clock.call_at(self.clock.now() + wait, self._go_on)

    def _go_on(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        for queue in self.queues:
            self.serve_now(queue)

    def state(self) -> dict[str, Any]:
        """With what is left of the rates, and whether requests wait for more."""
        rates = self.throttle.state(self.clock.now()) if self.throttle is not None else {}
        waits = self._alarm is not None and self._alarm.callback is not None
        kicked = sorted(self._kicked)
        return super().state() | {"throttle": rates, "waits": waits, "kicked": kicked}

    def load_state(self, state: Mapping[str, Any]) -> None:
        super().load_state(state)
        self._check("waits", isinstance(state["waits"], bool))
        now, wait = self.clock.now(), 0
        if self.throttle is not None:
            self.throttle.load_state(state["throttle"], now)
            wait = self.throttle.wait(now)
        if self._alarm is not None:
            self._alarm.cancel()
        self._check("kicked", within(state["kicked"], len(self.queues)))
        self._kicked = set(state["kicked"])
        if self._kicked:
            self.later(self._serve_kicked)
        if state["waits"]:
            self._alarm = self.clock.call_at(now + wait, self._go_on)

    def _handle(self, queue: Queue, chain: Chain) -> None:
        """Do a request, or some more of it."""
        start = queue.progress
        header, readable = _header(chain.readable)
        kind, _, sector = HEADER.unpack_from(header)
        status, writable = _status(chain.writable)
        try:
            handler = self._kinds.get(kind)
            request = Request(sector * SECTOR, readable, writable, start)
            result = handler(request) if handler else UNSUPP
        except OSError:
            result = IOERR
        if result < 0:
            self._postpone(queue, chain, -result)
            return
        status[0] = result
        written = chain.room
        self._work += DESCRIPTOR_WORK * chain.length
        if not start:
            self._work += written
        else:
            chain.spans = chain.spans_between(start, written)  # the core knows of the rest
        queue.push(chain, written)

    def _postpone(self, queue: Queue, chain: Chain, done: int) -> None:
        self._work = WORK
        if self.ram is not None:
            chain.tell_between(self.ram, queue.progress, done)
        queue.postpone(chain, done)

    # Moments

    def keep(self) -> Kept | None:
        return self.disk.keep()

    def back(self, kept: Kept | None) -> None:
        self.disk.back(kept)

    def files(self) -> list[RawFile]:
        return self.disk.files()

    def refill(self, offset: int, data: memoryview) -> None:
        if offset < 0 or offset + len(data) > self.disk.size or self.disk.read_only:
            raise ValueError("a piece that is not the disk's")
        self.disk.write([data], offset)

    def twin(self) -> Block:
        serial = self.serial.rstrip(b"\0").decode()
        throttle = self.throttle and self.throttle.again()
        return Block(self.disk.twin(), len(self.queues), serial, throttle)

    def close(self) -> None:
        try:
            self.disk.flush()
        except OSError as error:
            self.report(f"{self.disk.name}: {error.strerror}: what was written last may be lost")
        self.disk.close()

    # The kinds of requests

    def _within(self, offset: int, size: int) -> bool:
        return size % SECTOR == 0 and offset + size <= self.disk.size

    def _read(self, request: Request) -> int:
        size = _total(request.writable)
        if not self._within(request.offset, size):
            return IOERR
        if size > PIECE or request.start:
            return self._piece(self.disk.read, request, request.writable, size)
        self.disk.read(request.writable, request.offset)
        return OK

    def _write(self, request: Request) -> int:
        size = _total(request.readable)
        if self.disk.read_only or not self._within(request.offset, size):
            return IOERR
        if size > PIECE or request.start:
            result = self._piece(self.disk.write, request, request.readable, size)
            return result if result < 0 else self._settle()
        self._work += size
        self.disk.write(request.readable, request.offset)
        return self._settle()

    @staticmethod
    def _piece(
        act: Callable[[list[memoryview], int], None],
        request: Request,
        views: list[memoryview],
        size: int,
    ) -> int:
        """Read or write some of a long request."""
        start, stop = request.start, min(request.start + PIECE, size)
        if start < stop:
            act(cut(views, start, stop), request.offset + start)
        return -stop if stop < size else OK

    def _settle(self) -> int:
        """5.2.6.2: without a cache, or one that the driver knows of, a write is on the disk."""
        if not self.has(FLUSH) or self.has(CONFIG_WCE) and not self.writeback:
            self._work += FLUSH_WORK
            self.disk.flush()
        return OK

    def _flush(self, request: Request) -> int:
        self._work += FLUSH_WORK
        self.disk.flush()
        return OK

    def _identify(self, request: Request) -> int:
        rest = self.serial
        for view in request.writable:
            piece, rest = rest[: len(view)], rest[len(view) :]
            view[: len(piece)] = piece
        return OK

    def _discard(self, request: Request) -> int:
        return self._ranges(request, 0, lambda offset, size, _: self.disk.discard(offset, size))

    def _zero(self, request: Request) -> int:
        return self._ranges(request, UNMAP, self.disk.zero)

    def _ranges(self, request: Request, flags: int, act: Callable[[int, int, bool], None]) -> int:
        """5.2.6.2: each range in turn; what is wrong with one is found before any is touched."""
        size = _total(request.readable)
        if self.disk.read_only:
            return IOERR
        if not 0 < size <= MAX_RANGES * RANGE.size or size % RANGE.size:
            return UNSUPP
        ranges = list(RANGE.iter_unpack(b"".join(request.readable)))
        if any(flag & ~flags for _, _, flag in ranges):
            return UNSUPP
        if not all(self._within(sector * SECTOR, count * SECTOR) for sector, count, _ in ranges):
            return IOERR
        at, left = 0, PIECE_OF_RANGES
        for sector, count, flag in ranges:
            size = count * SECTOR
            done = min(max(request.start - at, 0), size)
            piece = min(size - done, left)
            if piece:
                self._work += RANGE_WORK
                act(sector * SECTOR + done, piece, bool(flag & UNMAP))
            if piece < size - done:
                return -int(at + done + piece)
            at, left = at + size, left - piece
        return self._settle()


def _total(views: list[memoryview]) -> int:
    return sum(map(len, views))


def _header(views: list[memoryview]) -> tuple[bytes | memoryview, list[memoryview]]:
    """The header, and the rest. Drivers give it a buffer of its own, but need not (2.7.4.1)."""
    if views and len(views[0]) == HEADER.size:
        return views[0], views[1:]
    total = _total(views)
    if total < HEADER.size:
        raise ProtocolError(f"a request with a header of {total} bytes")
    return b"".join(cut(views, 0, HEADER.size)), cut(views, HEADER.size, total)


def _status(views: list[memoryview]) -> tuple[memoryview, list[memoryview]]:
    """The place of the status, which is the last byte to be written, and what is before it."""
    if views and len(views[-1]) == 1:
        return views[-1], views[:-1]
    total = _total(views)
    if total == 0:
        raise ProtocolError("a request without room for its status")
    return cut(views, total - 1, total)[0], cut(views, 0, total - 1)
