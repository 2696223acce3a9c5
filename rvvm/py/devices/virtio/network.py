"""Network device (section 5.1): frames between the guest and a link of the host's."""

from __future__ import annotations

import struct
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from rvvm.py.devices.virtio.function import Function
from rvvm.py.devices.virtio.queue import Queue
from rvvm.py.devices.virtio.ram import ProtocolError
from rvvm.py.devices.virtio.ring import Chain
from rvvm.py.disk import cut
from rvvm.py.net import MAX_FRAME, Link, Unplugged
from rvvm.py.net import MTU as MTU_BYTES
from rvvm.py.register import Register

# 5.1.3: features
CSUM, GUEST_CSUM, MTU, MAC, MRG_RXBUF, STATUS = (1 << bit for bit in (0, 1, 3, 5, 15, 16))

RECEIVE, TRANSMIT = 0, 1  # queues
LINK_UP = 1  # 5.1.4: status

# 5.1.6: struct virtio_net_hdr
HEADER = struct.Struct("<BBHHHHH")  # flags, gso_type, hdr_len, gso_size, csum_start, _offset, count
NEEDS_CSUM, DATA_VALID = 1, 2


class Network(Function, kind=1):
    """One pair of queues. Frames are longer than usual, so that they are few; the guest leaves
    checksums to us, and need not check those that come."""

    mac = Register(0x00, width=8, access="r", stored=False)  # and, behind its 6 bytes, status
    mtu = Register(0x0A, width=2, access="r", stored=False)

    def __init__(self, link: Link, mac: bytes) -> None:
        self.link = link
        self.address = mac
        self.connected = True
        self._waiting: Sequence[memoryview] = ()
        self._delivered = 0
        super().__init__(queues=2, features=CSUM | GUEST_CSUM | MTU | MAC | MRG_RXBUF | STATUS)
        self._link_end = weakref.finalize(self, link.close)

    def on_mac_read(self) -> int:
        return int.from_bytes(self.address, "little") | LINK_UP * self.connected << 48

    def on_mtu_read(self) -> int:
        return MTU_BYTES

    def started(self) -> None:
        super().started()
        self.link.start(_Receiver(self))

    def serve(self, queue: Queue) -> None:
        if queue is self.queues[TRANSMIT]:
            self._transmit(queue)
        else:
            self.link.room()

    # Moments

    def twin(self) -> Network:
        """One without a cable: two machines with one address would be in each other's way."""
        twin = Network(Unplugged(), self.address)
        twin.connected = False
        return twin

    def state(self) -> dict[str, Any]:
        return super().state() | {"connected": self.connected}

    def load_state(self, state: Mapping[str, Any]) -> None:
        super().load_state(state)
        if self.running:
            self.link.start(_Receiver(self))
        self.link.room()
        if state["connected"] != self.connected:
            self.changed()

    # To the link

    def _transmit(self, queue: Queue) -> None:
        while True:
            mark = queue.mark()
            chain = queue.pop()
            if chain is None:
                return
            frame = self._frame(chain)
            if frame and not self.link.send(frame):
                queue.back(mark)
                return
            queue.push(chain)

    def _frame(self, chain: Chain) -> list[memoryview]:
        """The frame of a request; empty when it is none."""
        views = chain.readable
        total = sum([len(view) for view in views])
        if total < HEADER.size:
            raise ProtocolError(f"a frame with a header of {total} bytes")
        if total > MAX_FRAME + HEADER.size:
            return []
        first = views[0]
        if len(first) == HEADER.size:
            header, frame = first, views[1:]
        else:
            header = memoryview(b"".join(cut(views, 0, HEADER.size)))
            frame = cut(views, HEADER.size, total)
        flags, _, _, _, start, offset, _ = HEADER.unpack(header)
        if flags & NEEDS_CSUM and self.has(CSUM):
            return _with_checksum(frame, start, offset)
        return frame

    # From the link, by a thread of its

    def deliver(self, frames: Sequence[memoryview]) -> int:
        """Put frames into the guest's buffers; how many there was room for."""
        queue = self.queues[RECEIVE]
        if not self.running or not queue.ready:
            return len(frames)  # nobody listens
        self._delivered = 0
        self._waiting = frames
        self.guarded(queue, self._deliver)
        self.publish(queue)
        return self._delivered if self.running else len(frames)

    def _deliver(self, queue: Queue) -> None:
        for frame in self._waiting:
            if not self._put(queue, frame):
                return
            self._delivered += 1

    def _put(self, queue: Queue, frame: memoryview) -> bool:
        mark, wanted = queue.mark(), HEADER.size + len(frame)
        chains: list[Chain] = []
        while wanted > 0:
            chain = queue.pop()
            if chain is None:
                queue.back(mark)
                return False
            chains.append(chain)
            wanted -= chain.room
            if not self.has(MRG_RXBUF) and wanted > 0:
                queue.push(chain)  # 5.1.6.3: the driver makes them large enough
                return True
            if len(chains) > queue.size:
                raise ProtocolError("buffers for frames that hold nothing")
        flags = DATA_VALID if self.has(GUEST_CSUM) else 0
        header = HEADER.pack(flags, 0, 0, 0, 0, 0, len(chains))
        rest: list[memoryview] = [memoryview(header), frame]
        for chain in chains:
            size, rest = _scatter(rest, chain.writable)
            queue.push(chain, size)
        return True

    def disconnect(self) -> None:
        """The far end is gone: no carrier."""
        self.connected = False
        self.changed()


class _Receiver:
    """What the link's threads hold: the device, as long as somebody else does."""

    def __init__(self, device: Network) -> None:
        self._device = weakref.ref(device)
        self._lock = device.lock

    def receive(self, frames: Sequence[memoryview]) -> int:
        with self._lock:
            device = self._device()
            return len(frames) if device is None else device.deliver(frames)

    def writable(self) -> None:
        with self._lock:
            if (device := self._device()) is not None:
                device.serve_now(device.queues[TRANSMIT])

    def disconnected(self) -> None:
        with self._lock:
            if (device := self._device()) is not None:
                device.disconnect()


def _scatter(data: list[memoryview], places: list[memoryview]) -> tuple[int, list[memoryview]]:
    """Copy as much as fits; how many bytes that was, and what is left."""
    done = 0
    data = [piece for piece in data if len(piece)]
    for place in places:
        while len(place) and data:
            size = min(len(place), len(data[0]))
            place[:size] = data[0][:size]
            place, done = place[size:], done + size
            data = [data[0][size:], *data[1:]] if size < len(data[0]) else data[1:]
    return done, data


def _with_checksum(frame: list[memoryview], start: int, offset: int) -> list[memoryview]:
    """A copy whose checksum is complete: the ones' complement sum from ``start`` on, where the
    driver has put the pseudo header's (5.1.6.2). Modulo 65,535 a number is the sum of its digits of
    16 bits."""
    data = bytearray().join(frame)
    if start + offset + 2 > len(data):
        return []
    covered = bytes(data[start:])
    if len(covered) % 2:
        covered += b"\0"
    total = int.from_bytes(covered, "big") % 0xFFFF
    if total == 0 and any(covered):
        total = 0xFFFF
    checksum = ~total & 0xFFFF
    struct.pack_into(">H", data, start + offset, checksum or 0xFFFF)
    return [memoryview(data)]
