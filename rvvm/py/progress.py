"""What takes long is told on stderr: by a bar at a terminal, elsewhere by a line now and then."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import Progress, ProgressColumn, TaskID

EVERY = 5
"""Seconds from one line to the next."""


def bar(shown: bool, count: Callable[[int], str], *columns: ProgressColumn) -> Progress:
    """A bar of these columns; where no terminal is, lines with amounts as ``count`` writes them."""
    console = Console(stderr=True)
    if shown and not console.is_terminal:
        return _Lines(count)
    return Progress(*columns, console=console, disable=not shown)


@contextlib.contextmanager
def step(text: str, shown: bool = True, patience: float = 0) -> Iterator[None]:
    """Say what begins, and every few seconds that it goes on; what is over before somebody loses
    ``patience`` (seconds) is not told."""
    over = threading.Event()
    if shown and not patience:
        _say(text)
    if shown:
        threading.Thread(target=_go_on, args=(text, over, patience), daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _go_on(text: str, over: threading.Event, patience: float) -> None:
    begun = time.monotonic()
    if patience:
        if over.wait(patience):
            return
        _say(text)
    while not over.wait(EVERY):
        _say(f"{text}: {time.monotonic() - begun:.0f} s")


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # nobody has to listen
        print("rvvm:", text, file=sys.stderr, flush=True)


class _Lines(Progress):
    """A line when a task begins or has a new name, and one every few seconds that it goes on."""

    def __init__(self, count: Callable[[int], str]) -> None:
        super().__init__(disable=True)
        self._count = count
        self._said: tuple[TaskID, str] | None = None
        self._next = 0.0

    def add_task(self, *words: Any, **options: Any) -> TaskID:
        task = super().add_task(*words, **options)
        self._tell(task)
        return task

    def update(self, task_id: TaskID, **changes: Any) -> None:
        super().update(task_id, **changes)
        self._tell(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        super().advance(task_id, advance)
        self._tell(task_id)

    def _tell(self, number: TaskID) -> None:
        task, now = self._tasks[number], time.monotonic()
        if self._said == (number, task.description) and now < self._next:
            return
        self._said, self._next = (number, task.description), now + EVERY
        total = "" if task.total is None else f": {self._amount(task.completed, task.total)}"
        _say(f"{task.description}{total}")

    def _amount(self, completed: float, total: float) -> str:
        if not completed:
            return self._count(int(total))
        return f"{self._count(int(completed))} of {self._count(int(total))}"
