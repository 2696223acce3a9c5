"""A PCI Express host bridge of the simplest kind: configuration space in memory (ECAM), a window of
memory for the BARs, and the four INTx wires.

Devicetree binding pci/host-generic-pci; PCI Express Base 3.0, section 7.2.2 (ECAM).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from rvvm.py.devices.device import Device, Wiring
from rvvm.py.devices.pci.function import INTA, PciFunction
from rvvm.py.register import ReadWindow, State, Window, WriteWindow

if TYPE_CHECKING:
    from rvvm.py.tree import Node, Region, Specifier

SLOTS = 32
FIRST = 1  # slot 0 is where a bridge shows itself, if it does
SPACE = 12  # bits of an address within a function's configuration space
MEMORY_32 = 0x0200_0000  # IEEE 1275 PCI binding, phys.hi: 32-bit memory space
SPACE_CODE = 0x0300_0000
SLOT_SHIFT = 11  # of phys.hi
_MAP_CELLS = 4  # of a child in interrupt-map: an address of PCI's, and a pin

Handlers = tuple[ReadWindow, WriteWindow]


class PciHost(Device, compatible="pci-host-ecam-generic"):
    """One bus. ``routes`` says for each slot which of the lines its INTA drives."""

    asserted = State[list[int]](list, most=(1 << SLOTS) - 1, count="wire_count")
    """A set of slots for each line."""

    def __init__(
        self, functions: Sequence[PciFunction] = (), routes: Sequence[int] = (0,) * SLOTS
    ) -> None:
        self.slots = dict(enumerate(functions, FIRST))
        self.routes = routes
        self.wire_count = max(routes) + 1
        super().__init__()
        for number in range(self.wire_count):
            self.line(f"intx{number}")
        self.asserted = [0] * len(self.lines)
        self.bars = Bars(list(self.slots.values()))
        for slot, function in self.slots.items():
            function.moved = self.bars.find
            function.interrupt = partial(self.drive, slot)

    @classmethod
    def from_node(cls, node: Node, wiring: Wiring) -> Self:
        from rvvm.py.devices.virtio.pci import VirtioPci

        functions = wiring.cards(node, "pci", room=SLOTS - FIRST)
        return cls([VirtioPci(function) for function in functions], _routes(node))

    def wires(self, node: Node) -> list[Specifier]:
        return _wires(node)

    def apertures(self, node: Node) -> Iterator[tuple[str, Region, Bars]]:
        """Where the BARs can be: the 32-bit memory range of the node."""
        for space, address, region in node.pci_ranges():
            if space & SPACE_CODE == MEMORY_32:
                self.bars.base = address
                yield "memory", region, self.bars
                return
        raise node["ranges"].error("has no 32-bit memory for the BARs")

    def window(self) -> Window:
        return _Ecam(self.slots)

    # Interrupts

    def drive(self, slot: int) -> None:
        """A function's INTA has changed: those of a line are joined."""
        line, bit = self.routes[slot], 1 << slot
        if self.slots[slot].level:
            self.asserted[line] |= bit
        else:
            self.asserted[line] &= ~bit
        self.lines[line].set(self.asserted[line] != 0)

    # State

    def reset(self) -> None:
        super().reset()
        self.asserted = [0] * len(self.lines)
        for function in self.slots.values():
            function.reset()

    def state(self) -> dict[str, Any]:
        states = {slot: function.state() for slot, function in self.slots.items()}
        return super().state() | {"functions": states}

    def load_state(self, state: Mapping[str, Any]) -> None:
        super().load_state(state)
        for slot, function in self.slots.items():
            function.load_state(state["functions"][slot])

    def show(self) -> list[str]:
        return super().show() + [f"slot {n}: {function}" for n, function in self.slots.items()]


class _Ecam(Window):
    """7.2.2: bus, device and function above the 4 KiB of each. Who is not there reads ones."""

    def __init__(self, slots: Mapping[int, PciFunction]) -> None:
        super().__init__(())
        self._slots = slots

    def locked(self, lock: AbstractContextManager[Any]) -> Handlers:
        there = {slot << 3: f.window().locked(lock) for slot, f in self._slots.items()}

        def read(offset: int, width: int) -> int:
            function = there.get(offset >> SPACE)
            if function is None:
                return (1 << 8 * width) - 1
            return function[0](offset & 0xFFF, width)

        def write(offset: int, width: int, value: int) -> None:
            function = there.get(offset >> SPACE)
            if function is not None:
                function[1](offset & 0xFFF, width, value)

        return read, write


class Bars(Window):
    """The memory window: each page leads to the function whose BAR is there.

    Harts look at the map of pages without the lock: a new one takes its place as a whole.
    """

    def __init__(self, functions: Sequence[PciFunction]) -> None:
        super().__init__(())
        self.base = 0  # on the bus
        self._functions = functions
        self._windows: list[Handlers] = []
        self._pages: dict[int, tuple[int, ReadWindow, WriteWindow]] = {}

    def find(self) -> None:
        """A BAR has moved. Of two in one place the first is there."""
        pages: dict[int, tuple[int, ReadWindow, WriteWindow]] = {}
        for function, window in zip(self._functions, self._windows, strict=False):
            if (base := function.base) is not None:
                for page in range(base >> SPACE, base + function.bar_size >> SPACE):
                    pages.setdefault(page, (base, *window))
        self._pages = pages

    def locked(self, lock: AbstractContextManager[Any]) -> Handlers:
        self._windows = [Window(f.bar_places()).locked(lock) for f in self._functions]
        self.find()
        bus = self.base

        def read(offset: int, width: int) -> int:
            address = bus + offset
            there = self._pages.get(address >> SPACE)
            if there is None:
                return (1 << 8 * width) - 1
            return there[1](address - there[0], width)

        def write(offset: int, width: int, value: int) -> None:
            address = bus + offset
            there = self._pages.get(address >> SPACE)
            if there is not None:
                there[2](address - there[0], width, value)

        return read, write


def _wires(node: Node) -> list[Specifier]:
    """The interrupts that ``interrupt-map`` leads to, each once: they are the lines."""
    return list(dict.fromkeys(row.target for row in node.interrupt_map()))


def _routes(node: Node) -> list[int]:
    """The line of each slot's INTA (2.4.3.1: a row fits where it agrees under the mask)."""
    rows, wires = node.interrupt_map(), _wires(node)
    mask = node["interrupt-map-mask"].u32s()
    if len(mask) != _MAP_CELLS:
        raise node["interrupt-map-mask"].error(f"has {len(mask)} cells, expected {_MAP_CELLS}")
    routes = []
    for slot in range(SLOTS):
        wanted = [
            cell & bits for cell, bits in zip([slot << SLOT_SHIFT, 0, 0, INTA], mask, strict=True)
        ]
        target = next((row.target for row in rows if row.child == wanted), None)
        if target is None:
            raise node["interrupt-map"].error(f"has no INTA of slot {slot}")
        routes.append(wires.index(target))
    return routes
