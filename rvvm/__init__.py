"""rvvm: a RISC-V machine whose devicetree is the board.

>>> import rvvm
>>> m = rvvm.Machine()                         # the packaged greeting on the packaged board
>>> m.console.expect("hello")[-5:]
'hello'
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's takes longer to import than all the rest
if TYPE_CHECKING:
    from rvvm.py.errors import UserError
    from rvvm.py.machine import Machine, Stop
    from rvvm.py.until import Condition, instructions, pc, seconds, text, trap

__version__ = "0.1.0"
__all__ = [
    "Condition",
    "Machine",
    "Stop",
    "UserError",
    "instructions",
    "pc",
    "seconds",
    "text",
    "trap",
]

_PLACES = {"UserError": "errors", "Machine": "machine", "Stop": "machine"}
"""The modules of the names that are not conditions."""


def __getattr__(name: str) -> object:
    """Modules load when a name is used: a command is there before, and hears Ctrl-C."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"rvvm.py.{_PLACES.get(name, 'until')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
