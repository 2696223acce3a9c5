"""Socket device (section 5.10): streams between programs of the guest and of the host."""

from __future__ import annotations

import socket
import struct
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from rvvm.py.devices.virtio.function import Function
from rvvm.py.devices.virtio.queue import REQUEST_WORK, WORK, Queue
from rvvm.py.devices.virtio.ram import ProtocolError, Ram
from rvvm.py.devices.virtio.ring import Chain
from rvvm.py.disk import cut
from rvvm.py.net.gate import GONE, READ, WRITE, ClosedGate, Gate, Pipe
from rvvm.py.register import Register

RX, TX, EVENT = 0, 1, 2  # 5.10.2: queues
HOST = 2  # 5.10.4: its CID
STREAM = 1  # 5.10.6: type
TRANSPORT_RESET = struct.pack("<I", 0)  # 5.10.6.7

# 5.10.6: struct virtio_vsock_hdr: CIDs, ports, len, type, op, flags, buf_alloc, fwd_cnt
HEADER = struct.Struct("<QQIIIHHIII")
REQUEST, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE, CREDIT_REQUEST = range(1, 8)
NO_RECEIVE, NO_SEND = 1, 2  # flags of SHUTDOWN

ROOM = 1 << 18  # buf_alloc: bytes that we keep of a connection
MOST_CONNECTIONS = 512
MOST_WAITING = 256  # packets without a buffer of the guest's; then its own wait, too
MOST_FILLED = 64  # buffers with data for the guest, in one turn
FIRST_PORT = 1 << 30  # of those that connect from the host
_WRAP = 0xFFFF_FFFF


class Packet(NamedTuple):
    """A header, as it is laid out."""

    src_cid: int
    dst_cid: int
    src_port: int
    dst_port: int
    size: int
    kind: int
    op: int
    flags: int
    buf_alloc: int
    fwd_cnt: int


class Connection:
    """One stream. ``port`` is the guest's, ``own`` the host's."""

    def __init__(self, pipe: Pipe, port: int, own: int) -> None:
        self.pipe, self.port, self.own = pipe, port, own
        self.open = False  # both have agreed
        self.sent = 0  # bytes to the guest
        self.room = self.forwarded = (
            0  # what it has told: for how many it has room, how many it had
        )
        self.taken = self.told = 0  # bytes from the guest that are gone; as it knows
        self.ended = 0  # SHUTDOWN's flags, from the guest
        self.said = 0  # and to it
        self.gone = False  # the host's end is closed; there may be data of it

    @property
    def credit(self) -> int:
        """5.10.6.3: how many bytes may be sent."""
        return max(0, self.room - (self.sent - self.forwarded & _WRAP))

    @property
    def reads(self) -> bool:
        """Whether what the host sends can be taken."""
        open_ways = self.open and not self.said & NO_SEND and not self.ended & NO_RECEIVE
        return open_ways and self.credit > 0

    @property
    def events(self) -> int:
        """What its socket is watched for."""
        return (READ if self.reads else 0) | (WRITE if self.pipe.kept else 0)


