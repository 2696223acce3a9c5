"""Guest physical memory: slices without copying, writes through the core."""

from __future__ import annotations

from typing import overload

from rvvm import _core


class Memory:
    """``m.memory[a:b]`` is a read-only view of guest RAM; assignment writes.

    Writes go through the core, which forgets what it had decoded from those bytes; that is why
    the view itself cannot be written. Addresses are physical; outside RAM raises IndexError.
    """

    def __init__(self, system: _core.System) -> None:
        self._system = system

    @overload
    def __getitem__(self, where: int) -> int: ...
    @overload
    def __getitem__(self, where: slice) -> memoryview: ...
    def __getitem__(self, where: int | slice) -> int | memoryview:
        if isinstance(where, int):
            return self._system.read(where, 1)[0]
        start, stop = _bounds(where)
        return self._system.view(start, stop - start).toreadonly()

    def __setitem__(self, where: int | slice, data: int | bytes | bytearray | memoryview) -> None:
        if isinstance(where, int):
            if not isinstance(data, int):
                raise TypeError("one byte of memory takes an int")
            self._system.write(where, bytes([data]))
            return
        start, stop = _bounds(where)
        if isinstance(data, int) or len(data) != stop - start:
            raise ValueError(f"the slice is {stop - start} bytes; the data are not")
        self._system.write(start, bytes(data))

    def u8(self, address: int) -> int:
        """One byte."""
        return self._number(address, 1)

    def u16(self, address: int) -> int:
        """Two bytes, little-endian, at any alignment."""
        return self._number(address, 2)

    def u32(self, address: int) -> int:
        """Four bytes, little-endian, at any alignment."""
        return self._number(address, 4)

    def u64(self, address: int) -> int:
        """Eight bytes, little-endian, at any alignment."""
        return self._number(address, 8)

    def store(self, address: int, value: int, size: int) -> None:
        """``value`` as ``size`` little-endian bytes; OverflowError when it does not fit."""
        self._system.write(address, value.to_bytes(size, "little"))

    def string(self, address: int, limit: int = 4096) -> str:
        """The NUL-terminated text at ``address``, at most ``limit`` bytes of it."""
        text = bytearray()
        while len(text) < limit and (byte := self.u8(address + len(text))):
            text.append(byte)
        return text.decode(errors="replace")

    def _number(self, address: int, size: int) -> int:
        return int.from_bytes(self._system.read(address, size), "little")


def _bounds(where: slice) -> tuple[int, int]:
    if where.start is None or where.stop is None or where.step not in (None, 1):
        raise IndexError("a slice of memory names its start and its end: m.memory[a:b]")
    if where.stop < where.start:
        raise IndexError(f"the slice ends at {where.stop:#x}, before it starts")
    return where.start, where.stop
