"""What a request may cost: one chain can name the same RAM many times, a ring can be filled while
it is served, and neither takes the host's memory nor keeps a machine from pausing."""

from __future__ import annotations

import os
import struct
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from devices.virtio.driver import BASE, INDIRECT, SIZE, Bench, Placed, System
from devices.virtio.fuzz import DEVICES
from rvvm.py import disk as disks
from rvvm.py.devices.virtio import balloon as balloons
from rvvm.py.devices.virtio import network as networks
from rvvm.py.devices.virtio.balloon import Balloon
from rvvm.py.devices.virtio.block import FLUSH_WORK, PIECE_OF_RANGES, RANGE_WORK, Block
from rvvm.py.devices.virtio.console import PIECE as PIECE_OF_OUTPUT
from rvvm.py.devices.virtio.console import Console, Port
from rvvm.py.devices.virtio.entropy import MOST, Entropy
from rvvm.py.devices.virtio.function import MOST_REPORTS, Function
from rvvm.py.devices.virtio.queue import WORK
from rvvm.py.devices.virtio.ring import MAX_CHAIN, Chain
from rvvm.py.disk import CLUSTER, open_disk
from rvvm.py.ninep import Server
from rvvm.py.share import open_folder
from rvvm.py.stream import MemoryStream
from share.client import text

IN, OUT, FLUSH, DISCARD, ZEROES = 0, 1, 4, 11, 13
OK, IOERR = b"\0", b"\1"
F_FLUSH, F_DISCARD, F_ZEROES, F_PAGE_REPORTING = (1 << bit for bit in (9, 13, 14, 5))
DATA, HALF = BASE + SIZE // 2, SIZE // 2  # RAM without the rings
TIMES = 64  # how often a request names it
LARGE = TIMES * HALF
LITTLE = 3 * WORK  # of the host's memory, for anything that a guest asks for
LAYOUTS = pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])


class Parts(Placed):
    """A request of these buffers, wherever they are."""

    def __init__(self, system: System, parts: Sequence[tuple[int, int, bool]]) -> None:
        self.system, self.parts = system, list(parts)


def header(kind: int, sector: int = 0) -> bytes:
    return struct.pack("<IIQ", kind, 0, sector)


def request(it: Bench, head: bytes, writes: bool, tail: int = 0, times: int = TIMES) -> Parts:
    """A header, the same RAM again and again, and room for a status."""
    first = Placed(it.system, [head]).parts if head else []
    last = Placed(it.system, [tail]).parts if tail else []
    return Parts(it.system, [*first, *[(DATA, HALF, writes)] * times, *last])


@contextmanager
def little_memory(most: int = LITTLE) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < most


