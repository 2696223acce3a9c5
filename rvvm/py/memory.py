"""Guest physical memory: slices without copying, writes through the core."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, overload

from rvvm import _core
from rvvm.py import arguments
from rvvm.py.symbols import Symbols
from rvvm.py.views.board import memory_table
from rvvm.py.views.table import Table

if TYPE_CHECKING:
    from rvvm.py.tree import Region

Address = int | str
"""Also a symbol, ``symbol+0x10`` or ``"0x80000000"``."""


class Memory:
    """``m.memory[a:b]`` is a read-only view of guest RAM; assignment writes.

    Writes go through the core, which forgets what it had decoded from those bytes; that is why
    the view itself cannot be written. Addresses are physical, or symbols; outside RAM raises
    IndexError.
    """

    def __init__(
        self,
        system: _core.System,
        symbols: Symbols,
        regions: Sequence[Region],
        loaded: Callable[[], Sequence[tuple[int, int, str]]],
    ) -> None:
        self._system = system
        self._symbols = symbols
        self.regions = tuple(regions)
        """Where there is RAM."""
        self.loaded = loaded
        """What a reset puts there: start, size and name of each."""

    @overload
    def __getitem__(self, where: Address) -> int: ...
    @overload
    def __getitem__(self, where: slice) -> memoryview: ...
    def __getitem__(self, where: Address | slice) -> int | memoryview:
        if isinstance(where, slice):
            start, size = self._bounds(where)
            return self._system.view(start, size).toreadonly()
        return self._read(where, 1)[0]

    def __setitem__(
        self, where: Address | slice, data: int | bytes | bytearray | memoryview
    ) -> None:
        if isinstance(where, slice):
            start, size = self._bounds(where)
            content = arguments.data("data", data)
            if len(content) != size:
                raise ValueError(f"the slice is {size} bytes; the data are {len(content)}")
            self._system.write(start, content)
        else:
            self.store(where, data, 1)  # type: ignore[arg-type]  # which says what it is

    def u8(self, address: Address) -> int:
        """One byte."""
        return self._number(address, 1)

    def u16(self, address: Address) -> int:
        """Two bytes, little-endian, at any alignment."""
        return self._number(address, 2)

    def u32(self, address: Address) -> int:
        """Four bytes, little-endian, at any alignment."""
        return self._number(address, 4)

    def u64(self, address: Address) -> int:
        """Eight bytes, little-endian, at any alignment."""
        return self._number(address, 8)

    def store(self, address: Address, value: int, size: int) -> None:
        """``value`` as ``size`` little-endian bytes; ValueError when it does not fit."""
        size = arguments.integer("size", size, 1, 512)
        start = self._inside(address, size)
        self._system.write(start, arguments.bits("value", value, size).to_bytes(size, "little"))

    def string(self, address: Address, limit: int = 4096) -> str:
        """The NUL-terminated text at ``address``, at most ``limit`` bytes of it."""
        limit = arguments.integer("limit", limit)
        start = self._symbols.address(address)
        text = bytearray()
        while len(text) < limit and (byte := self.u8(start + len(text))):
            text.append(byte)
        return text.decode(errors="replace")

    def table(self) -> Table:
        """The regions of RAM, and what a reset puts there."""
        regions = [(region.base, region.size, "RAM") for region in self.regions]
        loaded = [(start, size, f"  {what}") for start, size, what in self.loaded()]
        return memory_table("", sorted([*regions, *loaded], key=lambda it: (it[0], -it[1])))

    def __repr__(self) -> str:
        return self.table().text()

    def _repr_html_(self) -> str:
        return self.table().html()

    def _number(self, address: Address, size: int) -> int:
        return int.from_bytes(self._read(address, size), "little")

    def _read(self, address: Address, size: int) -> bytes:
        return self._system.read(self._inside(address, size), size)

    def _inside(self, address: Address, size: int) -> int:
        """The number of an address; IndexError unless all of it is in one region of RAM."""
        start = self._symbols.address(address)
        if not any(ram.base <= start and start + size <= ram.end for ram in self.regions):
            known = ", ".join(map(str, self.regions))
            what = f"{size} bytes at " if size != 1 else ""
            raise IndexError(f"{what}{start:#x} is not in RAM ({known})")
        return start

    def _bounds(self, where: slice) -> tuple[int, int]:
        if where.start is None or where.stop is None or where.step not in (None, 1):
            raise IndexError("a slice of memory names its start and its end: m.memory[a:b]")
        start = self._symbols.address(where.start, "start")
        stop = self._symbols.address(where.stop, "end")
        if stop < start:
            raise IndexError(f"the slice ends at {stop:#x}, before it starts at {start:#x}")
        return self._inside(start, stop - start), stop - start
