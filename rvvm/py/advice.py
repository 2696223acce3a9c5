"""What a person at the terminal should know: a guest that panicked, or will never go on.

A thread looks at the running machine from time to time; what it suspects is judged while the
machine is paused. Nothing that the guest computes depends on it: a machine is only paused where no
instruction retires.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rvvm.py.threads import Threads
from rvvm.py.views.traps import INTERRUPTS, cause_name

if TYPE_CHECKING:
    from rvvm import _core
    from rvvm.py.machine import Machine

LEAVE = "Ctrl-A x quits, Ctrl-A c opens the monitor"
_LOOK = 1.0
"""Seconds between looks."""
_LONGEST = 64
"""Looks between two judgements of a guest that is idle, at most."""
_SILENT = 10
"""Looks without a byte printed, after which a person may wonder."""
_PANIC = b"---[ end Kernel panic"  # Linux, kernel/panic.c: printed where it does not restart itself
_TAIL = 4096
_TRAPS = 1000
_NEVER = (1 << 64) - 1
_MIE = 0x304
_OUTSIDE = sum(1 << number for name, number in INTERRUPTS.items() if "external" in name)
"""The bits of mie that something outside of the harts may raise at any time."""


class Advisor:
    """Says each thing once, by ``say``. ``pause`` asks for a call of ``judge`` while paused."""

    def __init__(
        self, machine: Machine, say: Callable[[str], None], pause: Callable[[], None]
    ) -> None:
        self._machine, self._say, self._pause = machine, say, pause
        self._over = threading.Event()
        self._said: set[str] = set()
        self._suspects = False
        self._looks = self._still = 0
        self._next = 2
        self._instret, self._traps = -1, 0

    @contextmanager
    def watching(self, wanted: bool) -> Iterator[None]:
        """Look from a thread while entered, where it is ``wanted``."""
        threads = Threads()
        if wanted:
            threads.start(self._watch, name="rvvm-advice")
        try:
            yield
        finally:
            self._over.set()
            threads.join()

    def _watch(self) -> None:
        while not self._over.wait(_LOOK):
            self.look()

    def look(self) -> None:
        """Once a second, while the machine runs."""
        if not self._machine.is_running:
            return
        self._looks += 1
        console = self._machine.console
        if _PANIC in console.tail(_TAIL):
            self._tell("panic", "the guest's kernel has panicked")
        elif self._looks == _SILENT and not console.tail(1) and not self._said:
            self._tell("silent", f"the guest has printed nothing in {_SILENT} s{self._why()}")
        self._look_for_progress()

    def _why(self) -> str:
        if self._machine.board.console_node() is None:
            return ": the devicetree has no console, such as a node compatible with ns16550a"
        return ""

    def _look_for_progress(self) -> None:
        """No instruction since the last look: to be judged, ever more rarely."""
        if self._machine.instret != self._instret:
            self._instret, self._traps = self._machine.instret, self._machine.traps
            self._still, self._next = 0, 2
            return
        self._still += 1
        if self._still == self._next:
            self._next += min(2 * self._next, _LONGEST)
            self._suspects = True
            self._pause()

    def judge(self) -> None:
        """While the machine is paused: is this the end?"""
        if not self._suspects:
            return
        self._suspects = False
        if all(hart.waiting and _deaf(hart.core) for hart in self._machine.harts):
            self._tell(
                "waits",
                "every hart waits (wfi), and nothing will wake one: no timer is set and no external"
                " interrupt is enabled",
            )
        elif self._machine.instret == self._instret and self._machine.traps - self._traps > _TRAPS:
            self._tell("traps", self._about_traps())

    def _about_traps(self) -> str:
        hart = next(hart for hart in self._machine.harts if not hart.waiting)
        trap = hart.core.last_trap or {}
        what, where = cause_name(trap.get("cause", 0)), trap.get("epc", 0)
        return f"hart {hart.id} does nothing but trap: {what} at {where:#x}"

    def _tell(self, what: str, text: str) -> None:
        if what not in self._said:
            self._said.add(what)
            self._say(f"{text}. {LEAVE}.")


def _deaf(core: _core.Hart) -> bool:
    """Whether no timer and nothing from outside will wake it; other harts may."""
    return not core.csr(_MIE) & _OUTSIDE and core.deadline == _NEVER