class Vsock(Function, kind=19):
    """The host's programs are behind a ``Gate``. Whoever breaks the rules of a connection loses it
    (RST), and nothing else."""

    guest_cid = Register(0x0, width=8, access="r", stored=False)

    def __init__(self, gate: Gate, cid: int) -> None:
        self.gate, self.cid = gate, cid
        self.connections: dict[tuple[int, int], Connection] = {}
        self._by_file: dict[int, Connection] = {}
        self._asking: dict[int, Pipe] = {}  # connected to the path, have not said the port
        self._out: deque[bytes] = deque()  # packets without data
        self._waiting: dict[Connection, None] = {}  # their hosts have sent something, in turn
        self._next_port = FIRST_PORT
        self._was_reset = False
        super().__init__(queues=3)
        self._gate_end = weakref.finalize(self, gate.close)

    def attach(
        self, ram: Ram, report: Callable[[str], None], lock: AbstractContextManager[Any]
    ) -> None:
        super().attach(ram, report, lock)
        me = weakref.ref(self)

        def ready(number: int, events: int) -> None:
            with lock:
                if (device := me()) is not None:
                    device.ready(number, events)

        self.gate.start(ready)

    def on_guest_cid_read(self) -> int:
        return self.cid

    # The guest

    def serve(self, queue: Queue) -> None:
        if queue is self.queues[TX]:
            self._obey(queue)
            self._deliver()
        elif queue is self.queues[RX]:
            self._deliver()
            self.serve_now(self.queues[TX])
        else:
            self._tell_reset()

    def _obey(self, queue: Queue) -> None:
        left = WORK
        while len(self._out) < MOST_WAITING and (chain := queue.pop()) is not None:
            views = chain.readable
            total = sum([len(view) for view in views])
            if total < HEADER.size:
                raise ProtocolError(f"a packet of {total} bytes")
            packet = Packet(*HEADER.unpack(b"".join(cut(views, 0, HEADER.size))))
            if packet.size > total - HEADER.size:
                raise ProtocolError(f"a packet of {packet.size} bytes in {total - HEADER.size}")
            self._take(packet, cut(views, HEADER.size, HEADER.size + packet.size))
            queue.push(chain)
            left -= REQUEST_WORK + chain.work
            if left <= 0:
                queue.more = True
                return

    def _take(self, packet: Packet, data: list[memoryview]) -> None:
        if packet.src_cid != self.cid:
            return
        connection = self.connections.get((packet.src_port, packet.dst_port))
        stream = packet.kind == STREAM and packet.dst_cid == HOST
        if connection is not None and stream and packet.op != REQUEST:
            connection.room, connection.forwarded = packet.buf_alloc, packet.fwd_cnt
            self._go_on(connection, packet, data)
        elif packet.op == REQUEST and stream and connection is None:
            self._dial(packet)
        elif packet.op != RST:
            self._refuse(packet)

    def _go_on(self, it: Connection, packet: Packet, data: list[memoryview]) -> None:
        if packet.op == RST or it.open == (packet.op == RESPONSE):
            self._end(it, tell=packet.op != RST)
            return
        if packet.op == RESPONSE:
            it.open = True
            it.pipe.write([memoryview(b"OK %d\n" % it.own)])
        elif packet.op == RW:
            self._forward(it, data)
        elif packet.op == SHUTDOWN:
            it.ended |= packet.flags & (NO_RECEIVE | NO_SEND)
        elif packet.op == CREDIT_REQUEST:
            self._say(it, CREDIT_UPDATE)
        elif packet.op != CREDIT_UPDATE:
            self._end(it)
        self._settle(it)

    def _forward(self, it: Connection, data: list[memoryview]) -> None:
        size = sum([len(view) for view in data])
        if it.ended & NO_SEND or len(it.pipe.kept) + size > ROOM:
            self._end(it)  # 5.10.6.3.1: more than it has credit for
        else:
            it.taken += it.pipe.write(data)

    def _settle(self, it: Connection) -> bool:
        """What follows from a connection's state; whether it goes on."""
        if self.connections.get((it.port, it.own)) is not it:
            return False
        done = it.ended & NO_SEND and not it.pipe.kept
        if not it.pipe.alive or done and it.ended & NO_RECEIVE:
            self._end(it)  # 5.10.6.5: RST says that all is done
            return False
        if done:
            it.pipe.shut(socket.SHUT_WR)
        if it.taken - it.told >= ROOM // 2:
            self._say(it, CREDIT_UPDATE)
        if not it.gone:
            self.gate.watch(it.pipe.socket, it.events)
        elif it.reads:
            self._waiting[it] = None
        return True

    def _dial(self, packet: Packet) -> None:
        end = self.gate.dial(packet.dst_port) if self._has_room() else None
        if end is None:
            self._refuse(packet)
            return
        it = self._add(Pipe(end), packet.src_port, packet.dst_port)
        it.open, it.room, it.forwarded = True, packet.buf_alloc, packet.fwd_cnt
        self._say(it, RESPONSE)
        self._settle(it)

    # The host

    def ready(self, number: int, events: int) -> None:
        """A socket has something, or room."""
        if number == self.gate.listener.fileno():
            self._welcome()
        elif (pipe := self._asking.get(number)) is not None:
            self._listen(pipe)
        elif (it := self._by_file.get(number)) is not None:
            self._react(it, events)
        self.serve_now(self.queues[RX])

    def _welcome(self) -> None:
        client = self.gate.accept()
        if client is None:
            return
        if not self.running or not self._has_room():
            client.close()
            return
        self._asking[client.fileno()] = Pipe(client)
        self.gate.watch(client, READ)

    def _listen(self, pipe: Pipe) -> None:
        """``CONNECT port``."""
        if (line := pipe.read_line()) is None:
            return
        del self._asking[pipe.socket.fileno()]
        words = line.split()
        if len(words) != 2 or words[0].upper() != b"CONNECT" or not words[1].isdigit():
            self.gate.forget(pipe.socket)
            return
        it = self._add(pipe, int(words[1]) & _WRAP, self._free_port())
        self.gate.watch(pipe.socket, 0)
        self._say(it, REQUEST)

    def _react(self, it: Connection, events: int) -> None:
        if events & WRITE:
            it.taken += it.pipe.flush()
            if not self._settle(it):
                return
        if events & READ:
            self._waiting[it] = None
            self.gate.watch(it.pipe.socket, it.events & ~READ)
        elif events & GONE:
            self._lose(it)

    def _lose(self, it: Connection) -> None:
        """The host's program is gone: what it has sent comes first."""
        it.gone = True
        it.pipe.kept.clear()  # nobody reads it any more
        self.gate.ignore(it.pipe.socket)
        if not it.open:
            self._end(it)
        elif it.said & NO_SEND:
            self._shut(it)
        else:
            self._settle(it)

    def _shut(self, it: Connection) -> None:
        """All that the host sends was sent."""
        it.said = NO_SEND | (NO_RECEIVE if it.gone else 0)
        self._say(it, SHUTDOWN, it.said)

    def _has_room(self) -> bool:
        few = len(self.connections) + len(self._asking) < MOST_CONNECTIONS
        return few and len(self._out) < MOST_WAITING

    def _free_port(self) -> int:
        used = {own for _, own in self.connections}
        while self._next_port in used:
            self._next_port += 1
        port, self._next_port = self._next_port, (self._next_port + 1) | FIRST_PORT
        return port

    # Connections

    def _add(self, pipe: Pipe, port: int, own: int) -> Connection:
        it = Connection(pipe, port, own)
        self.connections[port, own] = self._by_file[pipe.socket.fileno()] = it
        return it

    def _end(self, it: Connection, tell: bool = True) -> None:
        if self.connections.pop((it.port, it.own), None) is None:
            return
        del self._by_file[it.pipe.socket.fileno()]
        self._waiting.pop(it, None)
        self.gate.forget(it.pipe.socket)
        if tell:
            self._say(it, RST)

    # Packets to the guest

    def _header(self, it: Connection, op: int, size: int = 0, flags: int = 0) -> bytes:
        it.told = it.taken
        return HEADER.pack(
            HOST, self.cid, it.own, it.port, size, STREAM, op, flags, ROOM, it.taken & _WRAP
        )

    def _say(self, it: Connection, op: int, flags: int = 0) -> None:
        self._out.append(self._header(it, op, flags=flags))

    def _refuse(self, packet: Packet) -> None:
        ends = (packet.dst_cid, packet.src_cid, packet.dst_port, packet.src_port)
        self._out.append(HEADER.pack(*ends, 0, packet.kind, RST, 0, 0, 0))

    def _deliver(self) -> None:
        """Into the buffers that there are: packets, then data."""
        queue = self.queues[RX]
        if not queue.ready:
            return
        while self._out and self._put(queue, self._out[0]):
            self._out.popleft()
        filled = 0
        while self._waiting and not self._out:
            if filled == MOST_FILLED:
                self.go_on(queue)
                break
            filled += 1
            it = next(iter(self._waiting))
            del self._waiting[it]
            if not self._fill(queue, it):
                break
        while self._out and self._put(queue, self._out[0]):
            self._out.popleft()
        self.publish(queue)

    def _fill(self, queue: Queue, it: Connection) -> bool:
        """One buffer of what the host has sent; whether there was one."""
        if not it.reads:
            self._settle(it)
            return True
        mark = queue.mark()
        chain = queue.pop()
        if chain is None:
            self._waiting[it] = None
            return False
        room = min(chain.room - HEADER.size, it.credit)
        if room <= 0:
            raise ProtocolError(f"{chain.room} bytes for a packet with data")
        size = it.pipe.read(cut(chain.writable, HEADER.size, HEADER.size + room))
        if not size:
            queue.back(mark)
            if size == 0:
                self._shut(it)
            self._settle(it)
            return True
        _write(chain, self._header(it, RW, size))
        it.sent += size
        queue.push(chain, HEADER.size + size)
        self._waiting[it] = None
        return True

    def _put(self, queue: Queue, data: bytes) -> bool:
        chain = queue.pop()
        if chain is None:
            return False
        if chain.room < len(data):
            raise ProtocolError(f"{chain.room} bytes for a packet of {len(data)}")
        _write(chain, data)
        queue.push(chain, len(data))
        return True

    def _tell_reset(self) -> None:
        """5.10.6.7: connections of before are no more."""
        queue = self.queues[EVENT]
        if self._was_reset and (chain := queue.pop()) is not None:
            self._was_reset = False
            _write(chain, TRANSPORT_RESET[: chain.room])
            queue.push(chain, len(TRANSPORT_RESET))

    def close(self) -> None:
        self.restored()
        self._gate_end()

    def join(self) -> None:
        self.gate.join()

    # Moments

    def twin(self) -> Vsock:
        return Vsock(ClosedGate(), self.cid)

    def restored(self) -> None:
        """Connections are no state."""
        for it in list(self.connections.values()):
            self._end(it, tell=False)
        for pipe in self._asking.values():
            self.gate.forget(pipe.socket)
        self._asking.clear()
        self._out.clear()

    def load_state(self, state: Mapping[str, Any]) -> None:
        super().load_state(state)
        self._was_reset = self.running
        self.serve_now(self.queues[EVENT])


def _write(chain: Chain, data: bytes) -> None:
    for place in cut(chain.writable, 0, len(data)):
        place[:], data = data[: len(place)], data[len(place) :]
