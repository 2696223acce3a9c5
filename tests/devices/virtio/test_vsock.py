"""Streams between guest and host, packet by packet, typed from section 5.10."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from devices.virtio.driver import Bench, Placed
from rvvm.py.devices.virtio.vsock import Vsock
from rvvm.py.errors import UserError
from rvvm.py.net.gate import Gate

LAYOUTS = pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
HEADER = struct.Struct("<QQIIIHHIII")
REQUEST, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE, CREDIT_REQUEST = range(1, 8)
CID, BUFFER = 7, 1000


class Got(NamedTuple):
    op: int
    own: int
    port: int
    flags: int
    room: int
    forwarded: int
    data: bytes


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


class Guest:
    """A driver with room for packets, and what a socket layer does with them."""

    def __init__(self, path: Path, packed: bool) -> None:
        self.path = path
        self.device = Vsock(Gate(path), CID)
        self.bench = Bench(self.device).start(packed=packed)
        self.given: dict[int, Placed] = {}
        self.early: list[Got] = []  # that a test has not asked for yet
        self.room = 1 << 20
        self.forwarded = 0
        self.offer(8)

    def offer(self, count: int, size: int = BUFFER) -> None:
        with self.bench.lock:
            for _ in range(count):
                placed = Placed(self.bench.system, [44, size - 44])
                self.given[self.bench.queues[0].add(placed)] = placed
            self.bench.kick(0)

    def say(self, op: int, own: int, port: int, data: bytes = b"", **other: int) -> None:
        how = {"src": CID, "dst": 2, "kind": 1, "flags": 0, "size": len(data)} | other
        header = HEADER.pack(
            how["src"], how["dst"], port, own, how["size"], how["kind"], op, how["flags"],
            self.room, self.forwarded,
        )  # fmt: skip
        with self.bench.lock:
            queue = self.bench.queues[1]
            queue.add(Placed(self.bench.system, [header, data] if data else [header]))
            self.bench.kick(1)
            queue.collect()

    def packets(self) -> list[Got]:
        """All that has come."""
        found, self.early = self.early, []
        with self.bench.lock:
            for identity, size in self.bench.queues[0].collect():
                text = self.given.pop(identity).answer(size)
                src, dst, own, port, length, kind, op, flags, room, forwarded = HEADER.unpack(
                    text[:44]
                )
                assert (src, dst, kind) == (2, CID, 1) and length == len(text) - 44
                found.append(Got(op, own, port, flags, room, forwarded, text[44:]))
        return found

    def wait(self) -> Got:
        """The next packet."""
        found: list[Got] = []
        until(lambda: found.extend(self.packets()) or found)
        self.early = found[1:]
        return found[0]


@pytest.fixture(params=[False, True], ids=["split", "packed"])
def guest(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Guest]:
    guest = Guest(tmp_path / "vm.sock", request.param)
    yield guest
    assert guest.bench.broken is None


def listen(guest: Guest, port: int) -> socket.socket:
    end = socket.socket(socket.AF_UNIX)
    end.bind(f"{guest.path}_{port}")
    end.listen(1)
    end.settimeout(10)
    return end


def connect(guest: Guest, text: bytes) -> socket.socket:
    end = socket.socket(socket.AF_UNIX)
    end.connect(str(guest.path))
    end.sendall(text)
    end.settimeout(10)
    return end


def from_guest(guest: Guest, port: int = 5000) -> socket.socket:
    """The host's end of a connection that the guest began."""
    with listen(guest, 99) as listener:
        guest.say(REQUEST, 99, port)
        end, _ = listener.accept()
    os.unlink(f"{guest.path}_99")
    end.settimeout(10)
    got = guest.wait()
    assert (got.op, got.own, got.port) == (RESPONSE, 99, port) and got.room == 1 << 18
    return end


def ended(end: socket.socket) -> bool:
    """Nothing more comes; what was sent to nobody is told as a reset."""
    try:
        return end.recv(1) == b""
    except ConnectionResetError:
        return True


def test_configuration(guest: Guest) -> None:
    assert guest.bench.guest.load(0x100, 8) == CID


def test_from_the_guest(guest: Guest) -> None:
    end = from_guest(guest)
    guest.say(RW, 99, 5000, b"hello ")
    guest.say(RW, 99, 5000, b"host")
    assert end.recv(100) == b"hello host" or end.recv(100) == b"host"
    end.sendall(b"hello guest")
    got = guest.wait()
    assert (got.op, got.own, got.port, got.data) == (RW, 99, 5000, b"hello guest")
    assert got.forwarded == 10
    guest.say(SHUTDOWN, 99, 5000, flags=3)
    assert guest.wait().op == RST and end.recv(1) == b""
    guest.say(RW, 99, 5000, b"too late")
    assert guest.wait().op == RST


