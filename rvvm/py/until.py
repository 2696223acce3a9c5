"""When to stop a running machine: conditions, joined by ``|``.

>>> text("login: ") | seconds(60)
text('login: ') | seconds(60)
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rvvm.py import arguments
from rvvm.py.engines.engine import ExitLike
from rvvm.py.symbols import Symbols
from rvvm.py.threads import Threads
from rvvm.py.views.traps import INTERRUPT, cause_name, cause_number

if TYPE_CHECKING:
    from rvvm.py.machine import Machine

_NAG = 0.05
"""Seconds between pauses after a deadline: one that arrives just before a run begins is lost."""
_LARGEST_BUDGET = (1 << 63) - 1
_STUCK = 1000
"""Traps in a row, with no instruction retired between them, that show that none ever will be."""


class Condition(ABC):
    """One reason to stop. ``arm`` prepares the machine, ``met`` judges each Exit of the core."""

    @abstractmethod
    def arm(self, machine: Machine) -> None:
        """Set what makes the core return when the condition comes true."""

    def disarm(self, machine: Machine) -> None:
        """Undo ``arm``."""
        return

    @abstractmethod
    def met(self, machine: Machine, stop: ExitLike | None) -> Condition | None:
        """The condition that is true now, or None. ``stop`` is None before the first Exit."""

    def budget(self, machine: Machine) -> int | None:
        """How many more instructions it allows, or None for no limit."""
        return None

    def __or__(self, other: Condition) -> Condition:
        return AnyOf(self, as_condition(other))


def as_condition(value: object) -> Condition:
    """The value itself; TypeError, which says what to write, when it is no condition."""
    if isinstance(value, Condition):
        return value
    hint = next((hint for kind, hint in _HINTS if isinstance(value, kind)), _HINT)
    example = hint.format(arguments.shown(value))
    raise arguments.wrong_type("until", f"a condition such as {example}", value)


_HINT = "rvvm.text('login: ') or rvvm.seconds(10)"
_HINTS: Sequence[tuple[type, str]] = (
    (str, "rvvm.text({0}) or rvvm.pc({0})"),
    (int, "rvvm.pc({0}), rvvm.instructions({0}) or rvvm.seconds({0})"),
    (float, "rvvm.seconds({0})"),
)


class AnyOf(Condition):
    """True when one of several is."""

    def __init__(self, *conditions: Condition) -> None:
        self.conditions = conditions

    def arm(self, machine: Machine) -> None:
        for condition in self.conditions:
            condition.arm(machine)

    def disarm(self, machine: Machine) -> None:
        for condition in self.conditions:
            condition.disarm(machine)

    def met(self, machine: Machine, stop: ExitLike | None) -> Condition | None:
        answers = (condition.met(machine, stop) for condition in self.conditions)
        return next(filter(None, answers), None)

    def budget(self, machine: Machine) -> int | None:
        limits = [condition.budget(machine) for condition in self.conditions]
        return min((limit for limit in limits if limit is not None), default=None)

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.conditions))


class Text(Condition):
    """True when the console has printed ``wanted`` since the run began."""

    def __init__(self, wanted: str) -> None:
        if not arguments.text("text", wanted):
            raise ValueError("text() needs something to wait for")
        self.wanted = wanted.encode()
        self._seen = b""
        self._found = False

    def arm(self, machine: Machine) -> None:
        self._seen, self._found = b"", False
        self._pause = machine.stop_soon
        machine.console.listeners.append(self._listen)

    def disarm(self, machine: Machine) -> None:
        machine.console.listeners.remove(self._listen)

    def _listen(self, data: bytes) -> None:
        self._seen += data
        if not self._found and self.wanted in self._seen:
            self._found = True
            self._pause()
        self._seen = self._seen[1 - len(self.wanted) :] if len(self.wanted) > 1 else b""

    def met(self, machine: Machine, stop: ExitLike | None) -> Condition | None:
        return self if self._found else None

    def __repr__(self) -> str:
        return f"text({self.wanted.decode(errors='replace')!r})"


class Pc(Condition):
    """True when a hart is about to execute ``where``: an address or a symbol."""

    def __init__(self, where: int | str) -> None:
        if not isinstance(where, str):
            where = Symbols().address(where, "pc")
        self.where = where

    def arm(self, machine: Machine) -> None:
        self._address = machine.address(self.where)
        machine.add_breakpoint(self._address)

    def disarm(self, machine: Machine) -> None:
        machine.remove_breakpoint(self._address)

    def met(self, machine: Machine, stop: ExitLike | None) -> Condition | None:
        if stop is None or stop.reason != "breakpoint":
            return None
        return self if machine.system.harts[stop.hart].pc == self._address else None

    def __repr__(self) -> str:
        where = self.where if isinstance(self.where, str) else f"{self.where:#x}"
        return f"pc({where})"


class Instructions(Condition):
    """True when all harts together have retired ``count`` instructions since the run began.

    Also when they no longer retire any: a handler that cannot be fetched traps for ever, unless a
    timer is to interrupt that.
    """

    def __init__(self, count: int) -> None:
        self.count = arguments.integer("instructions", count, high=1 << 128)

    def arm(self, machine: Machine) -> None:
        self._end = machine.instret + self.count
        self._mark(machine)

    def budget(self, machine: Machine) -> int | None:
        return min(max(0, self._end - machine.instret), _LARGEST_BUDGET)

    def met(self, machine: Machine, stop: ExitLike | None) -> Condition | None:
        if self.budget(machine) == 0 or self._is_stuck(machine):
            return self
        return None

    def _mark(self, machine: Machine) -> None:
        self._instret, self._traps = machine.instret, machine.traps

    def _is_stuck(self, machine: Machine) -> bool:
        if machine.instret != self._instret:
            self._mark(machine)
        if machine.traps - self._traps <= _STUCK:
            return False
        return not any(hart.timer_to_come for hart in machine.system.harts)

    def __repr__(self) -> str:
        return f"instructions({self.count})"


class Seconds(Condition):
    """True when ``duration`` seconds of the host's time have passed since the run began."""

    def __init__(self, duration: float) -> None:
        self.duration = arguments.duration("seconds", duration)

    def arm(self, machine: Machine) -> None:
        self._deadline = time.monotonic() + self.duration
        self._done = threading.Event()
        self._watcher = Threads()
        self._watcher.start(self._watch, machine)

    def _watch(self, machine: Machine) -> None:
        delay = self.duration
        while not self._done.wait(max(0.0, delay)):
            machine.stop_soon()
            delay = _NAG

    def disarm(self, machine: Machine) -> None:
        self._done.set()
        self._watcher.join()

    def met(self, machine: Machine, stop: ExitLike | None) -> Condition | None:
        return self if time.monotonic() >= self._deadline else None

    def __repr__(self) -> str:
        return f"seconds({self.duration:g})"


