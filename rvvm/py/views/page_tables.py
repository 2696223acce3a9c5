"""An address translation, step by step: every page table entry of both stages that it read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rvvm.py.views.table import Hex, Table
from rvvm.py.views.traps import cause_name

_COLUMNS = ("stage", "level", "entry at", "in RAM at", "entry", "flags", "note")


class StepLike(Protocol):
    """One entry as the walk met it; the attributes of ``_core.Step``."""

    @property
    def stage(self) -> str: ...
    @property
    def level(self) -> int: ...
    @property
    def pte_address(self) -> int: ...
    @property
    def pte_physical(self) -> int: ...
    @property
    def pte(self) -> int: ...
    @property
    def flags(self) -> str: ...
    @property
    def note(self) -> str: ...


class TranslationLike(Protocol):
    """The attributes of ``_core.Translation``."""

    @property
    def ok(self) -> bool: ...
    @property
    def physical(self) -> int | None: ...
    @property
    def cause(self) -> int | None: ...
    @property
    def tval2(self) -> int: ...
    @property
    def reason(self) -> str: ...
    @property
    def steps(self) -> Sequence[StepLike]: ...


class TranslationView:
    """What ``hart.translate(address)`` gives: ``ok``, ``physical``, and the walk as text or HTML.

    A G-stage walk that a VS-stage entry needed stands before that entry, indented, in the order
    the hardware reads them.
    """

    def __init__(self, address: int, access: str, result: TranslationLike) -> None:
        self.address = Hex(address)
        self.access = access
        self.result = result

    @property
    def ok(self) -> bool:
        """Whether the access would be allowed."""
        return self.result.ok

    @property
    def physical(self) -> int | None:
        """The host-visible physical address, or None when the access faults."""
        physical = self.result.physical
        return None if physical is None else Hex(physical)

    @property
    def cause(self) -> int | None:
        """The exception it would raise, or None."""
        return self.result.cause

    @property
    def reason(self) -> str:
        """Why it faults, in words; empty when it does not."""
        return self.result.reason

    @property
    def steps(self) -> Sequence[StepLike]:
        """Every entry read, in order."""
        return self.result.steps

    def table(self) -> Table:
        """The walk as rows; the entry at which it faulted is marked."""
        rows = [_row(step) for step in self.steps]
        marked = {len(rows) - 1} if rows and not self.ok else set()
        return Table(self._title(), _COLUMNS if rows else (), rows, marked, self._verdict())

    def _title(self) -> str:
        target = f"{self.physical:#x}" if self.physical is not None else "fault"
        return f"{self.access} {self.address:#x} -> {target}"

    def _verdict(self) -> str:
        if self.ok:
            return ""
        name = "fault" if self.cause is None else cause_name(self.cause)
        second = f", tval2 {self.result.tval2:#x}" if self.result.tval2 else ""
        return f"{name}: {self.reason}{second}"

    def __repr__(self) -> str:
        return self.table().text()

    def _repr_html_(self) -> str:
        return self.table().html()


def _row(step: StepLike) -> tuple[str, ...]:
    indent = "  " if step.stage == "G" else ""
    return (
        indent + step.stage,
        str(step.level),
        f"{step.pte_address:#x}",
        f"{step.pte_physical:#x}",
        f"{step.pte:#018x}",
        step.flags,
        step.note,
    )