def test_nobody_is_there(guest: Guest) -> None:
    guest.say(REQUEST, 99, 5000)
    got = guest.wait()
    assert (got.op, got.own, got.port) == (RST, 99, 5000)


def test_from_the_host(guest: Guest) -> None:
    end = connect(guest, b"CONNE")
    end.sendall(b"CT 80\nat once")
    asked = guest.wait()
    assert (asked.op, asked.port) == (REQUEST, 80) and asked.own >= 1 << 30
    guest.say(RESPONSE, asked.own, 80)
    assert end.recv(100) == b"OK %d\n" % asked.own
    got = guest.wait()
    assert (got.op, got.data) == (RW, b"at once")
    guest.say(RW, asked.own, 80, b"answer")
    assert end.recv(100) == b"answer"
    other = connect(guest, b"CONNECT 80\n")
    assert guest.wait().own != asked.own
    other.close()


def test_refused_by_the_guest(guest: Guest) -> None:
    end = connect(guest, b"CONNECT 80\n")
    guest.say(RST, guest.wait().own, 80)
    assert end.recv(1) == b""


@pytest.mark.parametrize(
    "text", [b"HELLO\n", b"CONNECT\n", b"CONNECT x\n", b"CONNECT 1 2\n", b"C" * 99, b"\n"]
)
def test_other_things_said(guest: Guest, text: bytes) -> None:
    assert ended(connect(guest, text))
    assert guest.packets() == []


def test_half_closed(guest: Guest) -> None:
    end = from_guest(guest)
    end.sendall(b"question")
    end.shutdown(socket.SHUT_WR)
    assert guest.wait().data == b"question"
    got = guest.wait()
    assert (got.op, got.flags) == (SHUTDOWN, 2), "it still receives"
    guest.say(RW, 99, 5000, b"answer")
    guest.say(SHUTDOWN, 99, 5000, flags=2)
    assert end.recv(100) == b"answer" and end.recv(100) == b""
    end.close()
    got = guest.wait()
    assert (got.op, got.flags) == (SHUTDOWN, 3)
    guest.say(RST, 99, 5000)
    assert guest.device.connections == {} and guest.packets() == []


def test_the_host_s_program_ends(guest: Guest) -> None:
    end = from_guest(guest)
    end.sendall(b"x" * 1500)
    end.close()
    found: list[Got] = []
    until(lambda: found.extend(guest.packets()) or (found and found[-1].op == SHUTDOWN))
    assert b"".join(got.data for got in found) == b"x" * 1500 and found[-1].flags & 2
    guest.say(RW, 99, 5000, b"nobody reads this")
    until(lambda: RST in [got.op for got in guest.packets()])


def test_the_host_s_program_ends_without_reading(guest: Guest) -> None:
    end = from_guest(guest)
    piece = bytes(1 << 16)
    while not guest.device.connections[5000, 99].pipe.kept:
        guest.say(RW, 99, 5000, piece)
        guest.bench.system._free -= len(piece)
    guest.say(SHUTDOWN, 99, 5000, flags=2)
    end.close()
    until(lambda: RST in [got.op for got in guest.packets()])
    assert guest.device.connections == {}


def test_credit_of_the_guest(guest: Guest) -> None:
    """5.10.6.3: no more than it has room for, until it says that there is."""
    guest.room = 600
    end = from_guest(guest)
    end.sendall(b"a" * 1000)
    assert guest.wait().data == b"a" * 600
    time.sleep(0.05)
    assert guest.packets() == []
    guest.forwarded = 250
    guest.say(CREDIT_UPDATE, 99, 5000)
    assert guest.wait().data == b"a" * 250
    end.close()
    time.sleep(0.05)
    assert guest.packets() == [], "what was sent comes before the end"
    guest.forwarded = 600
    guest.say(CREDIT_UPDATE, 99, 5000)
    found: list[Got] = []
    until(lambda: found.extend(guest.packets()) or len(found) == 2)
    assert (found[0].data, found[1].op) == (b"a" * 150, SHUTDOWN)


def test_our_credit(guest: Guest) -> None:
    end = from_guest(guest)
    piece, count = bytes(1 << 16), 0
    while guest.device.connections[5000, 99].pipe.kept == b"":
        guest.say(RW, 99, 5000, piece)
        guest.bench.system._free -= len(piece)
        count += 1
    guest.say(CREDIT_REQUEST, 99, 5000)
    updates = guest.packets()
    assert updates[-1].op == CREDIT_UPDATE
    assert count * len(piece) - updates[-1].forwarded <= updates[-1].room
    got = 0
    while got < count * len(piece):
        got += len(end.recv(1 << 20))
    until(lambda: not guest.device.connections[5000, 99].pipe.kept)
    guest.say(CREDIT_REQUEST, 99, 5000)
    assert guest.packets()[-1].forwarded == got
    for _ in range(20):  # more than there is credit for
        guest.say(RW, 99, 5000, piece)
        guest.bench.system._free -= len(piece)
    assert RST in [packet.op for packet in guest.packets()]
    assert guest.device.connections == {}


