"""Alternating runs of contestants, and what can be said of them on a noisy machine.

A machine's speed drifts, so contestants run by turns and are compared round by round: a ratio is
the median of the rounds' ratios, with the smallest and the largest beside it.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

T = TypeVar("T")


@dataclass(frozen=True)
class Spread:
    """What several measurements of one thing say."""

    minimum: float
    median: float
    maximum: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """
        >>> print(Spread.of([2, 1, 4]))
        2.00 (1.00-4.00)
        """
        ordered = sorted(values)
        return cls(ordered[0], statistics.median(ordered), ordered[-1])

    def __str__(self) -> str:
        return f"{figure(self.median)} ({figure(self.minimum)}-{figure(self.maximum)})"


def figure(value: float) -> str:
    """Three digits that count, as far as that is readable.

    >>> figure(0.1234), figure(12.34), figure(1234.5)
    ('0.12', '12.3', '1,234')
    """
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def alternate(contestants: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Run each contestant once a round; who begins changes from round to round.

    >>> alternate({"a": lambda: 1, "b": lambda: 2}, 2)
    {'a': [1, 1], 'b': [2, 2]}
    """
    results: dict[str, list[T]] = {name: [] for name in contestants}
    for number in range(rounds):
        names = list(contestants)
        for name in names if number % 2 == 0 else reversed(names):
            results[name].append(contestants[name]())
    return results


def speeds(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """How many times as fast we are, round by round; above 1 we are ahead.

    >>> print(Spread.of(speeds([2, 2], [1, 3])))
    1.00 (0.50-1.50)
    """
    return [their / our for our, their in zip(ours, theirs, strict=True)]


def geometric_mean(values: Iterable[float]) -> float:
    """The mean that ratios have."""
    return statistics.geometric_mean(values)


class Report:
    """A table that grows row by row, shown as text or as JSON."""

    def __init__(self, title: str, *columns: str, about: Mapping[str, Any] | None = None) -> None:
        self.title = title
        self.columns = columns
        self.about = dict(about or {})
        self.rows: list[tuple[Any, ...]] = []
        self.note = ""

    def add(self, *cells: Any) -> None:
        """A row: names, numbers and spreads."""
        self.rows.append(cells)

    def show(self, json_file: str | None = None) -> None:
        """Print the table; ``json_file`` takes the same figures, ``-`` being standard output."""
        if json_file:
            text = json.dumps(self._plain(), indent=1)
            if json_file == "-":
                print(text)
                return
            Path(json_file).write_text(text + "\n")
        table = Table(title=self.title, title_justify="left")
        for number, heading in enumerate(self.columns):
            table.add_column(heading, justify="right" if number else "left", no_wrap=True)
        for row in self.rows:
            table.add_row(*map(_text, row))
        room = sum(max(map(len, column)) + 3 for column in self._cells())
        console = Console(width=None if Console().is_terminal else room + 1)
        console.print(table)
        for line in filter(None, (self.note, *(f"{key}: {it}" for key, it in self.about.items()))):
            console.print(line, highlight=False)

    def _cells(self) -> list[tuple[str, ...]]:
        """The table's text, column by column, under the headings."""
        texts = [tuple(map(_text, row)) for row in self.rows]
        return list(zip(self.columns, *texts, strict=True))

    def _plain(self) -> dict[str, Any]:
        rows = [dict(zip(self.columns, map(_plain, row), strict=True)) for row in self.rows]
        return {"title": self.title, **self.about, "rows": rows, "note": self.note}


def _text(cell: Any) -> str:
    return figure(cell) if isinstance(cell, float) else "" if cell is None else str(cell)


def _plain(cell: Any) -> Any:
    return asdict(cell) if isinstance(cell, Spread) else cell
