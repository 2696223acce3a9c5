"""Engines in equal states, to be set against each other."""

from __future__ import annotations

from rvvm import _core
from rvvm.py.engines.engine import Engine
from rvvm.py.engines.interpreter import InterpreterEngine
from rvvm.py.engines.unicorn_engine import UnicornEngine
from rvvm.py.tree import Region

BASE, SIZE = 0x8000_0000, 0x1_0000
EXTENSIONS = ["i", "m", "a", "f", "d", "c", "zicsr", "zifencei", "u"]
FS_DIRTY = 3 << 13
MSTATUS = 0x300
State = dict[str, int]


def unicorn_engine(code: bytes, state: State | None = None) -> UnicornEngine:
    """Unicorn at the start of ``code``, with registers as in ``state``."""
    memory = memoryview(bytearray(code.ljust(SIZE, b"\0")))
    engine = UnicornEngine([(Region(BASE, SIZE), memory)])
    engine.pc = BASE
    for name, value in (state or {}).items():
        engine.set_register(name, value)
    return engine


def interpreter(code: bytes, state: State | None = None) -> InterpreterEngine:
    """The core at the same place in the same state."""
    from rvvm.py.views.registers import FLOATING_NUMBER, INTEGER_NUMBER

    system = _core.System(clock="instructions")
    system.add_ram(BASE, SIZE)
    hart = system.add_hart(0, EXTENSIONS, BASE)
    system.write(BASE, code)
    hart.set_csr(MSTATUS, FS_DIRTY)
    for name, value in (state or {}).items():
        if name in INTEGER_NUMBER:
            hart.set_x(INTEGER_NUMBER[name], value)
        else:
            hart.set_f(FLOATING_NUMBER[name], value)
    return InterpreterEngine(system, [Region(BASE, SIZE)])


def pair(code: bytes, state: State | None = None) -> tuple[Engine, Engine]:
    """Both."""
    return interpreter(code, state), unicorn_engine(code, state)
