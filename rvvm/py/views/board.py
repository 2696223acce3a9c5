"""Where things are: a board's devices and memory, and its harts side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from rvvm.py.views.registers import INTEGER
from rvvm.py.views.table import Table, hexadecimal

_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_CONTROLLERS = 3
"""Interrupt controllers that are named for one device."""
_BESIDE = 4
"""Harts beside each other; more are shown below."""


@dataclass(frozen=True)
class Placed:
    """Something on the board: ``start`` is None when it has no address."""

    start: int | None
    size: int
    name: str
    kind: str
    interrupts: Sequence[tuple[str, int]] = ()
    """The controller's name and the number, of each."""


class HartLike(Protocol):
    """What is shown of a hart."""

    @property
    def id(self) -> int: ...
    @property
    def pc(self) -> int: ...
    @property
    def mode(self) -> str: ...
    @property
    def waiting(self) -> bool: ...
    @property
    def instret(self) -> int: ...
    def integer(self, number: int) -> int: ...
    def place(self) -> str: ...


def size_text(size: int) -> str:
    """A size as people say it.

    >>> size_text(1 << 30), size_text(0x1800), size_text(100), size_text(0x1ABC)
    ('1 GiB', '6 KiB', '100 B', '6.7 KiB')
    """
    for unit, name in _UNITS:
        if size >= unit:
            return f"{size // unit} {name}" if size % unit == 0 else f"{size / unit:.1f} {name}"
    return f"{size} B"


def range_text(start: int, size: int) -> str:
    """The first and the last address.

    >>> range_text(0x1000_0000, 0x100)
    '0x10000000..0x100000ff'
    """
    return f"{start:#x}..{start + size - 1:#x}" if size else f"{start:#x}"


def board_table(title: str, placed: Iterable[Placed]) -> Table:
    """A line for each window of the address space, then what has none."""
    order = sorted(placed, key=lambda it: (it.start is None, it.start or 0, it.name))
    rows = [
        (
            "" if it.start is None else range_text(it.start, it.size),
            "" if it.start is None else size_text(it.size),
            it.name,
            it.kind,
            _interrupts(it.interrupts),
        )
        for it in order
    ]
    return Table(title, ("address", "size", "node", "is", "interrupts"), rows)


def _interrupts(wires: Sequence[tuple[str, int]]) -> str:
    """``plic 10``; several numbers of one controller follow its name."""
    numbers: dict[str, list[str]] = {}
    for controller, number in wires:
        numbers.setdefault(controller, []).append(str(number))
    named = [f"{name} {' '.join(found)}" for name, found in numbers.items()]
    rest = len(named) - _CONTROLLERS
    return ", ".join(named[:_CONTROLLERS]) + (f", and {rest} more" if rest > 0 else "")


def memory_table(title: str, regions: Iterable[tuple[int, int, str]]) -> Table:
    """Where RAM is, and what the loader has put there: start, size, what."""
    rows = [(range_text(start, size), size_text(size), what) for start, size, what in regions]
    return Table(title, ("address", "size", "what"), rows)


def harts_tables(harts: Sequence[HartLike]) -> list[Table]:
    """Harts side by side, a few in each table."""
    groups = [harts[first : first + _BESIDE] for first in range(0, len(harts), _BESIDE)]
    return [_harts_table(group) for group in groups]


def _harts_table(harts: Sequence[HartLike]) -> Table:
    shown: Mapping[str, list[str]] = {
        "mode": [hart.mode + (" waits (wfi)" if hart.waiting else "") for hart in harts],
        "pc": [hexadecimal(hart.pc) for hart in harts],
        "": [hart.place() for hart in harts],
        "instret": [f"{hart.instret:,}" for hart in harts],
    }
    rows = [(name, *values) for name, values in shown.items() if any(values)]
    for number, name in enumerate(INTEGER):
        rows.append((name, *(hexadecimal(hart.integer(number)) for hart in harts)))
    return Table("", ("", *(f"hart {hart.id}" for hart in harts)), rows)
