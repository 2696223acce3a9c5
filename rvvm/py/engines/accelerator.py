"""``--accel unicorn``: a machine's own RAM and devices under unicorn's translator.

Good for bare-metal programs in machine mode on one hart that take no traps (``unicorn_engine``
lists what is missing); it stops with a UserError where unicorn ends.
"""

from __future__ import annotations

import threading

from rvvm import _core
from rvvm.py.board import Board
from rvvm.py.engines.engine import Exit
from rvvm.py.engines.unicorn_engine import Mmio, UnicornEngine
from rvvm.py.errors import UserError
from rvvm.py.views.traps import cause_name

_CHUNK = 1_000_000


class Accelerator:
    """Runs a System's first hart on unicorn; between runs the core's hart shows where it is."""

    def __init__(self, system: _core.System, board: Board) -> None:
        if len(system.harts) != 1:
            raise UserError("--accel unicorn: runs one hart; say --harts 1")
        self._system, self._hart = system, system.harts[0]
        rams = [(region, system.view(region.base, region.size, True)) for region in board.memory]
        self._engine = UnicornEngine(rams, list(_windows(board)))
        self._wanted = threading.Event()

    def run(self, budget: int | None) -> Exit:
        """As ``_core.System.run``."""
        self._engine.load(self._hart)
        self._engine.forget_code()
        try:
            return self._run(budget)
        finally:
            self._engine.save(self._hart)
            self._wanted.clear()

    def _run(self, budget: int | None) -> Exit:
        while not self._wanted.is_set():
            chunk = _CHUNK if budget is None else min(budget, _CHUNK)
            exit = self._engine.run(chunk)
            self._system.run(0)  # what devices have put off
            if exit.reason == "trap":
                self._refuse(exit)
            self._hart.instret += chunk
            if budget is not None:
                budget -= chunk
                if budget == 0:
                    return exit
        return Exit("pause")

    def _refuse(self, exit: Exit) -> None:
        raise UserError(
            f"--accel unicorn: {cause_name(exit.detail)} at {self._engine.pc:#x}:"
            " unicorn does not enter traps; use --accel interp"
        )

    def close(self) -> None:
        """RAM is not needed any more."""
        self._engine.close()

    def pause(self) -> None:
        """From a device or another thread: come back soon."""
        self._wanted.set()
        self._engine.stop()


def _windows(board: Board) -> list[Mmio]:
    """Every device's registers, as the core has them."""
    windows = []
    for path, device in board.devices.items():
        node = board.tree.find(path)
        regions = node.physical() if node is not None else None
        if regions:
            windows.append(Mmio(regions[0], *device.window().locked(board.lock)))
    return windows
