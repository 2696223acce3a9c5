"""Network device (section 5.1): frames between the guest and a link of the host's."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rvvm.py.devices.virtio.function import Function
from rvvm.py.devices.virtio.queue import REQUEST_WORK, VERSION_1, WORK, Queue
from rvvm.py.devices.virtio.ram import ProtocolError
from rvvm.py.devices.virtio.ring import DESCRIPTOR_WORK, Chain
from rvvm.py.disk import cut
from rvvm.py.net.link import MAX_FRAME, Link, Unplugged
from rvvm.py.net.offload import (
    GSO_ECN,
    GSO_NONE,
    GSO_TCPV4,
    GSO_TCPV6,
    HEADER,
    NEEDS_CSUM,
    PLAIN,
    VALID,
    Packet,
    Views,
    finish,
    join,
)
from rvvm.py.register import Register, State

# 5.1.3: features
CSUM, GUEST_CSUM, MTU, MAC, GUEST_TSO4, GUEST_TSO6, HOST_TSO4, HOST_TSO6, MRG_RXBUF, STATUS = (
    1 << bit for bit in (0, 1, 3, 5, 7, 8, 11, 12, 15, 16)
)
OFFLOADS = CSUM | GUEST_CSUM | GUEST_TSO4 | GUEST_TSO6 | HOST_TSO4 | HOST_TSO6
_UNCUT = {GUEST_TSO4: GSO_TCPV4, GUEST_TSO6: GSO_TCPV6}

RECEIVE, TRANSMIT = 0, 1  # queues
LINK_UP = 1  # 5.1.4: status
MOST_DESCRIPTORS = 4096  # for one frame, of buffers that are to be joined


class Network(Function, kind=1):
    """One pair of queues. Frames are longer than usual, so that they are few; the guest leaves
    checksums and cutting to us, and takes what comes unchecked and uncut. What the link does not
    do of that is done here (``net/offload.py``)."""

    mac = Register(0x00, width=8, access="r", stored=False)  # and, behind its 6 bytes, status
    mtu = Register(0x0A, width=2, access="r", stored=False)

    held = State(False)  # frames, until the link has room

    def __init__(self, link: Link, mac: bytes) -> None:
        self.link = link
        self.address = mac
        self.connected = True
        self._kinds: list[int] = []  # of uncut packets that the guest takes
        self._waiting: Sequence[memoryview] = ()
        self._delivered = 0
        self._left = 0  # work, in this turn
        self._telling = False  # put off
        super().__init__(queues=2, features=OFFLOADS | MTU | MAC | MRG_RXBUF | STATUS)
        self._link_end = weakref.finalize(self, link.close)

    def on_mac_read(self) -> int:
        return int.from_bytes(self.address, "little") | LINK_UP * self.connected << 48

    def on_mtu_read(self) -> int:
        return self.link.mtu

    def started(self) -> None:
        self._agree()
        super().started()
        self.link.start(_Receiver(self))

    def _agree(self) -> None:
        """5.1.3.1: uncut packets have no checksums, either."""
        checks = self.has(GUEST_CSUM)
        self._kinds = [kind for feature, kind in _UNCUT.items() if checks and self.has(feature)]
        self.link.accept(checks, self._kinds)

    def kick(self, index: int) -> None:
        """What was sent is seen at once, and told of when the hart has had its turn or waits: once
        for all of that, often with a frame that has come meanwhile."""
        if index != TRANSMIT or not self.running:
            super().kick(index)
            return
        queue = self.queues[TRANSMIT]
        self.guarded(queue, self._transmit)
        queue.show()
        if queue.more:
            self.go_on(queue)
        if not self._telling:
            self._telling = True
            self.later(self._tell)

    def _tell(self) -> None:
        self._telling = False
        self.publish(self.queues[TRANSMIT])

    def serve(self, queue: Queue) -> None:
        if queue is self.queues[TRANSMIT]:
            self._transmit(queue)
        else:
            self.link.room()

    def close(self) -> None:
        self._link_end()

    def join(self) -> None:
        self.link.join()

    # Moments

    def twin(self) -> Network:
        """One without a cable: two machines with one address would be in each other's way."""
        twin = Network(Unplugged(self.link.mtu), self.address)
        twin.connected = False
        return twin

    def state(self) -> dict[str, Any]:
        known = {"connected": self.connected, "address": self.address, "telling": self._telling}
        return super().state() | known

    def load_state(self, state: Mapping[str, Any]) -> None:
        super().load_state(state)
        address, connected = state["address"], state["connected"]
        self._check("address", isinstance(address, bytes) and len(address) == len(self.address))
        self._check("connected", isinstance(connected, bool))
        self.address = address  # which its driver knows, whatever the link is now
        self._telling = bool(state["telling"])
        if self._telling:
            self.later(self._tell)
        self._agree()
        if self.running:
            self.link.start(_Receiver(self))
        self.link.room()
        if state["connected"] != self.connected:
            self.changed()
        if self.held:  # another link will not say when it has room: it has
            self.clock.call_at(self.clock.now(), lambda: self.serve_now(self.queues[TRANSMIT]))

    # To the link

    def _transmit(self, queue: Queue) -> None:
        left = WORK
        while True:
            if left <= 0:
                queue.more = True
                return
            mark = queue.mark()
            chain = queue.pop()
            if chain is None:
                self.held = False
                return
            frames = self._frames(chain.readable)
            if frames and not self.link.send(frames):
                queue.back(mark)
                self.held = True
                return
            left -= REQUEST_WORK + DESCRIPTOR_WORK * chain.length
            queue.push(chain)

    @property
    def _header_size(self) -> int:
        """5.1.6.1: drivers of before version 1.0 have no num_buffers without MRG_RXBUF."""
        return HEADER.size if self.has(VERSION_1 | MRG_RXBUF) else HEADER.size - 2

    def _frames(self, views: list[memoryview]) -> list[Views]:
        """What a request is for the link; empty when it makes no sense."""
        total = sum([len(view) for view in views])
        own = self._header_size
        if total < own:
            raise ProtocolError(f"a frame with a header of {total} bytes")
        if own < HEADER.size:
            views = [memoryview(b"".join(cut(views, 0, own)) + bytes(2)), *cut(views, own, total)]
            total += 2
        if total > MAX_FRAME + HEADER.size:
            return []
        if self.link.headers:
            return [views]
        header, frame = views[0], views[1:]
        if len(header) > HEADER.size:
            header, frame = header[: HEADER.size], [header[HEADER.size :], *frame]
        elif len(header) < HEADER.size:
            header = memoryview(b"".join(cut(views, 0, HEADER.size)))
            frame = cut(views, HEADER.size, total)
        return finish(header, frame)

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
        if queue.more:
            self.go_on(queue)
        return self._delivered if self.running else len(frames)

    def _deliver(self, queue: Queue) -> None:
        self._left = WORK
        for packet in self._packets(self._waiting):
            if self._left <= 0:
                queue.more = True
                return
            if not self._put(queue, packet):
                return
            self._delivered += packet.frames

    def _packets(self, frames: Sequence[memoryview]) -> Iterator[Packet]:
        """Frames as the guest takes them."""
        if self.link.headers:
            for frame in frames:
                yield from self._suited(bytes(frame[: HEADER.size]), frame[HEADER.size :])
        elif self._kinds and len(frames) > 1:
            yield from join(frames, self._kinds)
        else:
            header = VALID if self.has(GUEST_CSUM) else PLAIN
            for frame in frames:
                yield Packet(header, [frame])

    def _suited(self, header: bytes, frame: memoryview) -> Iterator[Packet]:
        """A frame with a header, finished as far as the guest does not take it."""
        checked = self.has(GUEST_CSUM) or not header[0] & NEEDS_CSUM
        if checked and header[1] & ~GSO_ECN in (GSO_NONE, *self._kinds):
            yield Packet(header, [frame])
            return
        parts = finish(header, [frame]) or [[]]
        for number, part in enumerate(parts, 1):
            yield Packet(PLAIN, part, int(number == len(parts)))

    def _put(self, queue: Queue, packet: Packet) -> bool:
        """Whether there was room. What can never have any is lost."""
        own = self._header_size
        mark, wanted = queue.mark(), own + sum([len(view) for view in packet.frame])
        chains: list[Chain] = []
        descriptors = 0
        while wanted > 0 and packet.frame:
            chain = queue.pop()
            if chain is None:
                queue.back(mark)
                return False
            chains.append(chain)
            wanted -= chain.room
            descriptors += chain.length
            if not self.has(MRG_RXBUF) and wanted > 0:
                queue.push(chain)  # 5.1.6.3: the driver makes them large enough
                return True
            if descriptors > MOST_DESCRIPTORS:
                raise ProtocolError("buffers for frames that hold nothing")
        self._left -= REQUEST_WORK + DESCRIPTOR_WORK * descriptors
        header = (packet.header[:-2] + len(chains).to_bytes(2, "little"))[:own]
        rest: list[memoryview] = [memoryview(header), *packet.frame]
        for chain in chains:
            size, rest = _scatter(rest, chain.writable)
            queue.push(chain, size)
        return True

    def disconnect(self) -> None:
        """The far end is gone: no carrier."""
        self.connected = False
        self.changed()


class _Receiver:
    """What a link holds: the device, as long as somebody else does."""

    def __init__(self, device: Network) -> None:
        self._device = weakref.ref(device)
        self._lock = device.lock

    def receive(self, frames: Sequence[memoryview]) -> int:
        with self._lock:
            device = self._device()
            return len(frames) if device is None else device.deliver(frames)

    def watch(self, file: int, action: Callable[[], None]) -> bool:
        device = self._device()
        if device is None or device.watch is None:
            return False
        device.watch(file, action)
        return True

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
