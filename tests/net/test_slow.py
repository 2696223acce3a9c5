"""Links that are held up; disks are in ``devices/virtio/test_block.py``."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest

from rvvm.py.net import link as links
from rvvm.py.net import slow
from rvvm.py.net.offload import Views
from rvvm.py.net.slow import SlowLink


class Link(links.Unplugged):
    """Takes frames while it is not full."""

    def __init__(self) -> None:
        super().__init__(mtu=1234)
        self.sent = 0
        self.full = self.closed = self.has_room = False
        self.accepted: object = None

    def start(self, receiver: links.Receiver) -> None:
        self.receiver = receiver

    def accept(self, checksums: bool, kinds: Sequence[int]) -> None:
        self.accepted = checksums, kinds

    def send(self, frames: Sequence[Views]) -> bool:
        if not self.full:
            self.sent += sum(len(view) for views in frames for view in views)
        return not self.full

    def room(self) -> None:
        self.has_room = True

    def close(self) -> None:
        self.closed = True


class Receiver:
    """A guest that sends whenever it may."""

    def __init__(self) -> None:
        self.received = 0
        self.told, self.gone = threading.Event(), threading.Event()

    def writable(self) -> None:
        self.told.set()

    def receive(self, frames: Sequence[memoryview]) -> int:
        self.received += len(frames)
        return min(len(frames), 2)

    def disconnected(self) -> None:
        self.gone.set()


FRAME = [memoryview(bytes(1250))]  # 10,000 bits


def test_what_is_sent_waits() -> None:
    """A megabit a second: a hundred frames take a second, but for what may be sent at once."""
    link, receiver = Link(), Receiver()
    limited = SlowLink(link, 1_000_000)
    limited.start(receiver)
    begun, frames = time.monotonic(), 0
    while frames < 60:
        if limited.send([FRAME]):
            frames += 1
        else:
            assert receiver.told.wait(60)
            receiver.told.clear()
    assert time.monotonic() - begun > 0.4
    assert link.sent == 60 * 1250


def test_what_a_full_link_does_not_take_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow.time, "monotonic_ns", lambda: 0)
    link = Link()
    limited = SlowLink(link, 100_000)
    link.full = True
    assert not any(limited.send([FRAME]) for _ in range(5))
    link.full = False
    assert limited.send([FRAME]) and not limited.send([FRAME])


def test_what_comes_waits_with_its_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(slow.time, "monotonic_ns", lambda: 0)
    link, receiver = Link(), Receiver()
    slowed = SlowLink(link, 100_000)
    monkeypatch.setattr(slowed._ended, "wait", waited.append)
    slowed.start(receiver)
    for _ in range(3):
        assert link.receiver.receive(FRAME * 3) == 2
    assert receiver.received == 9
    assert waited == pytest.approx([0.1, 0.3, 0.5], abs=0.001), "of frames that were taken"
    link.receiver.writable()
    link.receiver.disconnected()
    assert receiver.told.is_set() and receiver.gone.is_set()


def test_all_else_is_the_links() -> None:
    link = Link()
    link.headers = True
    limited = SlowLink(link, 1)
    limited.accept(True, [1])
    limited.room()
    limited.close()
    assert (limited.headers, limited.mtu) == (True, 1234)
    assert (link.accepted, link.has_room, link.closed) == ((True, [1]), True, True)


def test_nobody_is_told_after_the_end() -> None:
    limited, receiver = SlowLink(Link(), 80_000), Receiver()
    limited.start(receiver)
    assert limited.send([FRAME]) and not limited.send([FRAME])
    limited.close()
    assert not receiver.told.wait(0.1)
