"""A link that is held up: of so many bits a second in each direction."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from rvvm.py.net.link import Frame, Link, Receiver
from rvvm.py.net.offload import Views
from rvvm.py.threads import Threads
from rvvm.py.throttle import SECOND, Bucket


class SlowLink(Link):
    """Another link, slower."""

    def __init__(self, link: Link, rate: int) -> None:
        self._link, self._rate = link, rate
        self.headers, self.mtu = link.headers, link.mtu
        self._receiver: Receiver | None = None
        self._out = Bucket(rate)
        self._waits = False
        self._ended = threading.Event()
        self._threads = Threads()

    def start(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._link.start(_SlowReceiver(receiver, self._rate, self._ended))

    def accept(self, checksums: bool, kinds: Sequence[int]) -> None:
        self._link.accept(checksums, kinds)

    def send(self, frames: Sequence[Views]) -> bool:
        if wait := self._out.wait(time.monotonic_ns()):
            self._wait(wait)
            return False
        if sent := self._link.send(frames):
            self._out.spend(_bits([view for views in frames for view in views]))
        return sent

    def room(self) -> None:
        self._link.room()

    def close(self) -> None:
        self._ended.set()
        self._link.close()

    def join(self) -> None:
        self._link.join()
        self._threads.join()

    def _wait(self, nanoseconds: int) -> None:
        if not self._waits:
            self._waits = True
            self._threads.start(self._go_on, nanoseconds / SECOND)

    def _go_on(self, later: float) -> None:
        ended = self._ended.wait(later)
        self._waits = False
        if self._receiver is not None and not ended:
            self._receiver.writable()


class _SlowReceiver:
    """What the link's thread calls: it is held up here, so its sender has to wait."""

    def __init__(self, receiver: Receiver, rate: int, closed: threading.Event) -> None:
        self._receiver, self._bucket, self._ended = receiver, Bucket(rate), closed
        self.writable, self.disconnected = receiver.writable, receiver.disconnected

    def watch(self, file: int, action: Callable[[], None]) -> bool:
        return False  # who waits here is to be a thread of the link's

    def receive(self, frames: Sequence[Frame]) -> int:
        taken = self._receiver.receive(frames)
        self._bucket.spend(_bits(frames[:taken]))
        self._ended.wait(self._bucket.wait(time.monotonic_ns()) / SECOND)
        return taken


def _bits(views: Sequence[memoryview]) -> int:
    return 8 * sum([len(view) for view in views])