class Moved:
    """How many bytes a patched call of os has moved."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
        self.bytes = self.calls = 0
        for name in names:
            monkeypatch.setattr(os, name, self._counting(getattr(os, name)))

    def _counting(self, call: Callable[..., int]) -> Callable[..., int]:
        def counted(*arguments: Any) -> int:
            count = call(*arguments)
            self.bytes, self.calls = self.bytes + count, self.calls + 1
            return count

        return counted

    def take(self) -> int:
        moved, self.bytes, self.calls = self.bytes, 0, 0
        return moved


def block(folder: Path, size: int = LARGE, **how: Any) -> Bench:
    image = folder / "disk.img"
    with image.open("wb") as file:
        file.write(b"begin".ljust(CLUSTER, b"."))
        file.truncate(size)
    it = Bench(Block(open_disk(image, **how)))
    it.by_turns = True
    return it


# A block device


@LAYOUTS
@pytest.mark.parametrize("kind", [IN, OUT])
def test_a_long_request_is_done_in_pieces(
    tmp_path: Path, kind: int, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = block(tmp_path)
    it.start(F_FLUSH | INDIRECT, packed)
    long = request(it, header(kind), kind == IN, 1)
    status = long.parts[-1][0]
    short = Placed(it.system, [header(FLUSH), 1])
    it.system.store(status, b"\xee")
    it.queues[0].add(long, indirect=True)
    it.queues[0].add(short)
    moved, turns = Moved(monkeypatch, "preadv", "pwritev"), 0
    with little_memory():
        it.kick()
        while it.end_turn():
            assert 0 < moved.take() <= 2 * WORK, "and no more in a turn"
            assert it.queues[0].collect() == [] and it.system.load(status, 1) == b"\xee"
            turns += 1
    assert turns == LARGE // WORK - 1
    assert it.interrupt and len(it.queues[0].collect()) == 2, "in their order, and then"
    assert it.system.load(status, 1) == OK == short.answer(1)


def test_what_a_long_read_has_written_is_told(tmp_path: Path) -> None:
    """Code decoded from there is stale, also when the driver resets the device before the end."""
    it = block(tmp_path)
    it.start(INDIRECT)
    it.queues[0].add(request(it, header(IN), True, 1), indirect=True)
    it.kick()
    it.end_turn()
    assert it.system.told == [(DATA, WORK)]
    it.end_turn()
    assert it.system.told[1:] == [(DATA, WORK)]
    it.guest.store(0x70, 0)
    assert not it.end_turn() and len(it.system.told) == 2
    it.by_turns = False
    it.start()
    assert it.ask([header(IN), 512, 1])[-1:] == OK, "nothing is left of it"


def test_all_of_a_long_read_is_told_once(tmp_path: Path) -> None:
    it = block(tmp_path)
    it.start(INDIRECT)
    long = request(it, header(IN), True, 1, times=3)
    it.queues[0].add(long, indirect=True)
    it.kick()
    while it.end_turn():
        pass
    assert it.system.told == [*[(DATA, WORK)] * 3, (long.parts[-1][0], 1)]


@LAYOUTS
def test_a_long_request_in_a_machine_that_was_loaded(tmp_path: Path, packed: bool) -> None:
    it = block(tmp_path)
    it.start(INDIRECT, packed)
    it.queues[0].add(request(it, header(IN), True, 1, times=8), indirect=True)
    it.kick()
    it.end_turn()
    it.end_turn()
    other = block(tmp_path)
    other.system.bytes[:] = it.system.bytes
    other.slot.load_state(it.slot.state())
    done = 2 * WORK
    while other.end_turn():
        done += WORK
    ring = it.queues[0]
    ring.system = other.system
    assert done + WORK == 8 * HALF and len(ring.collect()) == 1
    assert other.function.state()["unfinished"] == []


def test_a_request_that_becomes_shorter_while_it_is_done(tmp_path: Path) -> None:
    it = block(tmp_path)
    it.start()
    asked = Parts(
        it.system,
        request(it, header(IN), True, 1, times=2).parts,
    )
    it.queues[0].add(asked)
    it.kick()
    it.end_turn()
    table = it.queues[0].places[0]
    for place in range(16):
        (at, size) = it.system.get("QI", table + 16 * place)
        if size == HALF:
            it.system.put("QI", table + 16 * place, at, 512)
    it.end_turn()
    assert len(it.queues[0].collect()) == 1 and it.system.load(asked.parts[-1][0], 1) == OK


def test_many_requests_are_done_in_several_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = block(tmp_path)
    it.start(INDIRECT, size=256)
    for _ in range(256):
        parts = request(it, header(IN), True, 1, times=0).parts
        parts.insert(1, (DATA, WORK // 4, True))
        it.queues[0].add(Parts(it.system, parts), indirect=True)
    moved = Moved(monkeypatch, "preadv")
    it.kick()
    while it.end_turn():
        assert moved.take() <= WORK
    assert len(it.queues[0].collect()) == 256


def test_flushes_are_done_in_several_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    it, synced = block(tmp_path, 1 << 20, commit=True), []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    it.start(F_FLUSH, size=256)
    for _ in range(100):
        it.queues[0].add(Placed(it.system, [header(FLUSH), 1]))
    it.kick()
    before = 0
    while it.end_turn():
        assert len(synced) - before <= WORK // FLUSH_WORK
        before = len(synced)
    assert len(synced) == 100


@pytest.mark.parametrize("kind", [DISCARD, ZEROES])
@pytest.mark.parametrize("commit", [False, True])
def test_ranges_are_done_in_pieces(
    tmp_path: Path, kind: int, commit: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 GB of a disk, in ranges of 4 GiB less a sector."""
    it = block(tmp_path, 40 << 30, commit=commit)
    it.start(F_FLUSH | F_DISCARD | F_ZEROES)
    calls: list[tuple[int, int]] = []

    def allocate(file: int, mode: int, offset: int, size: int) -> bool:
        calls.append((offset, size))
        return True

    monkeypatch.setattr(disks, "_allocate", allocate)
    most = (1 << 23) - 1
    ranges = [(most * k, most, 0) for k in range(9)]
    data = b"".join(struct.pack("<QII", *row) for row in ranges)
    it.queues[0].add(Placed(it.system, [header(kind), data, 1]))
    done: list[tuple[int, int]] = []
    with little_memory(8 << 20):
        it.kick()
        while it.end_turn():
            assert sum(size for _, size in calls) <= PIECE_OF_RANGES
            assert len(calls) <= WORK // RANGE_WORK
            done += calls
            calls.clear()
    done += calls
    assert len(it.queues[0].collect()) == 1
    at = 0
    for offset, size in done:
        assert offset == at
        at += size
    assert at == 9 * most * 512


