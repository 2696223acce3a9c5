"""Frames through the rings, to and from links of every kind."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from devices.virtio.driver import EVENT_IDX, INDIRECT, Bench, Placed
from net.packets import packet
from rvvm.py.devices.virtio.network import Network
from rvvm.py.errors import UserError
from rvvm.py.net.link import LENGTH, Link, Receiver, StreamLink, split_frames, udp_link, unix_link
from rvvm.py.net.offload import Views

WATCHES = pytest.mark.parametrize("watches", [False, True], ids=["thread", "watch"])
LAYOUTS = pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
CSUM, GUEST_CSUM, MTU, MAC, MRG, STATUS = (1 << bit for bit in (0, 1, 3, 5, 15, 16))
GUEST_TSO4, GUEST_TSO6, HOST_TSO4, HOST_TSO6 = (1 << bit for bit in (7, 8, 11, 12))
ADDRESS = bytes.fromhex("525400abcdef")
PLAIN = bytes(12)


class Wire(Link):
    """Keeps what is sent; is told what comes."""

    def __init__(self, headers: bool = False) -> None:
        self.headers = headers  # type: ignore[misc]
        self.accepted: tuple[bool, Sequence[int]] | None = None
        self.sent: list[bytes] = []
        self.full = self.closed = False
        self.rooms = 0
        self.receiver: Receiver | None = None

    def start(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def accept(self, checksums: bool, kinds: Sequence[int]) -> None:
        self.accepted = checksums, kinds

    def send(self, frames: Sequence[Views]) -> bool:
        if not self.full:
            self.sent += [b"".join(views) for views in frames]
        return not self.full

    def room(self) -> None:
        self.rooms += 1

    def close(self) -> None:
        self.closed = True

    def bring(self, *frames: bytes) -> int:
        assert self.receiver is not None
        return self.receiver.receive([memoryview(frame) for frame in frames])


def bench(
    features: int = MRG, packed: bool = False, size: int = 16, headers: bool = False
) -> tuple[Bench, Wire]:
    wire = Wire(headers)
    return Bench(Network(wire, ADDRESS)).start(features, packed, size), wire


def buffers(it: Bench, *sizes: int) -> dict[int, Placed]:
    """Room for frames, by the id of the request."""
    placed = [Placed(it.system, [size]) for size in sizes]
    return {it.queues[0].add(one): one for one in placed}


def collect(it: Bench, given: dict[int, Placed]) -> list[bytes]:
    return [given[identity].answer(size) for identity, size in it.queues[0].collect()]


def test_configuration() -> None:
    it, _ = bench(MAC | STATUS | MTU)
    config = bytes(it.guest.load(0x100 + k, 1) for k in range(12))
    assert config[:6] == ADDRESS and config[6:8] == b"\1\0"
    assert int.from_bytes(config[10:], "little") == 9000
    it.function.disconnect()  # type: ignore[attr-defined]
    assert it.guest.load(0x106, 2) == 0 and it.acknowledge() == 2


@LAYOUTS
def test_frames_go_out(packed: bool) -> None:
    it, wire = bench(MRG | INDIRECT, packed)
    frames = [bytes([n]) * (60 + n) for n in range(3)]
    it.queues[1].add(Placed(it.system, [PLAIN, frames[0]]))
    it.queues[1].add(Placed(it.system, [PLAIN + frames[1][:9], frames[1][9:]]), indirect=True)
    it.queues[1].add(Placed(it.system, [PLAIN[:5], PLAIN[5:] + frames[2]]))
    it.kick(1)
    assert wire.sent == frames
    assert [size for _, size in it.queues[1].collect()] == [0, 0, 0]


@LAYOUTS
def test_frames_wait_while_the_link_is_full(packed: bool) -> None:
    it, wire = bench(MRG, packed)
    wire.full = True
    for n in range(3):
        it.queues[1].add(Placed(it.system, [PLAIN, bytes([n]) * 60]))
    it.kick(1)
    assert it.queues[1].collect() == [] and wire.sent == []
    state, ram = it.slot.state(), bytes(it.system.bytes)
    wire.full = False
    assert wire.receiver is not None
    wire.receiver.writable()
    assert [frame[0] for frame in wire.sent] == [0, 1, 2]
    assert len(it.queues[1].collect()) == 3
    it.system.bytes[:] = ram
    it.slot.load_state(state)
    wire.receiver.writable()
    assert len(wire.sent) == 6, "what waited is part of the state"


@LAYOUTS
def test_what_was_sent_is_told_of_once_a_turn(packed: bool) -> None:
    it, wire = bench(MRG | EVENT_IDX, packed)
    put_off: list[Callable[[], None]] = []
    it.function.later = put_off.append
    for n in range(3):
        it.queues[1].add(Placed(it.system, [PLAIN, bytes([n]) * 60]))
        it.kick(1)
    assert len(wire.sent) == 3 and not it.interrupt
    assert len(it.queues[1].collect()) == 3, "the driver may look itself"
    (tell,) = put_off
    tell()
    assert it.interrupt and it.acknowledge() == 1
    it.queues[1].interrupt_after(2)
    for _ in range(2):
        it.queues[1].add(Placed(it.system, [PLAIN, bytes(60)]))
        it.kick(1)
        put_off.pop()()
    assert it.interrupt, "when it was wanted"
    it.guest.store(0x70, 0)
    it.kick(1)
    assert put_off == [tell]


@LAYOUTS
def test_frames_come_in(packed: bool) -> None:
    it, wire = bench(MRG, packed)
    given = buffers(it, 100, 100, 100)
    assert wire.bring(b"a" * 60, b"b" * 88) == 2
    header = bytes(10) + b"\1\0"
    assert collect(it, given) == [header + b"a" * 60, header + b"b" * 88]
    assert it.interrupt


@LAYOUTS
def test_a_frame_over_several_buffers(packed: bool) -> None:
    it, wire = bench(MRG | EVENT_IDX, packed)
    given = buffers(it, 50, 50, 50, 50)
    frame = bytes(range(120))
    assert wire.bring(frame, frame) == 1, "there is room for one"
    pieces = collect(it, given)
    assert len(pieces) == 3 and b"".join(pieces) == bytes(10) + b"\3\0" + frame
    given |= buffers(it, 200)
    it.kick(0)
    assert wire.rooms > 0 and wire.bring(frame) == 1
    pieces = collect(it, given)
    assert [len(piece) for piece in pieces] == [50, 82], "the one left over, first"
    assert b"".join(pieces) == bytes(10) + b"\2\0" + frame


def test_without_mergeable_buffers() -> None:
    it, wire = bench(0)
    given = buffers(it, 100, 50)
    assert wire.bring(b"a" * 80, b"b" * 80) == 2
    assert collect(it, given) == [bytes(10) + b"\1\0" + b"a" * 80, b""], "too long: it is lost"


def test_nobody_listens() -> None:
    it, wire = bench()
    it.guest.store(0x70, 0)
    assert wire.bring(b"a" * 60) == 1, "lost, and no error"


def checksum(data: bytes) -> int:
    """RFC 1071, word by word."""
    total = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@pytest.mark.parametrize("size", [20, 21, 1480, 8999])
def test_checksums_are_completed(size: int) -> None:
    it, wire = bench(CSUM)
    rng = random.Random(size)
    segment = bytearray(rng.randbytes(size))
    segment[16:18] = pseudo = rng.randbytes(2)
    header = struct.pack("<BBHHHHH", 1, 0, 0, 0, 34, 16, 0)
    it.queues[1].add(Placed(it.system, [header, bytes(34), bytes(segment)]))
    it.kick(1)
    sent = wire.sent[0][34:]
    assert sent[:16] + pseudo + sent[18:] == segment
    # 5.1.6.2: with the pseudo header's sum where the checksum will be, all of it adds up to ones
    assert checksum(pseudo + sent) == 0xFFFF


def test_a_checksum_outside_of_the_frame() -> None:
    it, wire = bench(CSUM)
    header = struct.pack("<BBHHHHH", 1, 0, 0, 0, 60, 3, 0)
    it.queues[1].add(Placed(it.system, [header, bytes(64)]))
    it.kick(1)
    assert wire.sent == [] and len(it.queues[1].collect()) == 1 and it.broken is None


@LAYOUTS
def test_segments_are_cut(packed: bool) -> None:
    it, wire = bench(CSUM | HOST_TSO4, packed)
    whole = packet(4, bytes(range(250)) * 10, 77)
    header = struct.pack("<BBHHHHH", 1, 1, 54, 1000, 34, 16, 0)
    it.queues[1].add(Placed(it.system, [header + whole[:99], whole[99:]]))
    wire.full = True
    it.kick(1)
    assert it.queues[1].collect() == [], "all or none"
    wire.full = False
    it.kick(1)
    assert [frame[54:] for frame in wire.sent] == [whole[54 + k :][:1000] for k in (0, 1000, 2000)]
    assert len(it.queues[1].collect()) == 1


@LAYOUTS
def test_frames_are_joined(packed: bool) -> None:
    it, wire = bench(MRG | GUEST_CSUM | GUEST_TSO4, packed)
    frames = [packet(4, bytes([k]) * 100, 100 * k) for k in range(5)]
    assert wire.accepted == (True, [1])
    given = buffers(it, 300, 300, 300)
    assert wire.bring(*frames[:4], b"x" * 60) == 5
    one, rest, other = collect(it, given)
    assert one[:12] == struct.pack("<BBHHHHH", 1, 1, 54, 100, 34, 16, 2)
    assert (one + rest)[12 + 54 :] == b"".join(bytes([k]) * 100 for k in range(4))
    assert other == bytes([2]) + bytes(9) + b"\1\0" + b"x" * 60
    given = buffers(it, 300)
    assert wire.bring(*frames[:4]) == 0, "no room for all that were joined"


def test_headers_go_through() -> None:
    """To a far end that takes unfinished frames, and from one."""
    it, wire = bench(MRG | CSUM | GUEST_CSUM | HOST_TSO4 | GUEST_TSO4, headers=True)
    header = struct.pack("<BBHHHHH", 1, 1, 54, 1000, 34, 16, 0)
    whole = packet(4, bytes(2500), 77)
    it.queues[1].add(Placed(it.system, [header, whole]))
    it.kick(1)
    assert wire.sent == [header + whole]
    given = buffers(it, 3000)
    assert wire.bring(header + whole) == 1
    assert collect(it, given) == [header[:10] + b"\1\0" + whole]


def test_what_the_guest_does_not_take_is_finished() -> None:
    header = struct.pack("<BBHHHHH", 1, 1, 54, 1000, 34, 16, 0)
    partial = struct.pack("<BBHHHHH", 1, 0, 0, 0, 34, 16, 0)
    whole = packet(4, bytes(2500), 77)
    for features in (MRG, MRG | GUEST_CSUM):
        it, wire = bench(features, headers=True)
        given = buffers(it, *[2000] * 8)
        broken = struct.pack("<BBHHHHH", 1, 99, 54, 1000, 34, 16, 0)
        assert wire.bring(header + whole, broken + whole, partial + whole[:400]) == 3
        frames = collect(it, given)
        assert [len(frame) - 12 for frame in frames] == [1054, 1054, 554, 400]
        assert [frame[0] for frame in frames] == [0, 0, 0, 1 if features & GUEST_CSUM else 0]


def test_a_frame_without_a_header() -> None:
    it, _ = bench()
    it.queues[1].add(Placed(it.system, [b"short"]))
    it.kick(1)
    assert it.broken is not None and "a frame with a header of 5 bytes" in it.broken


def test_a_frame_that_is_too_long() -> None:
    it, wire = bench()
    it.queues[1].add(Placed(it.system, [PLAIN, bytes(70_000)]))
    it.kick(1)
    assert wire.sent == [] and len(it.queues[1].collect()) == 1 and it.broken is None


def test_buffers_that_hold_nothing() -> None:
    it, wire = bench(MRG)
    for _ in range(16):
        it.queues[0].add(Placed(it.system, [b"read only"]))
    wire.bring(b"a" * 60)
    assert it.broken is None, "they ran out"


def test_the_link_ends_with_the_device() -> None:
    wire = Wire()
    device = Network(wire, ADDRESS)
    assert not wire.closed
    del device
    assert wire.closed


# Links


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


class Sink:
    """Takes frames, up to a limit; looks itself whether there are some, or has the link look."""

    def __init__(self, watches: bool = False) -> None:
        self.watches = watches
        self.frames: list[bytes] = []
        self.limit = 1 << 30
        self.writables = self.ends = 0

    def receive(self, frames: Sequence[memoryview]) -> int:
        some = frames[: max(0, self.limit - len(self.frames))]
        self.frames += [bytes(frame) for frame in some]
        return len(some)

    def watch(self, file: int, action: Callable[[], None]) -> bool:
        def look() -> None:
            with contextlib.suppress(ValueError, OSError):  # closed
                select.select([file], [], [])
            action()

        if self.watches:
            threading.Thread(target=look, daemon=True).start()
        return self.watches

    def writable(self) -> None:
        self.writables += 1

    def disconnected(self) -> None:
        self.ends += 1


def one(*parts: bytes) -> list[list[memoryview]]:
    """One frame, in parts."""
    return [[memoryview(part) for part in parts]]


@WATCHES
def test_two_ends_of_a_path(tmp_path: Path, watches: bool) -> None:
    path = tmp_path / "net.sock"
    first, sinks = unix_link(path), [Sink(watches), Sink(watches)]
    first.start(sinks[0])
    assert first.send(one(b"nobody hears this"))
    second = unix_link(path)
    second.start(sinks[1])
    assert second.send(one(b"hello ", b"there"))
    until(lambda: sinks[0].frames == [b"hello there"])
    first.send(one(b"x" * 9014))
    until(lambda: sinks[1].frames == [b"x" * 9014])
    second.close()
    until(lambda: sinks[0].ends == 1)
    first.close()
    third = unix_link(path)
    assert third is not None, "a path that nobody listens at any more is used again"
    third.close()


@WATCHES
def test_a_receiver_without_room_holds_the_sender_back(watches: bool) -> None:
    ours, its = socket.socketpair()
    link, sink = StreamLink(ours), Sink(watches)
    sink.limit = 2
    link.start(sink)
    frames = [bytes([n]) * 3000 for n in range(200)]
    sender = threading.Thread(
        target=its.sendall, args=(b"".join(LENGTH.pack(3000) + f for f in frames),)
    )
    sender.start()
    until(lambda: len(sink.frames) == 2)
    sink.limit = 1 << 30
    link.room()
    until(lambda: sink.frames == frames)
    sender.join(60)
    link.close()


def test_a_full_stream_is_written_later() -> None:
    ours, its = socket.socketpair()
    link, sink = StreamLink(ours), Sink()
    link.start(sink)
    frame = bytes(range(256)) * 36
    count = 0
    while link.send(one(frame)):
        count += 1
    assert not link.send(one(frame))
    got = bytearray()
    while len(got) < count * (4 + len(frame)):
        got += its.recv(1 << 16)
    assert got == (LENGTH.pack(len(frame)) + frame) * count, "none is lost or cut"
    until(lambda: sink.writables == 1)
    assert link.send(one(frame))
    link.close()


@WATCHES
def test_frames_in_pieces(watches: bool) -> None:
    ours, its = socket.socketpair()
    link, sink = StreamLink(ours), Sink(watches)
    link.start(sink)
    data = b"".join(LENGTH.pack(size) + bytes([size]) * size for size in (60, 9, 70))
    for byte in data:
        its.sendall(bytes([byte]))
    until(lambda: sink.frames == [bytes([size]) * size for size in (60, 9, 70)])
    its.close()
    until(lambda: sink.ends == 1)
    link.close()


def test_a_closed_link_reads_no_more() -> None:
    ours, its = socket.socketpair()
    link, sink = StreamLink(ours), Sink()
    told: list[Callable[[], None]] = []
    sink.watch = lambda file, action: not told.append(action)  # type: ignore[method-assign,func-returns-value]
    link.start(sink)
    its.sendall(LENGTH.pack(60) + bytes(60))
    link.close()
    (arrived,) = told
    arrived()
    assert sink.frames == [] and sink.ends == 0


@WATCHES
def test_a_stream_of_something_else_is_given_up(watches: bool) -> None:
    ours, its = socket.socketpair()
    link, sink = StreamLink(ours), Sink(watches)
    link.start(sink)
    its.sendall(b"GET / HTTP/1.1\r\n")
    until(lambda: sink.ends == 1)
    assert split_frames(memoryview(b"\xff\xff\xff\xff")) == ([], -1)


def test_datagrams() -> None:
    ends = []
    for _ in range(2):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            ends.append(probe.getsockname())
    first, second = udp_link(*ends), udp_link(*reversed(ends))
    sink = Sink()
    second.start(sink)
    assert first.send(one(b"a frame, ", b"in two"))
    until(lambda: sink.frames == [b"a frame, in two"])
    with pytest.raises(UserError, match="--netdev socket: .*: Address already in use"):
        udp_link(*ends)
    first.close()
    second.close()


def test_a_path_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--netdev socket: .*: "):
        unix_link(tmp_path / "no" / "such" / "folder")


def test_two_machines_talk(tmp_path: Path) -> None:
    """From the rings of one to the rings of the other."""
    path = tmp_path / "net.sock"
    ends = [Bench(Network(unix_link(path), bytes([2, 0, 0, 0, 0, n]))) for n in range(2)]
    for end in ends:
        end.start(MRG)
    given = buffers(ends[1], 9100, 9100)
    ends[0].queues[1].add(Placed(ends[0].system, [PLAIN, b"z" * 9014]))
    until(lambda: ends[0].function.link._connected)  # type: ignore[attr-defined]
    ends[0].kick(1)
    until(lambda: ends[1].interrupt)
    with ends[1].lock:
        (frame,) = collect(ends[1], given)
    assert frame[12:] == b"z" * 9014
