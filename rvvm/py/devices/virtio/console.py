"""Console device (section 5.3): serial lines between guest and host, as many as there are ports.

A port without a name is a console (hvc0), one with a name a byte stream (/dev/virtio-ports/NAME).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from rvvm.py.devices.virtio.function import Function
from rvvm.py.devices.virtio.queue import Queue
from rvvm.py.devices.virtio.ram import ProtocolError
from rvvm.py.devices.virtio.ring import Chain
from rvvm.py.disk import cut
from rvvm.py.register import Register, State
from rvvm.py.stream import MemoryStream, Stream

MULTIPORT, EMERG_WRITE = 1 << 1, 1 << 2  # 5.3.3

# 5.3.6.2: control messages
CONTROL = struct.Struct("<IHH")  # port, event, value
DEVICE_READY, DEVICE_ADD, PORT_READY, CONSOLE_PORT, PORT_OPEN, PORT_NAME = 0, 1, 3, 4, 6, 7

CONTROL_IN, CONTROL_OUT = 2, 3  # queues
UNREAD = 8  # control messages for each port that may wait for the driver
MOST = 4096  # bytes of input at a time
MOST_INPUTS = 64  # in one turn
PIECE = 1 << 16  # bytes of output at a time


@dataclass(frozen=True)
class Port:
    """The host's end of a stream, and what the guest knows it by; no name makes it a console."""

    stream: Stream
    name: str = ""


def queues_of(port: int) -> tuple[int, int]:
    """5.3.2: the numbers of a port's queues, to the guest and from it."""
    return (0, 1) if port == 0 else (2 * port + 2, 2 * port + 3)


class Console(Function, kind=3):
    """What the guest has no buffers for, or nobody there listens to, stays with the stream."""

    cols = Register(0x0, width=2, access="r")
    rows = Register(0x2, width=2, access="r")
    max_nr_ports = Register(0x4, access="r", stored=False)
    emerg_wr = Register(0x8, access="w", stored=False)

    outbox = State[list[bytes]](list, of=bytes)  # control messages for the driver
    open_ports = State(0)  # a set: those that somebody in the guest listens at

    def __init__(self, ports: Sequence[Port]) -> None:
        self.ports = list(ports)
        super().__init__(queues=2 * len(ports) + 2, features=MULTIPORT | EMERG_WRITE)
        for number, port in enumerate(ports):
            port.stream.wake = partial(self.wake, number)

    def on_max_nr_ports_read(self) -> int:
        return len(self.ports)

    def on_emerg_wr_write(self, value: int) -> None:
        """5.3.5: a character of a driver that has no queues yet."""
        self.ports[0].stream.write(bytes([value & 0xFF]))

    def wake(self, number: int) -> None:
        """A stream has input, from any thread."""
        with self.lock:
            self.serve_now(self.queues[queues_of(number)[0]])

    def serve(self, queue: Queue) -> None:
        index = self.queues.index(queue)
        if index == CONTROL_IN:
            self._send_control(queue)
        elif index == CONTROL_OUT:
            self._obey(queue)
        else:
            number = 0 if index < 2 else index // 2 - 1
            (self._output if index % 2 else self._input)(number, queue)

    def close(self) -> None:
        for port in self.ports:
            port.stream.close()

    def join(self) -> None:
        for port in self.ports:
            port.stream.join()

    def twin(self) -> Console:
        """Its streams end in memory: nobody can connect to both."""
        return Console([Port(MemoryStream(), port.name) for port in self.ports])

    # The streams

    def _output(self, number: int, queue: Queue) -> None:
        stream = self.ports[number].stream
        for chain in queue:
            start, stop = queue.progress, queue.progress + PIECE
            stream.write(b"".join(cut(chain.readable, start, stop)))
            if stop < sum([len(view) for view in chain.readable]):
                queue.postpone(chain, stop)
            else:
                queue.push(chain)

    def _input(self, number: int, queue: Queue) -> None:
        stream = self.ports[number].stream
        inputs = 0
        while self._listens(number):
            if inputs == MOST_INPUTS:
                queue.more = True
                return
            inputs += 1
            mark = queue.mark()
            chain = queue.pop()
            if chain is None:
                return
            data = stream.take(min(chain.room, MOST))
            if not data:
                queue.back(mark)
                return
            _fill(chain, data)
            queue.push(chain, len(data))

    def _listens(self, number: int) -> bool:
        return not self.has(MULTIPORT) or bool(self.open_ports >> number & 1)

    # 5.3.6.2: the control queues

    def _tell(self, port: int, event: int, value: int, text: bytes = b"") -> None:
        if len(self.outbox) > UNREAD * len(self.ports):
            raise ProtocolError("asks for more than it reads on the control queue")
        self.outbox.append(CONTROL.pack(port, event, value) + text)

    def _send_control(self, queue: Queue) -> None:
        while self.outbox and (chain := queue.pop()) is not None:
            message = self.outbox.pop(0)
            if len(message) > chain.room:
                raise ProtocolError(f"{chain.room} bytes for a control message of {len(message)}")
            _fill(chain, message)
            queue.push(chain, len(message))

    def _obey(self, queue: Queue) -> None:
        for chain in queue:
            message = b"".join(cut(chain.readable, 0, CONTROL.size))
            if len(message) < CONTROL.size:
                raise ProtocolError(f"a control message of {len(message)} bytes")
            self._control(*CONTROL.unpack(message))
            queue.push(chain)
        self.serve_now(self.queues[CONTROL_IN])

    def _control(self, port: int, event: int, value: int) -> None:
        if event == DEVICE_READY and value == 1:
            for number in range(len(self.ports)):
                self._tell(number, DEVICE_ADD, 1)
        elif port < len(self.ports) and event == PORT_READY and value == 1:
            self._introduce(port)
        elif port < len(self.ports) and event == PORT_OPEN:
            self.open_ports = self.open_ports & ~(1 << port) | (value & 1) << port
            self.serve_now(self.queues[queues_of(port)[0]])

    def _introduce(self, port: int) -> None:
        name = self.ports[port].name
        if name:
            self._tell(port, PORT_NAME, 1, name.encode())
        else:
            self._tell(port, CONSOLE_PORT, 1)
        self._tell(port, PORT_OPEN, 1)


def _fill(chain: Chain, data: bytes) -> None:
    for view in chain.writable:
        piece, data = data[: len(view)], data[len(view) :]
        view[: len(piece)] = piece
