"""A disk through its rings: every kind of request, and requests that cannot be."""

from __future__ import annotations

import errno
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devices.virtio.driver import INDIRECT, Bench, Placed
from rvvm.py.devices.virtio.block import EAGER, Block
from rvvm.py.disk import open_disk
from rvvm.py.host import Clock
from rvvm.py.throttle import Throttle

SECTOR = 512
OK, IOERR, UNSUPP = b"\0", b"\1", b"\2"
IN, OUT, FLUSH, GET_ID, DISCARD, ZEROES = 0, 1, 4, 8, 11, 13
F_RO, F_FLUSH, F_WCE, F_MQ, F_DISCARD, F_ZEROES = (1 << bit for bit in (5, 9, 11, 12, 13, 14))
ALL = F_FLUSH | F_DISCARD | F_ZEROES | INDIRECT
SECTORS = 2048


def header(kind: int, sector: int = 0) -> bytes:
    return struct.pack("<IIQ", kind, 0, sector)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(random.Random(1).randbytes(SECTORS * SECTOR))
    return path


class Host(Bench):
    """A block device over an image."""

    def __init__(self, image: Path, queues: int = 1, **how: Any) -> None:
        self.disk = open_disk(image, **how)
        super().__init__(Block(self.disk, queues=queues, serial="a serial number of 20+"))


def host(image: Path, features: int = ALL, **how: Any) -> Host:
    it = Host(image, **how)
    it.start(features & it.offered())
    return it


def test_configuration(image: Path) -> None:
    it = Host(image, queues=4)
    it.start(F_MQ)
    assert it.guest.load(0x100, 8) == SECTORS
    assert it.guest.load(0x122, 2) == 4 == len(it.queues)
    assert it.offered() & (F_MQ | F_RO) == F_MQ
    for queue in range(4):
        assert (
            it.ask([header(IN, queue), SECTOR, 1], queue)[:SECTOR]
            == (image.read_bytes()[queue * SECTOR :][:SECTOR])
        )


@pytest.mark.parametrize("indirect", [False, True])
@pytest.mark.parametrize("commit", [False, True])
def test_read_and_write(image: Path, commit: bool, indirect: bool) -> None:
    before = image.read_bytes()
    it = host(image, commit=commit)
    data = before[SECTOR * 5 :][: SECTOR * 3]
    assert it.ask([header(IN, 5), SECTOR, SECTOR * 2, 1], indirect=indirect) == data + OK
    new = bytes(range(256)) * 4
    assert it.ask([header(OUT, 6), new[:SECTOR], new[SECTOR:], 1], indirect=indirect) == OK
    after = before[: 6 * SECTOR] + new + before[8 * SECTOR :]
    assert it.ask([header(IN), SECTORS * SECTOR, 1], indirect=indirect) == after + OK
    assert image.read_bytes() == (after if commit else before)


def test_buffers_of_any_shape(image: Path) -> None:
    """2.7.4.1: a device must not count on how a request is cut into buffers."""
    it = host(image)
    words = header(OUT, 3) + bytes(SECTOR)
    assert it.ask([words[:5], words[5:20], words[20:], 1]) == OK
    assert it.ask([header(IN, 3)[:1], header(IN, 3)[1:], 100, SECTOR - 99]) == bytes(SECTOR) + OK


def test_the_end_of_the_disk(image: Path) -> None:
    it = host(image)
    assert it.ask([header(IN, SECTORS - 1), SECTOR, 1])[-1:] == OK
    for sector in (SECTORS, SECTORS - 1, 1 << 55, (1 << 64) - 1):
        assert it.ask([header(IN, sector), 2 * SECTOR, 1])[-1:] == IOERR
        assert it.ask([header(OUT, sector), bytes(2 * SECTOR), 1]) == IOERR
    assert it.ask([header(IN), 100, 1])[-1:] == IOERR, "part of a sector"
    assert it.broken is None


def test_identity_and_what_is_not_known(image: Path) -> None:
    it = host(image)
    assert it.ask([header(GET_ID), 20, 1]) == b"a serial number of 2" + OK
    assert it.ask([header(77), 1]) == UNSUPP


