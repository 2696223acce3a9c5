"""rvvm: a RISC-V machine whose devicetree is the board.

>>> import rvvm
>>> m = rvvm.Machine()                         # the packaged greeting on the packaged board
>>> m.console.expect("hello")[-5:]
'hello'
"""

from __future__ import annotations

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
