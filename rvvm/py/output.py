"""Bytes to stdout as fast as it takes them, from a thread of its own: nobody else ever waits."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable

from rvvm.py.threads import Threads

FULL = 1 << 18
"""Bytes from which on a guest should wait before it prints more."""
_PIECE = select.PIPE_BUF
"""Bytes that a pipe which can be written to takes without a wait."""
_LOOK = 100  # milliseconds
_GATHER = 0.01
"""Seconds from one write to the next: a guest prints byte by byte, and the first need not wait."""


class Output:
    """Gathers bytes for a moment and writes them in order.

    ``on_full`` is called when there are too many, ``on_error`` when they cannot be written;
    ``error`` says why then, and what comes later is lost.
    """

    def __init__(self, descriptor: int, on_error: Callable[[], None]) -> None:
        self.error: OSError | None = None
        self.on_full: Callable[[], None] = lambda: None
        self._descriptor = descriptor
        self._on_error = on_error
        self._buffer = bytearray()
        self._changed = threading.Condition()
        self._closing = False
        self._threads = Threads()

    def start(self) -> None:
        """Begin to write."""
        self._threads.start(self._run, name="rvvm-stdout")

    def put(self, data: bytes) -> None:
        """Write this, too."""
        if self._descriptor < 0:
            return
        with self._changed:
            idle = not self._buffer
            self._buffer += data
            if idle:
                self._changed.notify_all()
        if self.full:
            self.on_full()

    @property
    def full(self) -> bool:
        """Whether more should wait."""
        return len(self._buffer) >= FULL

    def wait(self, until: Callable[[], bool], patience: float | None = None) -> bool:
        """Wait for what the buffer tells, at most so many seconds. A signal's handler may raise."""
        end = None if patience is None else time.monotonic() + patience
        with self._changed:
            while not until():
                left = _LOOK / 1000 if end is None else min(_LOOK / 1000, end - time.monotonic())
                if left <= 0:
                    return False
                self._changed.wait(left)
        return True

    def drain(self, patience: float | None = None) -> bool:
        """Wait until all is written, or cannot be."""
        return self.wait(lambda: not self._buffer, patience)

    def close(self, patience: float | None = None) -> None:
        """Write what is there, and no more. A thread that is stuck ends with the process."""
        try:
            drained = self.drain(patience)
        finally:
            with self._changed:
                self._closing = True
                self._changed.notify_all()
        if drained:
            self._threads.join()

    def _run(self) -> None:
        while not self._closing:
            with self._changed:
                self._changed.wait_for(lambda: self._buffer or self._closing)
                size = len(self._buffer)
            if size:
                self._write(size)
            time.sleep(_GATHER)

    def _write(self, size: int) -> None:
        """So many bytes, or all up to an error."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        while size > 0 and not self._closing:
            if not poll.poll(_LOOK):
                continue
            try:
                done = os.write(self._descriptor, self._buffer[: min(size, _PIECE)])
            except BlockingIOError:
                continue
            except OSError as error:
                self._fail(error)
                return
            size -= done
            with self._changed:
                del self._buffer[:done]
                self._changed.notify_all()

    def _fail(self, error: OSError) -> None:
        with self._changed:
            self.error, self._descriptor = error, -1
            self._buffer.clear()
            self._changed.notify_all()
        self._on_error()
