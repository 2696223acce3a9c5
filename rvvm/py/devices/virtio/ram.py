"""Guest RAM for a device that masters the bus: views of it, no copies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rvvm._core import System
    from rvvm.py.tree import Region


class ProtocolError(Exception):
    """The driver has given the device something impossible: the device stops until it is reset."""


class Ram:
    """All RAM of a board, by physical address. A piece lies within one region."""

    def __init__(self, system: System, regions: Iterable[Region]) -> None:
        views = [(region.base, system.dma(region.base, region.size)) for region in regions]
        self._banks = [(base, base + len(view), view) for base, view in views]
        self.written = system.written
        """``written(address, size)``: tell the core, so that it forgets code decoded from there."""
        self._discard = system.discard
        self.size = sum(len(view) for _, view in views)

    def view(self, address: int, size: int) -> memoryview:
        """The bytes there, to be read and written; ProtocolError where they are not RAM."""
        end = address + size
        for base, top, view in self._banks:
            if base <= address and end <= top:
                return view[address - base : end - base]
        raise ProtocolError(f"{size} bytes at {address:#x} are not in RAM")

    def close(self) -> None:
        """It keeps nothing of RAM any more."""
        self._banks.clear()

    def discard(self, address: int, size: int) -> None:
        """Whole pages of zeroes from now on, that take no memory of the host's."""
        self.view(address, size)
        self._discard(address, size)
