"""Both kinds of rings, driven by a driver that was typed from the specification."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from devices.virtio.driver import (
    BASE,
    EVENT_IDX,
    F_INDIRECT,
    F_NEXT,
    F_WRITE,
    INDIRECT,
    NEEDS_RESET,
    SIZE,
    Bench,
    PackedDriver,
    Placed,
    SplitDriver,
)
from rvvm.py.devices.virtio.function import Function
from rvvm.py.devices.virtio.queue import Queue

RING_RESET = 1 << 40
LAYOUTS = pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])


class Echo(Function, kind=0x7F):
    """Writes what it reads, backwards."""

    def __init__(self) -> None:
        self.served = 0
        self.done: Callable[[], object] = lambda: None
        super().__init__(queues=2)

    def serve(self, queue: Queue) -> None:
        for chain in queue:
            rest = data = b"".join(chain.readable)[::-1]
            for view in chain.writable:
                view[: len(rest)] = rest[: len(view)]
                rest = rest[len(view) :]
            queue.push(chain, min(len(data), chain.room))
            self.served += 1
            self.done()


def bench(features: int = 0, packed: bool = False, size: int = 16) -> Bench:
    return Bench(Echo()).start(features, packed, size)


@LAYOUTS
@pytest.mark.parametrize("indirect", [False, True])
def test_requests_come_back(packed: bool, indirect: bool) -> None:
    it = bench(INDIRECT, packed)
    assert it.ask([b"abc", b"defg", 2, 100], indirect=indirect) == b"gfedcba"
    assert it.interrupt and it.acknowledge() == 1 and not it.interrupt
    assert it.ask([b"x", 1], queue=1, indirect=indirect) == b"x"


@LAYOUTS
def test_what_is_done_together_is_seen_together(packed: bool) -> None:
    """A driver looks at its ring whenever it likes, for instance while a frame is put into several
    buffers."""
    it = bench(INDIRECT, packed)
    looks: list[int] = []
    echo = it.function
    assert isinstance(echo, Echo)
    echo.done = lambda: looks.append(len(it.queues[0].collect()))
    for _ in range(4):  # more than the ring has places
        for _ in range(5):
            it.queues[0].add(Placed(it.system, [b"abc", 3]), indirect=True)
        it.kick(0)
        assert looks == [0] * 5 and len(it.queues[0].collect()) == 5
        looks.clear()


@LAYOUTS
@pytest.mark.parametrize("size", [1, 2, 16])
def test_many_rounds(packed: bool, size: int) -> None:
    """Positions wrap, at 16 bits and at the ring's end; batches of any length."""
    it, rng = bench(INDIRECT, packed, size), random.Random(size)
    ring, mark = it.queues[0], it.system._free
    for turn in range(200 if size > 1 else 66_000):
        it.system._free = mark
        batch = []
        room = size
        while room and len(batch) < (rng.randrange(5) if size > 1 else 1):
            parts = rng.randint(1, min(room, 3))
            text = rng.randbytes(rng.randint(1, 9))
            buffers = [text[:1], text[1:]][: max(1, parts - 1)] if parts > 1 else [text]
            wanted = b"".join(buffers)[::-1] if parts > 1 else b""
            placed = Placed(it.system, [*buffers, *([20] if parts > 1 else [])])
            batch.append((ring.add(placed), placed, wanted))
            room -= len(placed.parts)
        it.kick()
        done = dict(ring.collect())
        for identity, placed, wanted in batch:
            assert placed.answer(done.pop(identity)) == wanted, turn
        assert not done
    assert it.broken is None


@LAYOUTS
def test_the_core_is_told_of_what_was_written(packed: bool) -> None:
    it = bench(0, packed)
    placed = Placed(it.system, [b"abcdef", 4, 4, 4])
    it.queues[0].add(placed)
    it.system.told.clear()
    it.kick()
    (_, first, second, _) = [at for at, _, _ in placed.parts]
    assert it.system.told == [(first, 4), (second, 2)]


