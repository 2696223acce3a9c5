"""Machines at a switch: who gets which frame, also when some come, go or do not read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from rvvm.py.errors import UserError
from rvvm.py.net.switch import SwitchLink

HEADER = bytes(range(12))
ALL = b"\xff" * 6


class Station:
    """A machine, by its number."""

    def __init__(self, folder: Path, number: int) -> None:
        self.mac = bytes([2, 0, 0, 0, 0, number])
        self.frames: list[bytes] = []
        self.reads = True
        self.writables = 0
        self.link = SwitchLink(folder)
        self.link.start(self)

    def receive(self, frames: Sequence[memoryview]) -> int:
        if not self.reads:
            return 0
        self.frames += [bytes(frame) for frame in frames]
        return len(frames)

    def writable(self) -> None:
        self.writables += 1

    def disconnected(self) -> None:
        pass

    def send(self, to: bytes, text: bytes) -> bool:
        frame = HEADER + to + self.mac + text
        return self.link.send([[memoryview(frame[:20]), memoryview(frame[20:])]])

    def got(self) -> list[bytes]:
        texts, self.frames = [frame[24:] for frame in self.frames], []
        return texts


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


@pytest.fixture
def three(tmp_path: Path) -> Iterator[list[Station]]:
    stations = [Station(tmp_path / "net", n) for n in range(3)]
    yield stations
    for station in stations:
        station.link.close()
    assert list((tmp_path / "net").iterdir()) == []


def test_it_learns(three: list[Station]) -> None:
    a, b, c = three
    assert a.send(b.mac, b"who?")
    until(lambda: b.frames and c.frames)
    assert b.frames[0] == HEADER + b.mac + a.mac + b"who?" and a.frames == []
    assert b.got() == c.got() == [b"who?"], "nobody knows b yet"
    b.send(a.mac, b"me")
    until(lambda: a.frames)
    a.send(b.mac, b"for b")
    a.send(ALL, b"for all")
    until(lambda: len(b.frames) == 2 and c.frames)
    assert (a.got(), b.got(), c.got()) == ([b"me"], [b"for b", b"for all"], [b"for all"])


def test_they_come_and_go(three: list[Station], tmp_path: Path) -> None:
    a, b, c = three
    b.send(ALL, b"hello")
    until(lambda: a.frames and c.frames)
    path = b.link._path
    b.link.close()
    assert not path.exists()
    a.got(), c.got()
    a.send(b.mac, b"where is b?")
    until(lambda: c.got() == [b"where is b?"])
    b.link = SwitchLink(tmp_path / "net")
    b.link.start(b)
    a.send(b.mac, b"again")
    until(lambda: b.got() == [b"again"])


def test_a_killed_machine_is_forgotten(three: list[Station]) -> None:
    a, b, c = three
    b.link._closed = True
    b.link._socket.shutdown(2)
    b.link._socket.close()  # as the kernel does: its path stays
    assert b.link._path.exists()
    until(lambda: a.send(ALL, b"anybody?") and not b.link._path.exists())
    until(lambda: b"anybody?" in c.got())


def test_one_that_does_not_read_holds_nobody_up_for_long(three: list[Station]) -> None:
    a, b, c = three
    for station in (b, c):
        station.send(ALL, b"hello")
    until(lambda: len(a.frames) == 2)
    b.reads = False
    count = 0
    while a.send(b.mac, bytes(60_000)):
        count += 1
        assert count < 10_000
    assert not a.send(c.mac, b"not now")
    until(lambda: a.writables)
    assert a.send(c.mac, b"later")
    until(lambda: b"later" in c.got())
    b.reads = True
    b.link.room()
    until(lambda: len(b.frames) >= count)


def test_no_place_for_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--netdev switch: .*/file: File exists"):
        SwitchLink(tmp_path / "file")
    with pytest.raises(UserError, match="--netdev switch: .*: AF_UNIX path too long"):
        SwitchLink(tmp_path / ("x" * 100))
