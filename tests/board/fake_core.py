"""A stand-in for the core that records what a board and its devices ask of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class FakeHart:
    def __init__(self, identity: int, extensions: Sequence[str]) -> None:
        self.id = identity
        self.extensions = frozenset(extensions)
        self.interrupts: dict[int, bool] = {}
        self.deadline = (1 << 64) - 1
        self.instret = self.traps = 0
        self.waiting = False

    def set_interrupt(self, number: int, level: bool) -> None:
        self.interrupts[number] = level

    def set_timer(self, deadline: int) -> None:
        self.deadline = deadline


class FakeSystem:
    def __init__(self) -> None:
        self.time = 0
        self.harts: list[FakeHart] = []
        self.ram: dict[tuple[int, int], bytearray] = {}
        self.windows: dict[str, tuple[int, int, Callable, Callable]] = {}
        self.watched: list[tuple[int, int, Callable]] = []
        self.halted: list[int] = []
        self.deferred: list[Callable[[], None]] = []

    def add_ram(self, base: int, size: int) -> None:
        self.ram[base, size] = bytearray(min(size, 1 << 16))

    def add_device(self, name: str, base: int, size: int, read: Callable, write: Callable) -> None:
        self.windows[name] = (base, size, read, write)

    def add_hart(
        self, identity: int, extensions: Sequence[str], reset_pc: int = 0x1000
    ) -> FakeHart:
        if "v" in extensions:
            raise ValueError("unknown extension v")
        self.harts.append(FakeHart(identity, extensions))
        return self.harts[-1]

    def halt(self, code: int) -> None:
        self.halted.append(code)

    def _find(self, address: int, size: int) -> tuple[bytearray, int]:
        for (base, _), data in self.ram.items():
            if base <= address and address + size <= base + len(data):
                return data, address - base
        raise IndexError(f"{address:#x} is not RAM")

    def read(self, address: int, size: int) -> bytes:
        data, at = self._find(address, size)
        return bytes(data[at : at + size])

    def write(self, address: int, value: bytes) -> None:
        data, at = self._find(address, len(value))
        data[at : at + len(value)] = value

    def dma(self, address: int, size: int) -> memoryview:
        if (address, size) in self.ram:
            return memoryview(self.ram[address, size])
        data, at = self._find(address, size)
        return memoryview(data)[at : at + size]

    def written(self, address: int, size: int) -> None:
        """There is no code here."""

    def discard(self, address: int, size: int) -> None:
        self.write(address, bytes(size))

    def defer(self, callback: Callable[[], None]) -> None:
        self.deferred.append(callback)

    def end_turn(self) -> None:
        """The hart has had its turn."""
        now, self.deferred = self.deferred, []
        for callback in now:
            callback()

    def watch_store(
        self, address: int, size: int, callback: Callable[[int, int, int], None]
    ) -> None:
        self.watched.append((address, size, callback))

    # The guest's accesses

    def store(self, address: int, width: int, value: int) -> None:
        for base, size, _, write in self.windows.values():
            if base <= address < base + size:
                write(address - base, width, value)
                return
        self.write(address, value.to_bytes(width, "little"))
        for base, size, callback in self.watched:
            if address < base + size and base < address + width:
                callback(address, width, value)

    def load(self, address: int, width: int) -> int:
        for base, size, read, _ in self.windows.values():
            if base <= address < base + size:
                return read(address - base, width)
        return int.from_bytes(self.read(address, width), "little")