@LAYOUTS
def test_a_driver_that_wants_no_interrupts(packed: bool) -> None:
    it = bench(0, packed)
    it.queues[0].no_interrupts()
    assert it.ask([b"ab", 2]) == b"ba"
    assert not it.interrupt


@LAYOUTS
def test_one_interrupt_for_a_batch(packed: bool) -> None:
    it = bench(0, packed)
    raised: list[bool] = []
    it.slot.irq.connect(raised.append)
    for _ in range(5):
        it.queues[0].add(Placed(it.system, [b"ab", 2]))
    it.kick()
    assert len(it.queues[0].collect()) == 5 and raised == [True]


@LAYOUTS
def test_event_index(packed: bool) -> None:
    """An interrupt when the request that the driver named is done; 300 rounds, for the wraps."""
    it = bench(EVENT_IDX, packed, size=4)
    ring = it.queues[0]
    for _ in range(300):
        mark = it.system._free
        ring.interrupt_after(3)
        for number in range(1, 4):
            assert not it.interrupt
            ring.add(Placed(it.system, [b"a"]))
            assert ring.kick_wanted()
            it.kick()
            assert it.interrupt == (number == 3)
        assert len(ring.collect()) == 3
        it.acknowledge()
        it.system._free = mark


@LAYOUTS
def test_nothing_is_served_before_the_driver_is_ready(packed: bool) -> None:
    it = bench(0, packed)
    it.negotiate(1 << 32 | (packed << 34))
    ring = (PackedDriver if packed else SplitDriver)(it.system, 16)
    it.place(0, 16, ring.places)
    ring.add(Placed(it.system, [b"a"]))
    it.kick()
    assert it.function.served == 0  # type: ignore[attr-defined]
    it.guest.store(0x70, it.status | 4)
    assert len(ring.collect()) == 1, "what waited is served at once"


@LAYOUTS
def test_state_comes_back_in_the_middle(packed: bool) -> None:
    it = bench(EVENT_IDX, packed, size=4)
    for _ in range(7):
        it.ask([b"ab", 2])
    state = it.slot.state()
    other = Echo()
    moved = Bench(other)
    moved.system.bytes[:] = it.system.bytes
    moved.slot.load_state(state)
    assert moved.slot.state() == state and moved.slot.diff(state) == {}
    moved.queues, moved.system._free = it.queues, it.system._free
    for ring in moved.queues:
        ring.system = moved.system
    assert moved.ask([b"cd", 2]) == b"dc"


# What no driver should do


def hostile(it: Bench, says: str) -> None:
    """The device has stopped, with one line; a reset makes it work again."""
    assert it.broken is not None and says in it.broken and "\n" not in it.broken
    assert it.acknowledge() & 2, "a change of the configuration is announced"
    it.kick()
    assert len(it.reports) == 1, "and no more than that"
    packed = isinstance(it.queues[0], PackedDriver)
    assert it.start(INDIRECT, packed).ask([b"ab", 2]) == b"ba"


TOP = BASE + SIZE
BAD_CHAINS = {
    "outside": ([(0x1000, 4, 0)], "4 bytes at 0x1000 are not in RAM"),
    "over the end": ([(TOP - 2, 4, F_WRITE)], "are not in RAM"),
    "wrapping": ([((1 << 64) - 2, 4, 0)], "are not in RAM"),
    "huge": ([(BASE, 0xFFFF_FFFF, F_WRITE)], "are not in RAM"),
    "order": ([(BASE, 4, F_WRITE | F_NEXT), (BASE, 4, 0)], "comes after one to be written"),
    "table outside": ([(TOP, 16, F_INDIRECT)], "are not in RAM"),
    "table of part of a descriptor": ([(BASE, 24, F_INDIRECT)], "an indirect table of 24 bytes"),
    "table of nothing": ([(BASE, 0, F_INDIRECT)], "an indirect table of 0 bytes"),
    "table that is huge": ([(BASE, 16 * 2000, F_INDIRECT)], "an indirect table of 32000 bytes"),
    "table and next": ([(BASE, 16, F_INDIRECT | F_NEXT), (BASE, 4, 0)], "where none may be"),
}


