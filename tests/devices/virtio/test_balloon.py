"""The balloon: what goes into it is the host's again, and what the guest says of its memory."""

from __future__ import annotations

import struct

import pytest

from devices.virtio.driver import BASE, SIZE, Bench, Placed
from rvvm.py.devices.virtio.balloon import Balloon

LAYOUTS = pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
STATS_VQ, OOM, REPORTING = 1 << 1, 1 << 2, 1 << 5
FIRST = BASE // 4096


def numbers(*pages: int) -> bytes:
    return struct.pack(f"<{len(pages)}I", *pages)


@LAYOUTS
def test_pages_go_in(packed: bool) -> None:
    it = Bench(Balloon()).start(packed=packed)
    it.system.store(BASE + 0x20_0000, b"x" * 0x4000)
    it.ask([numbers(FIRST + 513, FIRST + 512, FIRST + 600), numbers(FIRST + 514, FIRST + 512)])
    assert it.system.discarded == [(BASE + 0x20_0000, 0x3000), (BASE + 600 * 4096, 0x1000)]
    assert it.system.load(BASE + 0x20_2FFF, 2) == b"\0x"
    it.ask([numbers(FIRST + 513)], queue=1)
    it.ask([b""])
    assert len(it.system.discarded) == 2


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        (numbers(FIRST - 1), "4096 bytes at 0x7ffff000 are not in RAM"),
        (numbers(FIRST + SIZE // 4096), "are not in RAM"),
        (numbers(0xFFFF_FFFF), "are not in RAM"),
        (b"abc", "page numbers of 3 bytes"),
        (bytes((1 << 18) + 4), "page numbers of 262148 bytes"),
    ],
)
def test_pages_that_cannot_be(request_: bytes, problem: str) -> None:
    it = Bench(Balloon()).start()
    it.queues[0].add(Placed(it.system, [request_]))
    it.kick()
    assert it.broken is not None and problem in it.broken
    assert it.system.discarded == []


def test_target_and_actual() -> None:
    balloon = Balloon()
    it = Bench(balloon)
    assert (balloon.target, balloon.actual) == (SIZE, SIZE)
    it.start()
    balloon.target = SIZE - 0x10_0000
    assert it.acknowledge() == 2 and it.guest.load(0x100) == 256
    it.guest.store(0x104, 200)
    assert (balloon.target, balloon.actual) == (SIZE - 0x10_0000, SIZE - 200 * 4096)
    state = it.slot.state()
    it.guest.store(0x70, 0)
    assert balloon.actual == SIZE, "a driver begins with nothing"
    assert balloon.target == SIZE - 0x10_0000, "what was asked for remains"
    balloon.target = 2 * SIZE
    assert balloon.target == SIZE
    it.slot.load_state(state)
    assert it.guest.load(0x100) == 256


@LAYOUTS
def test_statistics(packed: bool) -> None:
    balloon = Balloon()
    it = Bench(balloon).start(STATS_VQ, packed)
    assert balloon.statistics == {}
    balloon.ask()  # there is no buffer: nothing happens
    said = struct.pack("<HQHQHQ", 4, 1 << 20, 5, 1 << 40, 99, 7)
    first = it.queues[2].add(Placed(it.system, [said]))
    it.kick(2)
    assert balloon.statistics == {"free": 1 << 20, "total": 1 << 40}
    assert it.queues[2].collect() == [], "it is kept"
    balloon.ask()
    assert it.queues[2].collect() == [(first, 0)] and it.interrupt
    it.queues[2].add(Placed(it.system, [struct.pack("<HQ", 0, 3)]))
    it.kick(2)
    assert balloon.statistics == {"swap_in": 3}
    balloon.ask()
    it.queues[2].collect()
    it.queues[2].add(Placed(it.system, [b"x" * 11]))
    it.kick(2)
    assert it.broken is not None and "statistics of 11 bytes" in it.broken


@LAYOUTS
def test_a_question_that_meets_a_buffer_that_cannot_be(packed: bool) -> None:
    """The driver has not told of it: the host is the first who looks."""
    balloon = Balloon()
    it = Bench(balloon).start(STATS_VQ, packed)
    placed = Placed(it.system, [numbers(1)])
    placed.parts = [(BASE - 0x1000, 4, False)]
    it.queues[2].add(placed)
    balloon.ask()
    assert it.broken is not None and "4 bytes at 0x7ffff000 are not in RAM" in it.broken


@LAYOUTS
@pytest.mark.parametrize("queue", [3, 4])
def test_reported_pages(packed: bool, queue: int) -> None:
    it = Bench(Balloon(reports=True)).start(REPORTING, packed)
    it.system.take(0x800, 0x1000)
    placed = Placed(it.system, [0x4000, 0x1000, 100])
    (first, _, _), *_ = placed.parts
    assert first % 4096 == 0x800
    it.queues[queue].add(placed, indirect=False)
    it.kick(queue)
    assert len(it.queues[queue].collect()) == 1
    assert it.system.discarded == [(first + 0x800, 0x3000)], "whole pages only"


def test_reports_that_were_not_agreed_upon() -> None:
    it = Bench(Balloon())
    assert not it.offered() & REPORTING
    it.start()
    it.ask([0x4000], queue=3)
    assert it.system.discarded == [] and it.broken is None
