"""What an engine has done, in counters of slow paths, and where the guest spends its time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rvvm.py import arguments
from rvvm.py.symbols import Symbols
from rvvm.py.views.table import Hex, Table, hexadecimal

_LINE = 64
"""Bytes of code that count as one place."""


@dataclass(frozen=True)
class Hot:
    """A place where turns ended: ``share`` of all samples."""

    address: int
    symbol: str
    share: float


class Hottest(list[Hot]):
    """The hottest places, the first most."""

    def table(self) -> Table:
        """Share, address and symbol of each."""
        rows = [(f"{hot.share:.1%}", hexadecimal(hot.address), hot.symbol) for hot in self]
        return Table("", ("share", "address", "symbol"), rows)

    def __repr__(self) -> str:
        return self.table().text()

    def _repr_html_(self) -> str:
        return self.table().html()


class Stats(Mapping[str, int]):
    """Counters by name; ``hottest`` says where the guest spends its time.

    ``units``, ``unit_instructions``, ``code_bytes`` and ``translation_ns`` are of translation;
    ``chained_jumps`` lead straight to another unit, ``ways_resolved`` to another page.
    ``interpreted`` are instructions that translated code leaves to the interpreter, ``exits_...``
    say why it came back to the run loop; ``slow_loads`` and ``slow_stores`` found no cached
    translation. ``flushes_...`` are named by what asked for them.
    """

    def __init__(
        self, counters: Mapping[str, int], samples: Mapping[int, int], symbols: Symbols
    ) -> None:
        self._counters = dict(counters)
        self._samples: Counter[int] = Counter()
        for pc, count in samples.items():
            self._samples[pc & -_LINE] += count
        self._symbols = symbols

    def __getitem__(self, name: str) -> int:
        return self._counters[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._counters)

    def __len__(self) -> int:
        return len(self._counters)

    def hottest(self, count: int = 10) -> Hottest:
        """Lines of code by samples: one each 200,000 instructions of a hart."""
        count = arguments.integer("count", count)
        total = sum(self._samples.values())
        return Hottest(
            Hot(Hex(address), self._symbols.name(address), found / total)
            for address, found in self._samples.most_common(count)
        )

    @property
    def bytes_an_instruction(self) -> float:
        """Of host code for each guest instruction translated."""
        return self["code_bytes"] / max(1, self["unit_instructions"])

    def table(self) -> Table:
        """All counters that are not zero."""
        rows = [(name, f"{value:,}") for name, value in self.items() if value]
        return Table("", ("counter", "value"), rows)

    def __repr__(self) -> str:
        return self.table().text()

    def _repr_html_(self) -> str:
        return self.table().html()
