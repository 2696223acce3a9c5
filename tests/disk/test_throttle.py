"""Links that are held up; disks are in ``devices/virtio/test_block.py``."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest

from rvvm.py import throttle
from rvvm.py.throttle import SlowLink


class Link:
    """Takes every frame."""

    def __init__(self) -> None:
        self.sent = 0
        self.closed = False

    def start(self, receiver: object) -> None:
        self.receiver = receiver

    def send(self, frames: Sequence[Sequence[memoryview]]) -> bool:
        self.sent += sum(len(view) for views in frames for view in views)
        return True

    def close(self) -> None:
        self.closed = True


class Receiver:
    """A guest that sends whenever it may."""

    def __init__(self, link: SlowLink) -> None:
        self.link = link
        self.received = 0
        self.told = threading.Event()

    def writable(self) -> None:
        self.told.set()

    def receive(self, frames: Sequence[memoryview]) -> int:
        self.received += len(frames)
        return min(len(frames), 2)


FRAME = [memoryview(bytes(1250))]  # 10,000 bits


def test_what_is_sent_waits() -> None:
    """A megabit a second: a hundred frames take a second, but for what may be sent at once."""
    link = Link()
    slow = SlowLink(link, 1_000_000)
    receiver = Receiver(slow)
    slow.start(receiver)
    begun, frames = time.monotonic(), 0
    while frames < 60:
        if slow.send([FRAME]):
            frames += 1
        else:
            assert receiver.told.wait(5)
            receiver.told.clear()
    assert time.monotonic() - begun > 0.4
    assert link.sent == 60 * 1250


def test_what_comes_waits_with_its_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(throttle.time, "monotonic_ns", lambda: 0)
    monkeypatch.setattr(throttle.time, "sleep", waited.append)
    link = Link()
    slow = SlowLink(link, 100_000)
    receiver = Receiver(slow)
    slow.start(receiver)
    for _ in range(3):
        assert link.receiver.receive(FRAME * 3) == 2  # type: ignore[attr-defined]
    assert receiver.received == 9
    assert waited == pytest.approx([0.1, 0.3, 0.5], abs=0.001), "of frames that were taken"
    link.receiver.writable()  # type: ignore[attr-defined]
    assert receiver.told.is_set()
    slow.close()
    assert link.closed
