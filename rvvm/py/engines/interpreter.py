"""The core's interpreter behind the Engine contract: the reference of all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rvvm import _core
from rvvm.py.csr import csr_rows
from rvvm.py.tree import Region
from rvvm.py.views.registers import FLOATING, INTEGER

_MOVING = ("cycle", "time", "instret", "hpmcounter", "mcycle", "minstret", "mhpmcounter")
"""Counters and clocks: not state that two engines must agree on."""


class InterpreterEngine:
    """The first hart of a System of the core, and its RAM."""

    name = "interpreter"

    def __init__(self, system: _core.System, rams: Sequence[Region]) -> None:
        self._system = system
        self._hart = system.harts[0]
        self._rams = list(rams)
        self._csrs = [
            row
            for row in csr_rows().values()
            if not row.name.startswith(_MOVING) and self._has(row.address)
        ]

    def run(self, budget: int) -> _core.Exit:
        """Up to ``budget`` instructions."""
        return self._system.run(budget)

    def registers(self) -> Mapping[str, int]:
        """pc, x, f and every CSR that stands still by itself."""
        hart = self._hart
        values = {"pc": hart.pc}
        values |= {name: hart.x(number) for number, name in enumerate(INTEGER) if number}
        values |= {name: hart.f(number) for number, name in enumerate(FLOATING)}
        return values | {row.name: hart.csr(row.address) for row in self._csrs}

    def rams(self) -> Sequence[Region]:
        """As given."""
        return self._rams

    def ram(self, region: Region) -> memoryview:
        """The core's own bytes."""
        return self._system.view(region.base, region.size)

    def _has(self, address: int) -> bool:
        try:
            self._hart.csr(address)
        except KeyError:
            return False
        return True
