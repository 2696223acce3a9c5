"""A share of a host processor: the machine runs for some milliseconds, then waits its turn."""

from __future__ import annotations

import threading
import time
from typing import Protocol

from rvvm.py.engines.engine import ExitLike

_SLICE = 0.005  # seconds of CPU time between two looks at the clock
_BURST = 0.02  # seconds of CPU time that may have been saved up
_FIRST = 100_000  # instructions, until it is known how long they take
_MOST = 1 << 30


class Runner(Protocol):
    """What runs a machine: the core, or what stands for it."""

    def run(self, budget: int | None, /) -> ExitLike:
        """Execute so many instructions, or until something happens."""

    def pause(self) -> None:
        """From any thread: come back soon."""

    def close(self) -> None:
        """It runs no more."""


class Limited:
    """An engine that uses ``share`` of one processor, all in the thread that calls ``run``.

    What a wait for interrupts leaves unused is saved up, but not for long.
    """

    def __init__(self, engine: Runner, share: float) -> None:
        self._engine, self.share = engine, share
        self._left = _BURST
        self._since = time.monotonic()
        self._budget = _FIRST
        self._wanted = threading.Event()

    def run(self, budget: int | None = None) -> ExitLike:
        """As the engine; it comes back with ``budget`` when that, or a slice of time, is over."""
        before = time.thread_time()
        part = self._budget if budget is None else min(budget, self._budget)
        exit = self._engine.run(part)
        self._pay(time.thread_time() - before, part)
        return exit

    def pause(self) -> None:
        """From any thread: come back soon."""
        self._wanted.set()
        self._engine.pause()

    def close(self) -> None:
        """As the engine."""
        self._engine.close()

    def _pay(self, used: float, part: int) -> None:
        """Wait until the time that was used is earned."""
        if part == self._budget and used > 0:
            self._budget = min(max(int(part * min(_SLICE / used, 2)), 1000), _MOST)
        now = time.monotonic()
        self._left = min(self._left + (now - self._since) * self.share, _BURST) - used
        self._since = now
        if self._left < 0:
            self._wanted.wait(-self._left / self.share)
        self._wanted.clear()