def test_discard_over_a_fragmented_overlay(tmp_path: Path) -> None:
    """Every second cluster is written: one call, and nothing else is touched."""
    it = block(tmp_path, 64 << 20)
    disk = it.function.disk  # type: ignore[attr-defined]
    for cluster in range(0, 2048, 2):
        disk.write([memoryview(b"new".ljust(CLUSTER, b"!"))], cluster * CLUSTER)
    disk.discard(CLUSTER, 2048 * CLUSTER)
    seen = memoryview(bytearray(4 * CLUSTER))
    disk.read([seen], 0)
    assert seen[:CLUSTER] == b"new".ljust(CLUSTER, b"!") and not any(seen[CLUSTER:])


class Counting(bytearray):
    """Counts the bytes that are looked at."""

    looked = 0

    def __getitem__(self, where: Any) -> Any:
        found = super().__getitem__(where)
        if isinstance(where, slice):
            Counting.looked += len(found)
        return found


def test_a_fragmented_overlay_is_read_in_linear_time(tmp_path: Path) -> None:
    it = block(tmp_path, 256 << 20)
    disk = it.function.disk  # type: ignore[attr-defined]
    clusters = disk.size // CLUSTER
    disk._where = Counting(bytes((0, 1)) * (clusters // 2))
    Counting.looked = 0
    runs = list(disk._runs(0, disk.size))
    assert len(runs) == clusters and Counting.looked < 80 * clusters
    disk._where = Counting(bytes(clusters))
    assert list(disk._runs(512, disk.size - 512)) == [(0, 512, disk.size - 512)]


# Others


@LAYOUTS
def test_console_output_is_written_in_pieces(packed: bool) -> None:
    class Listener(MemoryStream):
        def write(self, data: bytes) -> None:
            sizes.append(len(data))

    sizes: list[int] = []
    it = Bench(Console([Port(Listener())]))
    it.by_turns = True
    it.start(INDIRECT, packed)
    it.queues[1].add(request(it, b"", False, times=2), indirect=True)
    turns = 1
    with little_memory():
        it.kick(1)
        while not it.queues[1].collect():
            assert len(sizes) == turns
            it.end_turn()
            turns += 1
    assert sizes == [PIECE_OF_OUTPUT] * (2 * HALF // PIECE_OF_OUTPUT)


def test_output_in_a_machine_that_was_loaded() -> None:
    """No byte is written twice, and none is lost."""
    it, other = (Bench(Console([Port(MemoryStream())])) for _ in range(2))
    it.by_turns = other.by_turns = True
    it.start()
    data = bytes(k % 251 for k in range(5 * PIECE_OF_OUTPUT + 3))
    it.queues[1].add(Placed(it.system, [data[:100], data[100:]]))
    it.kick(1)
    it.end_turn()
    other.system.bytes[:] = it.system.bytes
    other.slot.load_state(it.slot.state())
    while other.end_turn():
        pass
    streams = [bench.function.ports[0].stream for bench in (it, other)]  # type: ignore[attr-defined]
    assert streams[0].output + streams[1].output == data


def test_a_long_control_message(tmp_path: Path) -> None:
    it = Bench(Console([Port(MemoryStream())]))
    it.start(1 << 1 | INDIRECT)
    with little_memory():
        it.queues[3].add(request(it, struct.pack("<IHH", 0, 0, 1), False), indirect=True)
        it.kick(3)
    assert len(it.queues[3].collect()) == 1 and it.broken is None


@pytest.mark.parametrize("queue", [0, 2])
def test_long_requests_of_a_balloon(queue: int) -> None:
    it = Bench(Balloon())
    it.start(1 << 1 | INDIRECT)
    with little_memory():
        it.queues[queue].add(request(it, b"", False), indirect=True)
        it.kick(queue)
    assert it.broken is not None


def test_page_numbers_are_looked_at_in_pieces() -> None:
    it = Bench(Balloon())
    it.by_turns = True
    it.start()
    numbers = [BASE // 4096 + 512 + k % 500 for k in range(1 << 16)]
    it.queues[0].add(Placed(it.system, [struct.pack(f"<{len(numbers)}I", *numbers)]))
    it.kick()
    turns = 1
    while not it.queues[0].collect():
        it.end_turn()
        turns += 1
    assert turns == len(numbers) // balloons.NUMBERS_AT_ONCE
    assert sum(size for _, size in it.system.discarded) == turns * 500 * 4096


def test_reported_pages_are_discarded_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balloons, "BYTES_AT_ONCE", 1 << 20)
    it = Bench(Balloon(reports=True))
    it.by_turns = True
    it.start(F_PAGE_REPORTING | INDIRECT)
    half = (DATA + 100, HALF - 100, True)
    it.queues[3].add(Parts(it.system, [half] * 3), indirect=True)
    it.kick(3)
    pieces = []
    while not it.queues[3].collect():
        pieces.append(sum(size for _, size in it.system.discarded) - sum(pieces))
        it.end_turn()
    assert pieces == [1 << 20] * 5
    assert sum(size for _, size in it.system.discarded) == 3 * (HALF - 4096)


def test_a_long_request_for_random_bytes() -> None:
    it = Bench(Entropy())
    it.start(INDIRECT)
    with little_memory():
        it.queues[0].add(request(it, b"", True), indirect=True)
        it.kick()
    ((_, written),) = it.queues[0].collect()
    assert written == MOST


def test_a_frame_that_is_too_long() -> None:
    it = Bench(DEVICES["network"](Path()))
    it.start(INDIRECT)
    with little_memory():
        it.queues[1].add(request(it, bytes(12), False), indirect=True)
        it.kick(1)
    assert len(it.queues[1].collect()) == 1 and it.broken is None


def test_buffers_for_a_frame_that_hold_nothing() -> None:
    it = Bench(DEVICES["network"](Path()))
    it.start(1 << 15 | INDIRECT, size=256)
    empty = Parts(it.system, [(BASE, 0, True)] * MAX_CHAIN)
    for _ in range(networks.MOST_DESCRIPTORS // MAX_CHAIN + 1):
        it.system._free = BASE + SIZE // 2
        it.queues[0].add(empty, indirect=True)
    it.function.link.bring(bytes(60))  # type: ignore[attr-defined]
    assert it.broken is not None and "hold nothing" in it.broken


def test_a_long_packet_of_a_vsock(tmp_path: Path) -> None:
    it = Bench(DEVICES["vsock"](tmp_path))
    it.start(INDIRECT)
    head = struct.pack("<QQIIIHHIII", 5, 2, 1, 1, LARGE, 1, 5, 0, 0, 0)
    with little_memory():
        it.queues[1].add(request(it, head, False), indirect=True)
        it.kick(1)
    it.function.gate.close()  # type: ignore[attr-defined]
    assert len(it.queues[1].collect()) == 1


def test_a_long_message_to_a_shared_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """9P: no message is longer than both have agreed."""
    (tmp_path / "file").write_bytes(b"")
    from rvvm.py.devices.virtio.shared_folder import SharedFolder

    it = Bench(SharedFolder(Server(open_folder(tmp_path, read_only=False)), "tag"))
    it.start(INDIRECT)
    moved = Moved(monkeypatch, "pwritev", "preadv")

    def ask(kind: int, body: bytes) -> bytes:
        return it.ask([struct.pack("<IBH", 7 + len(body), kind, 1) + body, 8192])

    ask(100, struct.pack("<I", 1 << 19) + text("9P2000.L"))
    ask(104, struct.pack("<II", 0, 0xFFFF_FFFF) + text("") + text("") + bytes(4))
    ask(110, struct.pack("<IIH", 0, 1, 1) + text("file"))
    ask(12, struct.pack("<II", 1, 2))
    head = struct.pack("<IBHIQI", 23 + LARGE, 118, 1, 1, 0, LARGE)
    with little_memory():
        asked = request(it, head, False, 100)
        it.queues[0].add(asked, indirect=True)
        it.kick()
    assert moved.bytes == 0 and it.system.load(asked.parts[-1][0] + 4, 1) == b"\7", "Rlerror"


# A ring that is filled while it is served


class Endless:
    """A ring with one request more, always."""

    size = 256

    def __init__(self, make: Callable[[], Chain]) -> None:
        self.make, self.popped = make, 0

    def pop(self) -> Chain:
        self.popped += 1
        assert self.popped < 100_000
        return self.make()

    def mark(self) -> list[int]:
        return []

    def publish(self) -> bool:
        return False

    def ignore(self, *_: object) -> None:
        pass

    back = push = show = unpop = ignore


def _chain(it: Bench, index: int) -> Chain:
    """A request that most devices take."""
    chain = Chain()
    assert it.function.ram is not None
    page = struct.pack("<I", DATA // 4096)
    it.system.store(DATA, page * 16 if isinstance(it.function, Balloon) else bytes(64))
    for _ in range(4):
        chain.add(it.function.ram, DATA, 20 if isinstance(it.function, Balloon) else 64, 0)
    if index % 2 == 0 or isinstance(it.function, Block):
        chain.add(it.function.ram, DATA + 4096, 513, 2)
    return chain


@pytest.mark.parametrize("name", DEVICES)
def test_a_turns_work_is_bounded(name: str, tmp_path: Path) -> None:
    function: Function = DEVICES[name](tmp_path)
    it = Bench(function)
    it.start(it.offered() & ~(1 << 34))
    it.by_turns = True
    for index, queue in enumerate(function.queues):
        ring = Endless(lambda index=index: _chain(it, index))  # type: ignore[misc]
        queue.ring = ring  # type: ignore[assignment]
        it.kick(index)
        first = ring.popped
        it.end_turn()
        assert first <= 2000 and ring.popped - first <= 2000
        queue.disable()
        it.deferred.clear()
        function._resumes, function._unfinished = False, []
        assert it.broken is None
    if hasattr(function, "gate"):
        function.gate.close()


# What the user hears


def test_a_guest_cannot_print_on_the_users_terminal_for_ever(tmp_path: Path) -> None:
    it = Bench(Entropy())
    for _ in range(3 * MOST_REPORTS):
        it.start()
        it.queues[0].offer(0xFFFF)  # type: ignore[union-attr]
        it.system._free = BASE + 0x1000
        it.kick()
        assert it.status & 64
    assert len(it.reports) == MOST_REPORTS and it.reports[-1].endswith("later is not told")
