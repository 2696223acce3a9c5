"""A machine of several harts that run one program, each told by mhartid; and devices for it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any

from asm import REGISTERS, Program, assemble
from privileged.bench import EXTENSIONS
from rvvm import _core
from rvvm._core import Exit

RAM, RAM_SIZE = 0x8000_0000, 16 << 20
DATA = RAM + 0x10_0000
FINISH = 0x100000  # a store of 0 says that a hart is done, anything else that it has failed
MSIP = 0x2000000
TIMEOUT = 300.0

SYMBOLS = {"DATA": DATA, "FINISH": FINISH, "MSIP": MSIP}
PASS = "li t0, FINISH; sd x0, (t0); over: j over"
"""What a hart ends with. `fail` is where it goes when something is wrong."""
FAIL = "fail: li t0, FINISH; li t1, 1; sd t1, (t0); dead: j dead"


class Harts:
    """The machine. ``run`` ends when each hart has stored to FINISH."""

    def __init__(
        self,
        harts: int,
        source: str,
        *,
        threads: bool = True,
        without: Iterable[str] = (),
        engine: dict[str, Any] | None = None,
        **symbols: int,
    ) -> None:
        self.system = _core.System(threads=threads, **(engine or {}))
        self.system.add_ram(RAM, RAM_SIZE)
        self.system.add_device("finish", FINISH, 0x1000, lambda offset, width: 0, self._finish)
        self.system.add_device("msip", MSIP, 0x1000, self._pending, self._interrupt)
        self.program: Program = assemble(f"{source}; {FAIL}", RAM, **SYMBOLS, **symbols)
        self.system.write(RAM, self.program.code)
        names = [name for name in EXTENSIONS if name not in set(without)]
        self.harts = [self.system.add_hart(n, names, RAM) for n in range(harts)]
        for hart in self.harts:
            hart.set_x(REGISTERS["a0"], hart.id)
        self._lock = threading.RLock()
        self._msip = [0] * harts
        self.finished: list[int] = []

    def _finish(self, offset: int, width: int, value: int) -> None:
        with self._lock:
            self.finished.append(value)
            if value or len(self.finished) == len(self.harts):
                self.system.halt(value)

    def _pending(self, offset: int, width: int) -> int:
        with self._lock:
            return self._msip[offset // 4]

    def _interrupt(self, offset: int, width: int, value: int) -> None:
        with self._lock:
            self._msip[offset // 4] = value & 1
            self.harts[offset // 4].set_interrupt(3, bool(value & 1))

    def run(self, timeout: float = TIMEOUT) -> Exit:
        """Until the harts end it; asserts that they do, and that all have passed."""
        exit = self.run_for(timeout)
        where = [f"{hart.pc:#x} {hart.last_trap}" for hart in self.harts]
        assert exit.reason == "halt", f"{exit} after {timeout:g} s: {where}"
        assert self.finished == [0] * len(self.harts), (self.finished, where)
        return exit

    def run_for(self, seconds: float) -> Exit:
        """Until it ends, or is paused after so long."""
        watch = threading.Timer(seconds, self.system.pause)
        watch.start()
        try:
            return self.system.run()
        finally:
            watch.cancel()

    def word(self, address: int, size: int = 8) -> int:
        return int.from_bytes(self.system.read(address, size), "little")

    def words(self, address: int, count: int) -> Sequence[int]:
        return [self.word(address + 8 * n) for n in range(count)]