@LAYOUTS
@pytest.mark.parametrize("case", BAD_CHAINS)
def test_bad_chains(packed: bool, case: str) -> None:
    rows, says = BAD_CHAINS[case]
    it = bench(INDIRECT, packed)
    ring = it.queues[0]
    if isinstance(ring, SplitDriver):
        for index, (address, size, flags) in enumerate(rows):
            ring.descriptor(index, address, size, flags, index + 1)
        ring.offer(0)
    else:
        for index, (address, size, flags) in reversed(list(enumerate(rows))):
            it.system.put("QIHH", ring.ring + 16 * index, address, size, 0, flags | 1 << 7)
    it.kick()
    hostile(it, says)


@LAYOUTS
def test_an_indirect_table_that_was_not_negotiated(packed: bool) -> None:
    it = bench(0, packed)
    it.queues[0].add(Placed(it.system, [b"ab", 2]), indirect=True)
    it.kick()
    hostile(it, "where none may be")


def test_a_table_within_a_table() -> None:
    it = bench(INDIRECT)
    ring = it.queues[0]
    assert isinstance(ring, SplitDriver)
    table = it.system.take(16)
    it.system.put("QIHH", table, table, 16, F_INDIRECT, 0)
    ring.descriptor(0, table, 16, F_INDIRECT, 0)
    ring.offer(0)
    it.kick()
    hostile(it, "where none may be")


@LAYOUTS
def test_descriptors_in_a_circle(packed: bool) -> None:
    it = bench(0, packed)
    ring = it.queues[0]
    if isinstance(ring, SplitDriver):
        ring.descriptor(3, BASE, 4, F_NEXT, 3)
        ring.offer(3)
    else:
        for index in range(ring.size):
            it.system.put("QIHH", ring.ring + 16 * index, BASE, 4, 0, F_NEXT | 1 << 7)
    it.kick()
    hostile(it, "go round in a circle")


def test_an_indirect_table_in_a_circle() -> None:
    it = bench(INDIRECT)
    ring = it.queues[0]
    assert isinstance(ring, SplitDriver)
    table = it.system.take(32)
    it.system.put("QIHH", table, BASE, 4, F_NEXT, 1)
    it.system.put("QIHH", table + 16, BASE, 4, F_NEXT, 0)
    ring.descriptor(0, table, 32, F_INDIRECT, 0)
    ring.offer(0)
    it.kick()
    hostile(it, "go round in a circle")


@pytest.mark.parametrize("index", [16, 17, 0xFFFF])
def test_indices_beyond_the_table(index: int) -> None:
    it = bench()
    ring = it.queues[0]
    assert isinstance(ring, SplitDriver)
    ring.offer(index)
    it.kick()
    hostile(it, f"descriptor {index} of a table of 16")
    ring = it.queues[0]
    assert isinstance(ring, SplitDriver)
    ring.descriptor(0, BASE, 4, F_NEXT, index)
    ring.offer(0)
    it.reports.clear()
    it.kick()
    assert it.broken is not None and f"descriptor {index} of a table of 16" in it.broken


@pytest.mark.parametrize("index", [17, 0x8000, 0xFFFF])
def test_an_available_index_that_runs_away(index: int) -> None:
    it = bench()
    ring = it.queues[0]
    assert isinstance(ring, SplitDriver)
    it.system.put("H", ring.avail + 2, index)
    it.kick()
    hostile(it, f"avail.idx went from 0 to {index} in a ring of 16")


@pytest.mark.parametrize(
    ("size", "moves", "says"),
    [
        (16, (1, 0, 0), "descriptor table at"),
        (16, (0, 1, 0), "available ring at"),
        (16, (0, 0, 2), "used ring at"),
        (16, (0, TOP, 0), "are not in RAM"),
        (16, (1 << 40, 0, 0), "are not in RAM"),
        (12, (0, 0, 0), "a split ring of 12 descriptors"),
        (0, (0, 0, 0), "a size of 0"),
        (512, (0, 0, 0), "a size of 512; at most 256"),
    ],
)
def test_a_split_queue_that_cannot_be(size: int, moves: tuple[int, ...], says: str) -> None:
    it = Bench(Echo())
    it.negotiate(1 << 32)
    ring = SplitDriver(it.system, 16)
    it.place(0, size, [at + move for at, move in zip(ring.places, moves, strict=True)])
    assert it.guest.load(0x44) == 0
    assert it.broken is not None and says in it.broken
    assert it.start().ask([b"ab", 2]) == b"ba"