class Trap(Condition):
    """True when a hart takes a trap for ``cause``, just after it entered the handler."""

    def __init__(self, cause: int | str) -> None:
        self.cause = cause_number(cause)

    def arm(self, machine: Machine) -> None:
        machine.stop_on_trap(self.cause, True)

    def disarm(self, machine: Machine) -> None:
        machine.stop_on_trap(self.cause, False)

    def met(self, machine: Machine, stop: ExitLike | None) -> Condition | None:
        if not stop or stop.reason != "trap":
            return None
        trap = machine.system.harts[stop.hart].last_trap or {}
        taken = trap.get("cause", -1) | (INTERRUPT if trap.get("interrupt") else 0)
        return self if taken == self.cause else None

    def __repr__(self) -> str:
        return f"trap({cause_name(self.cause)!r})"


def text(wanted: str) -> Condition:
    """Stop when the console prints ``wanted``."""
    return Text(wanted)


def pc(where: int | str) -> Condition:
    """Stop before the instruction at an address or a symbol."""
    return Pc(where)


def instructions(count: int) -> Condition:
    """Stop after ``count`` retired instructions, all harts together."""
    return Instructions(count)


def seconds(duration: float) -> Condition:
    """Stop after ``duration`` seconds of the host's time."""
    return Seconds(duration)


def trap(cause: int | str) -> Condition:
    """Stop on a trap: ``trap(13)``, ``trap("load page fault")``, or an interrupt's cause."""
    return Trap(cause)
