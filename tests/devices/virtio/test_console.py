"""Ports, the messages that introduce them, and bytes both ways."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from devices.virtio.driver import Bench, Placed
from rvvm.py.devices.virtio.console import Console, Port
from rvvm.py.stream import MemoryStream, SocketStream

MULTIPORT = 1 << 1
READY, ADD, PORT_READY, CONSOLE_PORT, OPEN, NAME = 0, 1, 3, 4, 6, 7
LAYOUTS = pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])


class Guest(Bench):
    """A driver of two ports: a console, and one that is called agent."""

    def __init__(self, features: int = MULTIPORT, packed: bool = False) -> None:
        self.streams = [MemoryStream(), MemoryStream()]
        names = ["", "agent"]
        super().__init__(Console([Port(*pair) for pair in zip(self.streams, names, strict=True)]))
        self.start(features, packed)
        self.given: dict[tuple[int, int], Placed] = {}

    def room(self, queue: int, *sizes: int) -> None:
        for size in sizes:
            placed = Placed(self.system, [size])
            self.given[queue, self.queues[queue].add(placed)] = placed
        self.kick(queue)

    def got(self, queue: int) -> list[bytes]:
        done = self.queues[queue].collect()
        return [self.given.pop((queue, identity)).answer(size) for identity, size in done]

    def control(self, port: int, event: int, value: int = 1) -> None:
        assert self.ask([struct.pack("<IHH", port, event, value)], queue=3) == b""

    def told(self) -> list[tuple[int, int, int, bytes]]:
        return [(*struct.unpack_from("<IHH", m), m[8:]) for m in self.got(2)]


@LAYOUTS
def test_ports_are_introduced(packed: bool) -> None:
    it = Guest(packed=packed)
    assert it.guest.load(0x104) == 2 and len(it.queues) == 6
    it.room(2, *[64] * 8)
    it.control(0, READY)
    assert it.told() == [(0, ADD, 1, b""), (1, ADD, 1, b"")]
    it.control(0, PORT_READY)
    it.control(1, PORT_READY)
    assert it.told() == [
        (0, CONSOLE_PORT, 1, b""), (0, OPEN, 1, b""), (1, NAME, 1, b"agent"), (1, OPEN, 1, b""),
    ]  # fmt: skip


@LAYOUTS
def test_bytes_both_ways(packed: bool) -> None:
    it = Guest(packed=packed)
    for port, (inward, outward) in enumerate([(0, 1), (4, 5)]):
        it.ask([b"hello ", b"from the guest"], queue=outward)
        assert it.streams[port].output == b"hello from the guest"
        it.room(inward, 5, 50)
        it.streams[port].send(b"early")
        assert it.got(inward) == [], "nobody there listens yet"
        it.control(port, OPEN)
        assert it.got(inward) == [b"early"]
        it.streams[port].send(b"and later")
        it.streams[port].send(b"more than there are buffers")
        assert it.got(inward) == [b"and later"]
        it.room(inward, 10, 100)
        assert it.got(inward) == [b"more than ", b"there are buffers"]
        it.control(port, OPEN, 0)
        it.room(inward, 10)
        it.streams[port].send(b"x")
        assert it.got(inward) == []


def test_one_port_without_multiport() -> None:
    it = Guest(features=0)
    it.room(0, 10)
    it.streams[0].send(b"typed")
    assert it.got(0) == [b"typed"]
    it.guest.store(0x108, ord("!"))
    assert it.streams[0].output == b"!", "the emergency write"


def test_control_messages_wait_for_room() -> None:
    it = Guest()
    it.control(0, READY)
    assert it.told() == [] and len(it.function.state()["outbox"]) == 2
    it.room(2, 64, 64)
    assert len(it.told()) == 2 and it.function.state()["outbox"] == []


def test_what_a_driver_should_not_do() -> None:
    it = Guest()
    it.control(7, PORT_READY)
    it.control(0xFFFF_FFFF, OPEN)
    it.control(0, 99)
    assert it.broken is None
    it.queues[3].add(Placed(it.system, [b"short"]))
    it.kick(3)
    assert it.broken is not None and "a control message of 5 bytes" in it.broken


def test_a_driver_that_asks_and_never_reads() -> None:
    it = Guest()
    for _ in range(100):
        it.queues[3].add(Placed(it.system, [struct.pack("<IHH", 0, READY, 1)]))
        it.kick(3)
        it.queues[3].collect()
        if it.reports:
            break
    assert it.broken is not None and "asks for more than it reads" in it.broken


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


def test_a_program_at_a_path(tmp_path: Path) -> None:
    path = tmp_path / "console.sock"
    stream = SocketStream(path)
    woken: list[int] = []
    stream.wake = lambda: woken.append(1)
    stream.write(b"nobody hears this")
    for _ in range(2):
        with socket.socket(socket.AF_UNIX) as program:
            program.connect(str(path))
            program.sendall(b"input")
            got = bytearray()

            def take(got: bytearray = got) -> bool:
                got += stream.take(3)
                return bytes(got) == b"input"

            until(take)
            stream.write(b"output")
            assert program.recv(100) == b"output"
        until(lambda: stream._client is None)
    assert woken
    stream.close()
    assert not path.exists()
