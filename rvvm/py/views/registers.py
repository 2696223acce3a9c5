"""Integer and floating-point registers of a hart, named as in the psABI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from rvvm.py.views.table import Table, hexadecimal

# fmt: off
INTEGER = [
    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0",
    "a1", "a2", "a3", "a4", "a5", "a6", "a7", "s2", "s3", "s4", "s5",
    "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
]
FLOATING = [
    "ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6", "ft7", "fs0", "fs1", "fa0",
    "fa1", "fa2", "fa3", "fa4", "fa5", "fa6", "fa7", "fs2", "fs3", "fs4", "fs5",
    "fs6", "fs7", "fs8", "fs9", "fs10", "fs11", "ft8", "ft9", "ft10", "ft11",
]
# fmt: on

INTEGER_NUMBER: Mapping[str, int] = {
    **{name: number for number, name in enumerate(INTEGER)},
    **{f"x{number}": number for number in range(32)},
    "fp": 8,
}
FLOATING_NUMBER: Mapping[str, int] = {
    **{name: number for number, name in enumerate(FLOATING)},
    **{f"f{number}": number for number in range(32)},
}

_COLUMNS_SHOWN = 4


class _Hart(Protocol):
    @property
    def id(self) -> int: ...
    @property
    def pc(self) -> int: ...
    @property
    def mode(self) -> str: ...
    def integer(self, number: int) -> int: ...
    def floating(self, number: int) -> int: ...


def _grid(cells: list[str]) -> list[list[str]]:
    height = len(cells) // _COLUMNS_SHOWN
    return [cells[line::height] for line in range(height)]


def integer_table(hart: _Hart, names_at: str = "") -> Table:
    """pc, mode and the 32 integer registers, in columns of eight."""
    cells = [
        f"{name:<4} {hexadecimal(hart.integer(number))}" for number, name in enumerate(INTEGER)
    ]
    title = f"hart {hart.id}  mode {hart.mode}  pc {hexadecimal(hart.pc)}{names_at}"
    return Table(title, [""] * _COLUMNS_SHOWN, _grid(cells))


def floating_table(hart: _Hart) -> Table:
    """The 32 floating-point registers as raw bits, in columns of eight."""
    cells = [
        f"{name:<4} {hexadecimal(hart.floating(number))}" for number, name in enumerate(FLOATING)
    ]
    return Table(f"hart {hart.id}  f", [""] * _COLUMNS_SHOWN, _grid(cells))