@pytest.mark.parametrize("moves", [(8, 0, 0), (0, 2, 0), (0, 0, 1), (0, 0, SIZE)])
def test_a_packed_queue_that_cannot_be(moves: tuple[int, ...]) -> None:
    it = Bench(Echo())
    it.negotiate(1 << 32 | 1 << 34)
    ring = PackedDriver(it.system, 16)
    it.place(0, 16, [at + move for at, move in zip(ring.places, moves, strict=True)])
    assert it.guest.load(0x44) == 0 and it.broken is not None


def test_a_packed_ring_of_any_size() -> None:
    it = bench(0, packed=True, size=11)
    for _ in range(50):
        assert it.ask([b"abc", 1, 2]) == b"cba"


def test_requests_of_very_many_descriptors() -> None:
    it = bench(INDIRECT)
    buffers = [b"a"] * 1023
    assert it.ask([*buffers, 1], indirect=True) == b"a"
    it.queues[0].add(Placed(it.system, [*buffers, 1, 1]), indirect=True)
    it.kick()
    hostile(it, "an indirect table of 16400 bytes")


@LAYOUTS
@pytest.mark.parametrize("seed", range(8))
def test_random_rings(packed: bool, seed: int) -> None:
    """Rings full of noise: at worst the device stops. Enough of it is valid to get far."""
    rng = random.Random(seed)
    stopped = 0
    it = bench(INDIRECT | EVENT_IDX, packed)
    for _ in range(400):
        if it.status & NEEDS_RESET:
            it.reports.clear()
            it.system._free = BASE + 0x1000
            it.start(INDIRECT | EVENT_IDX, packed)
            stopped += 1
        for area in it.queues[0].places:
            for _ in range(rng.randrange(12)):
                at = area + rng.randrange(200)
                it.system.store(at, rng.choice((b"\0", b"\1", b"\x80", rng.randbytes(2))))
        queue = it.function.queues[0]
        assert queue.ring is not None or it.status & NEEDS_RESET
        place = rng.choice((rng.randrange(16), queue.ring.state()[0] % 16 if queue.ring else 0))
        address, size = BASE + rng.randrange(SIZE), rng.choice((0, 16, 64, 4096))
        flags = rng.randrange(8)
        row = (
            (rng.randrange(16), flags | rng.choice((1 << 7, 1 << 15)))
            if packed
            else (flags, rng.randrange(16))
        )
        it.system.put("QIHH", it.queues[0].places[0] + 16 * place, address, size, *row)
        it.kick()
        it.acknowledge()
    assert stopped > 10


@LAYOUTS
def test_a_queue_is_reset_alone(packed: bool) -> None:
    """2.6.1: it can be had again, elsewhere and of another size; the others go on."""
    it = bench(RING_RESET, packed)
    for text in (b"one", b"two"):
        it.ask([text, 9], queue=1)
    it.guest.store(0x30, 1)
    it.guest.store(0xC0, 1)
    assert it.guest.load(0xC0) == 0 and it.guest.load(0x44) == 0
    it.queues[1].add(Placed(it.system, [b"lost", 9]))
    it.kick(1)
    assert it.queues[1].collect() == []
    assert it.ask([b"abc", 9]) == b"cba"
    it.queues[1] = (PackedDriver if packed else SplitDriver)(it.system, 8)
    it.place(1, 8, it.queues[1].places)
    assert it.ask([b"abc", 9], queue=1) == b"cba" and it.broken is None


def test_a_queue_is_not_reset_unless_that_was_agreed_upon() -> None:
    it = bench()
    it.guest.store(0x30, 1)
    it.guest.store(0xC0, 1)
    assert it.guest.load(0x44) == 1 and it.ask([b"abc", 9], queue=1) == b"cba"