def test_flush_reaches_the_disk(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    it = host(image, commit=True)
    assert it.ask([header(OUT), bytes(SECTOR), 1]) == OK and synced == []
    assert it.ask([header(FLUSH), 1]) == OK and len(synced) == 1


@pytest.mark.parametrize("features", [0, F_FLUSH | F_WCE])
def test_write_through(image: Path, monkeypatch: pytest.MonkeyPatch, features: int) -> None:
    """5.2.6.2: a driver that cannot flush, or has switched the cache off."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    it = host(image, features, commit=True)
    it.guest.store(0x120, 0, 1)
    assert it.ask([header(OUT), bytes(SECTOR), 1]) == OK and len(synced) == 1


def test_read_only(image: Path) -> None:
    it = Host(image, read_only=True)
    assert it.offered() & (F_RO | F_DISCARD | F_ZEROES) == F_RO
    it.start()
    assert it.ask([header(IN), SECTOR, 1])[-1:] == OK
    assert it.ask([header(OUT), bytes(SECTOR), 1]) == IOERR
    assert it.ask([header(DISCARD), struct.pack("<QII", 0, 1, 0), 1]) == IOERR


@pytest.mark.parametrize("commit", [False, True])
@pytest.mark.parametrize("unmap", [0, 1])
def test_write_zeroes(image: Path, commit: bool, unmap: int) -> None:
    before = image.read_bytes()
    it = host(image, commit=commit)
    ranges = struct.pack("<QIIQII", 3, 20, unmap, 100, 1, unmap)
    assert it.ask([header(ZEROES), ranges, 1]) == OK
    wanted = bytearray(before)
    wanted[3 * SECTOR : 23 * SECTOR] = bytes(20 * SECTOR)
    wanted[100 * SECTOR : 101 * SECTOR] = bytes(SECTOR)
    assert it.ask([header(IN), SECTORS * SECTOR, 1]) == wanted + OK
    assert image.read_bytes() == (wanted if commit else before)


def test_discard_gives_room_back(tmp_path: Path) -> None:
    image = tmp_path / "large.img"
    image.write_bytes(b"x" * (1 << 20))
    it = host(image, commit=True)
    before = image.stat().st_blocks
    assert it.ask([header(DISCARD), struct.pack("<QII", 0, 1024, 0), 1]) == OK
    assert image.stat().st_blocks < before and image.stat().st_size == 1 << 20
    other = tmp_path / "base.img"
    other.write_bytes(b"x" * (1 << 20))
    it = host(other)
    assert it.ask([header(DISCARD), struct.pack("<QII", 0, 1024, 0), 1]) == OK
    assert other.read_bytes() == b"x" * (1 << 20)


@pytest.mark.parametrize("kind", [DISCARD, ZEROES])
def test_ranges_that_cannot_be(image: Path, kind: int) -> None:
    it = host(image)
    before = it.ask([header(IN), SECTORS * SECTOR, 1])
    good = struct.pack("<QII", 0, 8, 0)
    for ranges, status in (
        (good + struct.pack("<QII", SECTORS, 1, 0), IOERR),
        (good + struct.pack("<QII", (1 << 64) - 1, 2, 0), IOERR),
        (good + struct.pack("<QII", 0, 8, 2), UNSUPP),
        (good[:-1], UNSUPP),
        (good * 65, UNSUPP),
    ):
        assert it.ask([header(kind), ranges, 1]) == status
    assert it.ask([header(kind), struct.pack("<QII", 5, 0, 0), 1]) == OK, "nothing of nothing"
    if kind == DISCARD:
        assert it.ask([header(kind), struct.pack("<QII", 0, 1, 1), 1]) == UNSUPP
    assert it.ask([header(IN), SECTORS * SECTOR, 1]) == before


def test_a_host_that_fails(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    it = host(image)
    monkeypatch.setattr(os, "pwritev", full)
    assert it.ask([header(OUT), bytes(SECTOR), 1]) == IOERR
    monkeypatch.undo()
    assert it.ask([header(OUT), bytes(SECTOR), 1]) == OK


@pytest.mark.parametrize(
    ("buffers", "says"),
    [
        ([b"short", 1], "a header of 5 bytes"),
        ([1], "a header of 0 bytes"),
        ([header(IN)], "without room for its status"),
    ],
)
def test_requests_that_are_none(image: Path, buffers: list[bytes | int], says: str) -> None:
    it = host(image)
    it.queues[0].add(Placed(it.system, buffers))
    it.kick()
    assert it.broken is not None and says in it.broken
    assert it.start(ALL).ask([header(IN), SECTOR, 1])[-1:] == OK


def test_random_requests(image: Path) -> None:
    """Against a bytearray, through an overlay."""
    rng, it = random.Random(3), host(image)
    model = bytearray(image.read_bytes())
    mark = it.system._free
    for _ in range(600):
        it.system._free = mark
        start = rng.randrange(SECTORS)
        count = min(SECTORS - start, rng.choice((1, 2, 7, 8, 16, 100)))
        here = slice(start * SECTOR, (start + count) * SECTOR)
        match rng.choice((IN, IN, OUT, OUT, ZEROES)):
            case 0:
                assert it.ask([header(IN, start), count * SECTOR, 1]) == model[here] + OK
            case 1:
                model[here] = rng.randbytes(count * SECTOR)
                assert it.ask([header(OUT, start), bytes(model[here]), 1]) == OK
            case _:
                model[here] = bytes(count * SECTOR)
                ranges = struct.pack("<QII", start, count, rng.randrange(2))
                assert it.ask([header(ZEROES), ranges, 1]) == OK
    assert it.ask([header(IN), SECTORS * SECTOR, 1]) == model + OK


def test_what_is_kicked_in_one_turn_is_one_batch(image: Path) -> None:
    it = host(image)
    later: list[Callable[[], None]] = []
    it.function.later = later.append
    asked = [Placed(it.system, [header(IN, sector), SECTOR, 1]) for sector in range(3)]
    for request in asked:
        it.queues[0].add(request)
        it.kick()
    assert it.queues[0].collect() == [] and len(later) == 1 and not it.interrupt
    later.pop()()
    assert [len(request.answer(SECTOR + 1)) for request in asked] == [SECTOR + 1] * 3
    assert len(it.queues[0].collect()) == 3 and it.interrupt


def test_one_at_a_time_is_served_at_once(image: Path) -> None:
    """Now and then it is tried whether more would come."""
    it = host(image)
    later: list[Callable[[], None]] = []
    it.function.later = later.append
    at_once = []
    for _ in range(2 * EAGER + 2):
        it.queues[0].add(Placed(it.system, [header(IN), SECTOR, 1]))
        it.kick()
        at_once.append(len(it.queues[0].collect()))
        while later:
            later.pop()()
            assert len(it.queues[0].collect()) == 1
    assert at_once == [0, *[1] * EAGER] * 2


def test_a_reset_while_a_kick_waits(image: Path) -> None:
    it = host(image)
    later: list[Callable[[], None]] = []
    it.function.later = later.append
    it.queues[0].add(Placed(it.system, [header(IN), SECTOR, 1]))
    it.kick()
    it.guest.store(0x70, 0)
    later.pop()()
    it.function.later = lambda action: action()
    it.start(ALL)
    assert it.ask([header(IN), SECTOR, 1])[-1:] == OK


class Moment:
    """A clock that goes on when it is told."""

    now = 0

    def __init__(self) -> None:
        self.clock = Clock(lambda: self.now)

    def pass_to(self, when: int) -> None:
        self.now = when
        self.clock.poll()


@pytest.mark.parametrize(
    ("throttle", "seconds"), [((10, None), 1.9), ((None, 5 * SECTOR), 3.9), ((10, 5 * SECTOR), 3.9)]
)
def test_a_throttle(image: Path, throttle: tuple[int | None, int | None], seconds: float) -> None:
    """Twenty sectors: at ten requests a second, and at five sectors a second."""
    it, moment = host(image), Moment()
    block = it.function
    assert isinstance(block, Block)
    block.throttle, block.clock = Throttle(*throttle), moment.clock
    it.start(ALL, size=64)
    for sector in range(20):
        it.queues[0].add(Placed(it.system, [header(IN, sector), SECTOR, 1]))
    it.kick()
    done = len(it.queues[0].collect())
    assert done < 4, "there is a little at once"
    while done < 20:
        assert (when := moment.clock.next_alarm) is not None
        moment.pass_to(when)
        done += len(it.queues[0].collect())
    assert seconds - 0.2 < moment.now / 1e9 < seconds + 0.2


def test_what_waits_for_a_throttle_goes_on_in_a_machine_that_was_loaded(image: Path) -> None:
    first, moment = host(image), Moment()
    block = first.function
    assert isinstance(block, Block)
    block.throttle, block.clock = Throttle(1, None), moment.clock
    for _ in range(3):
        first.queues[0].add(Placed(first.system, [header(IN), SECTOR, 1]))
    first.kick()
    state = block.state()
    moment.clock = block.clock = Clock(lambda: moment.now)
    block.load_state(state)
    done = len(first.queues[0].collect())
    for second in range(5):
        moment.pass_to(second * 10**9)
        done += len(first.queues[0].collect())
    assert done == 3


def test_an_overlay_that_is_full(image: Path) -> None:
    """Some clusters may change, again and again; others are an error, and nothing else is."""
    it = Host(image, limit=3 * 4096)
    it.start(ALL)
    for _ in range(3):
        for cluster in (1, 2, 3):
            assert it.ask([header(OUT, 8 * cluster), bytes(4096), 1]) == OK
    assert it.ask([header(OUT, 8 * 4), bytes(SECTOR), 1]) == IOERR
    assert it.ask([header(ZEROES), struct.pack("<QII", 8 * 4, 8, 0), 1]) == IOERR
    wanted = image.read_bytes()[8 * 4 * SECTOR :][:SECTOR]
    assert it.ask([header(IN, 8 * 4), SECTOR, 1]) == wanted + OK
    assert it.ask([header(OUT, 8), bytes(4096), 1]) == OK


def test_the_end_of_the_machine_flushes(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    it = host(image, commit=True)
    it.function.close()
    assert len(synced) == 1

    def fails(file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fails)
    it.function.close()
    assert it.reports == [f"{image}: Input/output error: what was written last may be lost"]
