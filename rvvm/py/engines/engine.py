"""What every engine offers: ``run(budget) -> Exit``, and its state for comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from rvvm.py.tree import Region


class ExitLike(Protocol):
    """Why an engine came back; ``_core.Exit`` is one."""

    @property
    def reason(self) -> str: ...
    @property
    def hart(self) -> int: ...
    @property
    def detail(self) -> int: ...


@dataclass(frozen=True)
class Exit:
    """An Exit made in Python; the reasons and details are those of ``_core.Exit``."""

    reason: str
    hart: int = 0
    detail: int = 0

    def __repr__(self) -> str:
        return f"Exit({self.reason!r}, hart={self.hart}, detail={self.detail:#x})"


@runtime_checkable
class Engine(Protocol):
    """One hart and the RAM it sees."""

    name: str

    def run(self, budget: int) -> ExitLike:
        """Execute up to ``budget`` instructions; ``budget`` is the reason when all were."""

    def registers(self) -> Mapping[str, int]:
        """The registers by name: ``pc``, the psABI's names, and CSRs. Any subset of these."""

    def rams(self) -> Sequence[Region]:
        """Where there is RAM."""

    def ram(self, region: Region) -> memoryview:
        """The bytes of one of ``rams``, as they are now, not copied."""
