"""Symbols of the loaded programs: names to addresses, and addresses to names."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping

from rvvm.py import arguments
from rvvm.py.arguments import UnknownName
from rvvm.py.views.table import Hex, Table, hexadecimal

_SHOWN, _MOST = 20, 1000
"""Symbols that the table shows, and that it has at all."""
_SUM = re.compile(r"(?P<symbol>.+?)\s*(?P<sign>[+-])\s*(?P<distance>0x[0-9a-fA-F]+|\d+)")


class Symbols(Mapping[str, int]):
    """A mapping from name to address that also names an address.

    >>> symbols = Symbols()
    >>> symbols.add({"main": 0x1000, "loop": 0x1010})
    >>> symbols["main"], symbols.name(0x1014), symbols.name(0x10)
    (0x1000, 'loop+0x4', '')
    """

    _FAR = 1 << 20
    """Beyond this distance from a symbol its name says nothing."""

    def __init__(self) -> None:
        self._addresses: dict[str, int] = {}
        self._sorted: list[tuple[int, str]] = []

    def add(self, symbols: Mapping[str, int]) -> None:
        """Add a program's symbols; a later program's win."""
        self._addresses.update(symbols)
        self._sorted = sorted((address, name) for name, address in self._addresses.items())

    def __getitem__(self, name: str) -> int:
        return Hex(self._addresses[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._addresses)

    def __len__(self) -> int:
        return len(self._addresses)

    def name(self, address: int) -> str:
        """The nearest symbol at or below ``address``, with the distance; empty when none is."""
        address = arguments.integer("address", address)
        index = bisect_right(self._sorted, (address, "\U0010ffff")) - 1
        if index < 0:
            return ""
        start, name = self._sorted[index]
        distance = address - start
        if distance >= self._FAR:
            return ""
        return f"{name}+{distance:#x}" if distance else name

    def address(self, where: int | str, what: str = "address") -> int:
        """An address given as a number, a symbol, ``symbol+0x10`` or ``"0x..."``.

        ``what`` names it in errors; an unknown name is an ``UnknownName``, which is a KeyError.
        """
        if isinstance(where, str):
            return arguments.integer(what, self._named(where))
        try:
            return arguments.integer(what, where)
        except TypeError:
            raise arguments.wrong_type(what, "an address or a symbol", where) from None

    def _named(self, text: str) -> int:
        if text in self._addresses:
            return self._addresses[text]
        if (number := _number(text)) is not None:
            return number
        parts = _SUM.fullmatch(text)
        if parts and parts["symbol"] in self._addresses:
            distance = int(parts["distance"], 0)
            return self[parts["symbol"]] + (distance if parts["sign"] == "+" else -distance)
        raise UnknownName(f"no symbol {text!r}" + arguments.near(text, self._addresses))

    def table(self) -> Table:
        """By address; those that make the table long are folded, or only counted."""
        rows = [(hexadecimal(address), name) for address, name in self._sorted[:_MOST]]
        count = f"{len(self)} symbols" if len(self) != 1 else "1 symbol"
        more = f"{len(self) - _SHOWN} more"
        return Table(count, ("", ""), rows[:_SHOWN], folded=rows[_SHOWN:], more=more)

    def __repr__(self) -> str:
        return self.table().text()

    def _repr_html_(self) -> str:
        return self.table().html()


def _number(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        return None