def test_many_bytes_with_few_buffers(guest: Guest) -> None:
    end = from_guest(guest)
    data = os.urandom(100_000)
    end.setblocking(False)
    sent, got = 0, b""
    while len(got) < len(data):
        with contextlib.suppress(BlockingIOError):
            sent += end.send(data[sent : sent + 5000])
        packets = guest.packets()
        got += b"".join(packet.data for packet in packets)
        guest.offer(len(packets))
    assert got == data


@pytest.mark.parametrize(
    "how",
    [{"kind": 2}, {"dst": 3}, {"op": RW}, {"op": 0}, {"op": 99}, {"op": SHUTDOWN}],
)
def test_what_is_refused(guest: Guest, how: dict[str, int]) -> None:
    op = how.pop("op", REQUEST)
    header = HEADER.pack(CID, how.get("dst", 2), 5, 6, 0, how.get("kind", 1), op, 0, 0, 0)
    with guest.bench.lock:
        guest.bench.ask([header], queue=1)
        ((identity, size),) = guest.bench.queues[0].collect()
    src, dst, own, port, _, _, op, *_ = HEADER.unpack(guest.given.pop(identity).answer(size))
    assert (src, dst, own, port, op) == (how.get("dst", 2), CID, 6, 5, RST)


def test_a_lie_about_who_sends(guest: Guest) -> None:
    guest.say(REQUEST, 99, 5000, src=CID + 1)
    assert guest.packets() == []


def test_answers_that_nobody_asked_for(guest: Guest) -> None:
    end = from_guest(guest)
    guest.say(RESPONSE, 99, 5000)
    assert guest.wait().op == RST and end.recv(1) == b""


def test_a_guest_without_room_for_answers(tmp_path: Path) -> None:
    """5.10.6.1.1: its own packets wait then; once it has room, all are answered."""
    guest = Guest(tmp_path / "vm.sock", packed=False)
    asked = 0
    while guest.bench.queues[1].free:  # type: ignore[union-attr]
        guest.say(RW, 1, asked)
        asked += 1
    assert 256 <= len(guest.device._out) < 300
    answers: list[Got] = []
    while packets := guest.packets():
        answers += packets
        guest.offer(8)
    assert [answer.port for answer in answers] == list(range(asked))


@pytest.mark.parametrize(
    ("buffers", "queue", "problem"),
    [
        ([b"short"], 1, "a packet of 5 bytes"),
        ([HEADER.pack(CID, 2, 1, 1, 9, 1, RW, 0, 0, 0), b"12345678"], 1, "of 9 bytes in 8"),
    ],
)
def test_broken_packets(tmp_path: Path, buffers: list[bytes], queue: int, problem: str) -> None:
    guest = Guest(tmp_path / "vm.sock", packed=False)
    guest.bench.queues[queue].add(Placed(guest.bench.system, buffers))
    guest.bench.kick(queue)
    assert problem in (guest.bench.broken or "")


def test_buffers_too_small(tmp_path: Path) -> None:
    guest = Guest(tmp_path / "vm.sock", packed=False)
    guest.packets()
    bench = Bench(guest.device).start()
    bench.queues[0].add(Placed(bench.system, [20]))
    bench.queues[1].add(Placed(bench.system, [HEADER.pack(CID, 2, 1, 1, 0, 1, RW, 0, 0, 0)]))
    bench.kick(1)
    assert "20 bytes for a packet of 44" in (bench.broken or "")


def test_a_reset_ends_all(guest: Guest) -> None:
    end = from_guest(guest)
    waiting = connect(guest, b"CONN")
    until(lambda: guest.device._asking)
    state = guest.bench.slot.state()
    guest.bench.slot.load_state(state)
    assert ended(end) and ended(waiting) and guest.packets() == []
    event = Placed(guest.bench.system, [4])
    guest.bench.queues[2].add(event)
    guest.bench.kick(2)
    assert guest.bench.queues[2].collect()[0][1] == 4, "5.10.6.7: a transport reset"
    guest.bench.guest.store(0x70, 0)
    with contextlib.suppress(BrokenPipeError):
        assert ended(connect(guest, b"CONNECT 1\n")), "nobody is there"


def test_the_path_goes_with_the_device(tmp_path: Path) -> None:
    path = tmp_path / "vm.sock"
    device = Vsock(Gate(path), CID)
    with pytest.raises(UserError, match="vm.sock: somebody listens there already"):
        Gate(path)
    del device
    assert not path.exists()
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    Gate(path).close()
