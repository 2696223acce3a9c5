"""Rates that are not to be exceeded: of a disk's requests and bytes, of a network's bits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

_SECOND = 10**9
_BURST = 0.1
"""Seconds of a rate that may be used at once: fewer waits, and none is long."""

Views = Sequence[memoryview]


class Bucket:
    """``rate`` a second. Who comes while there is something left takes all it wants; who comes next
    waits for what that was too much.

    >>> bucket = Bucket(100)
    >>> bucket.wait(0), bucket.spend(60), bucket.wait(0), bucket.wait(600_000_000)
    (0, None, 500000001, 0)
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._left = self._most = rate * _BURST
        self._since = 0

    def wait(self, now: int) -> int:
        """Nanoseconds until there is something; ``now`` never goes back."""
        self._left = min(self._left + (now - self._since) * self.rate / _SECOND, self._most)
        self._since = now
        return 0 if self._left > 0 else int(-self._left * _SECOND / self.rate) + 1

    def spend(self, amount: int) -> None:
        """So much was used."""
        self._left -= amount


class Throttle:
    """Of a disk: requests and bytes, each with a rate or none."""

    def __init__(self, requests: int | None, size: int | None) -> None:
        self._requests = Bucket(requests) if requests else None
        self._bytes = Bucket(size) if size else None

    def again(self) -> Throttle:
        """Another with the same rates."""
        requests, size = self._requests, self._bytes
        return Throttle(requests.rate if requests else None, size.rate if size else None)

    def wait(self, now: int) -> int:
        """Nanoseconds until the next request may go."""
        return max((b.wait(now) for b in (self._requests, self._bytes) if b), default=0)

    def spend(self, size: int) -> None:
        """A request of so many bytes has gone."""
        if self._requests:
            self._requests.spend(1)
        if self._bytes:
            self._bytes.spend(size)


class SlowLink:
    """A network link of so many bits a second in each direction."""

    def __init__(self, link: Any, rate: int) -> None:
        self._link, self._receiver = link, None
        self._out, self._in = Bucket(rate), rate
        self._waits = False

    def start(self, receiver: Any) -> None:
        """Begin to read, once."""
        self._receiver = receiver
        self._link.start(_SlowReceiver(receiver, self._in))

    def send(self, frames: Sequence[Views]) -> bool:
        """Send frames; False where the receiver is to wait for ``writable``."""
        if wait := self._out.wait(time.monotonic_ns()):
            self._wait(wait)
            return False
        self._out.spend(8 * sum(len(view) for views in frames for view in views))
        return bool(self._link.send(frames))

    def _wait(self, nanoseconds: int) -> None:
        if not self._waits:
            self._waits = True
            _later(nanoseconds, self._go_on)

    def _go_on(self) -> None:
        self._waits = False
        if self._receiver is not None:
            self._receiver.writable()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)


class _SlowReceiver:
    """What the link's thread calls: it is held up here, so its sender has to wait."""

    def __init__(self, receiver: Any, rate: int) -> None:
        self._receiver, self._bucket = receiver, Bucket(rate)

    def watch(self, file: int, action: Callable[[], None]) -> bool:
        return False  # who waits here is to be a thread of the link's

    def receive(self, frames: Views) -> int:
        taken: int = self._receiver.receive(frames)
        self._bucket.spend(8 * sum(len(frame) for frame in frames[:taken]))
        time.sleep(self._bucket.wait(time.monotonic_ns()) / _SECOND)
        return taken

    def __getattr__(self, name: str) -> Any:
        return getattr(self._receiver, name)


def _later(nanoseconds: int, action: Callable[[], None]) -> None:
    timer = threading.Timer(nanoseconds / _SECOND, action)
    timer.daemon = True
    timer.start()
