"""The board: one hart for each cpu node, RAM for each memory node, a device for each other node.

The tree decides; nothing here knows an address or an interrupt number.
"""

from __future__ import annotations

import contextlib
import threading
from bisect import bisect
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import rvvm.py.devices  # noqa: F401  # makes the devices known
from rvvm.py import isa
from rvvm.py.completion import DEFAULT_TIMEBASE, PAGE, cpu_nodes, hart_id, memory_nodes
from rvvm.py.devices.device import Device, Target
from rvvm.py.devices.htif import TOHOST, Htif, OutputOnly
from rvvm.py.devices.virtio.function import Function
from rvvm.py.devices.virtio.ram import Ram
from rvvm.py.errors import UserError
from rvvm.py.host import Clock, Host, Serial, SerialPort
from rvvm.py.register import Window
from rvvm.py.tree import Node, Property, Region, Specifier, Tree
from rvvm.py.views.board import Placed, board_table, size_text
from rvvm.py.views.table import Table

if TYPE_CHECKING:
    from rvvm._core import Hart, System

CPU_INTERRUPT_CONTROLLER = "riscv,cpu-intc"
LOCAL_INTERRUPTS = 64  # Privileged spec: mip has as many bits
NOWHERE = 0xFFFF_FFFF  # sifive,plic-1.0.0 binding: a context that is not connected
ADDRESS_BITS = 56  # Privileged spec: the widest physical address
_PROGRAM = "the program's HTIF"
"""Among the devices' paths, that of one which no node describes."""


def timebase(tree: Tree) -> int:
    """How many times a second ``time`` ticks (section 3.8.1: in /cpus or in each cpu)."""
    cpus = tree.find("/cpus")
    holders = [cpus, *cpu_nodes(tree)] if cpus is not None else []
    for node in holders:
        if "timebase-frequency" in node:
            prop = node["timebase-frequency"]
            if not 0 < prop.number() < 1 << 33:
                raise prop.error(f"is {prop.number()}")
            return prop.number()
    return DEFAULT_TIMEBASE


class Board:
    """A tree, made into a system's harts, RAM and devices.

    ``system`` is an empty core system, made with ``timebase(tree)``. All device code runs under
    ``lock``.
    """

    def __init__(self, tree: Tree, system: System, host: Host | None = None) -> None:
        self.tree, self.system = tree, system
        self.host = host or Host()
        self.lock = threading.RLock()
        self.host.clock.lock = self.lock
        self.memory: list[Region] = []
        self.harts: list[Hart] = []
        self.devices: dict[str, Device] = {}
        self.serial_ports: dict[str, Serial] = {}
        self._claimed: list[tuple[Region, Node]] = []
        self._harts: dict[str, Hart] = {}  # by the path of the cpu node
        self._cards = list(self.host.cards)  # that have no slot yet
        self._behind: dict[str, list[Function]] = {}  # by the path of the slot's node
        self.functions = [card.function for card in self._cards]
        self._add_memory()
        self._add_harts()
        self.ram = Ram(system, self.memory)
        self._add_devices()

    # Memory and harts

    def _add_memory(self) -> None:
        for node in memory_nodes(self.tree):
            for region in node.physical() or []:
                self._claim(region, node)
                if region.base % PAGE or region.size % PAGE:
                    raise node.error(f"memory {region} is not made of whole 4 KiB pages")
                self._asking(node, self.system.add_ram, region.base, region.size)
                self.memory.append(region)
        if not self.memory:
            raise self.tree.error("has no memory node")

    def _add_harts(self) -> None:
        seen: dict[int, Node] = {}
        for node in cpu_nodes(self.tree):
            if not node.enabled:
                continue
            identity = hart_id(node)
            if identity in seen:
                raise node.error(f"hart ID {identity} is {seen[identity].path}'s")
            seen[identity] = node
            hart = self._asking(node, self.system.add_hart, identity, isa.extensions(node))
            self.harts.append(hart)
            self._harts[node.path] = hart
        if not self.harts:
            raise self.tree.error("has no enabled cpu node")

    @staticmethod
    def _asking(node: Node, ask: Callable[..., Any], *arguments: object) -> Any:
        """What the core refuses is the tree's fault."""
        try:
            return ask(*arguments)
        except ValueError as error:
            raise node.error(str(error)) from None

    def _claim(self, region: Region, node: Node) -> None:
        """Nothing may be where something else is."""
        if region.size == 0:
            raise node.error("reg has size 0")
        if region.end > 1 << ADDRESS_BITS:
            raise node.error(f"reg {region} is beyond the {ADDRESS_BITS}-bit physical addresses")
        at = bisect(self._claimed, region.base, key=lambda claim: claim[0].base)
        for other, owner in self._claimed[max(at - 1, 0) : at + 1]:  # its neighbours
            if region.base < other.end and other.base < region.end:
                raise node.error(f"{region} overlaps {owner.path} at {other} ({owner.source})")
        self._claimed.insert(at, (region, node))

    # Devices

    def _add_devices(self) -> None:
        """Nodes with registers first: those without refer to them."""
        nodes = list(self._device_nodes(self.tree.root))
        placed = [node for node in nodes if "reg" in node]
        for node in placed:
            self._bind(node, self._class_of(node) or self._unknown(node))
        for node in nodes:
            if "reg" not in node and (kind := self._class_of(node)) is not None:
                self._bind(node, kind)
        for node in nodes:
            if node.path in self.devices:
                self._wire(node)
        self._check_cards()
        self._check_console()

    def cards(self, node: Node, bus: str, room: int) -> list[Function]:
        """Put the cards that fit into a node's slots."""
        fitting = [card for card in self._cards if card.fits(bus, node.name, node.path)][:room]
        self._behind[node.path] = [card.function for card in fitting]
        for card in fitting:
            self._cards.remove(card)
            card.function.attach(self.ram, partial(self._report, node.path), self.lock)
            card.function.later, card.function.clock = self.later, self.host.clock
            card.function.watch = self.watch
        return [card.function for card in fitting]

    def _report(self, path: str, problem: str) -> None:
        self.host.report(f"{path}: {problem}")

    def _check_cards(self) -> None:
        """What was asked for must be there."""
        for card in self._cards:
            name = type(card.function).__name__
            where = f" on {card.bus}" if card.bus else ""
            raise self.tree.error(f"has no free virtio slot{where} for the device {name}")

    def _check_console(self) -> None:
        """A machine whose output goes nowhere would look dead."""
        node, named = self.console_node(), self._stdout_path()
        if node is not None and named is not None and node.path not in self.serial_ports:
            raise named.error(f"is {node.path}, which is no serial device in use")

    def _device_nodes(self, bus: Node) -> list[Node]:
        """The enabled nodes with a ``compatible``, on every bus that a hart can reach into."""
        found = []
        for node in bus.children.values():
            special = bus.parent is None and node.name in ("cpus", "chosen", "reserved-memory")
            if special or not node.enabled or node.string("device_type", "") == "memory":
                continue
            if node.compatible and ("reg" not in node or node.physical() is not None):
                found.append(node)
            elif node.compatible:
                self._check_unreachable(node)
            found += self._device_nodes(node)
        return found

    def _check_unreachable(self, node: Node) -> None:
        """Section 2.3.8: without ``ranges`` a bus's children have no address that a hart can use.

        A controller of another kind of bus (I2C, SPI) has none rightly.
        """
        bus = node.parent
        while bus is not None and "ranges" in bus:
            bus = bus.parent
        if bus is not None and ("simple-bus" in bus.compatible or self._class_of(node)):
            raise bus.error(
                f"has no ranges, so that no hart reaches {node.name} ({node.source});"
                " where addresses are the same as above, add: ranges;"
            )

    @staticmethod
    def _class_of(node: Node) -> type[Device] | None:
        """Section 2.3.1: the first programming model that is known."""
        classes = (Device.known.get(name) for name in node.compatible)
        return next((kind for kind in classes if kind is not None), None)

    @staticmethod
    def _unknown(node: Node) -> type[Device]:
        names, known = " or ".join(node.compatible), ", ".join(sorted(Device.known))
        raise node.error(f'no device for {names}; known: {known}; status = "disabled" skips a node')

    def _bind(self, node: Node, kind: type[Device]) -> None:
        device = kind.from_node(node, _Wiring(self))
        self.devices[node.path] = device
        if (port := self.serial_ports.get(node.path)) is not None:
            port.wake = self._locked(port.wake)
        region = next(iter(node.physical() or []), None)
        if region is not None:
            self._place(node, node.path, region, device.window())
        for name, aperture, window in device.apertures(node):
            self._place(node, f"{node.path} {name}", aperture, window)

    def _place(self, node: Node, name: str, region: Region, window: Window) -> None:
        self._claim(region, node)
        handlers = window.locked(self.lock)
        self._asking(node, self.system.add_device, name, region.base, region.size, *handlers)

    def _locked(self, callback: Callable[[], None]) -> Callable[[], None]:
        """What another thread calls must hold the device lock."""

        def call() -> None:
            with self.lock:
                callback()

        return call

    def later(self, action: Callable[[], None]) -> None:
        """Do it, under the lock, when the hart that runs has had its turn."""
        self.system.defer(self._locked(action))

    def watch(self, file: int, action: Callable[[], None]) -> None:
        """Do it, under the lock and while the machine runs, once a file can be read."""
        self.system.watch(file, self._locked(action))

    # Interrupts

    def _wire(self, node: Node) -> None:
        """The n-th line of a device goes where the n-th interrupt of its node says."""
        device = self.devices[node.path]
        if device.lines:
            for line, interrupt in zip(device.lines, device.wires(node), strict=False):
                sink = self._input(node, interrupt)
                if sink is not None:
                    line.connect(sink)

    def _input(self, node: Node, interrupt: Specifier) -> Callable[[bool], None] | None:
        """The input of an interrupt controller; None when there is nothing at the other end."""
        if CPU_INTERRUPT_CONTROLLER in interrupt.node.compatible:
            target = self._target(node, interrupt)
            return None if target is None else _HartInput(*target)
        device = self.devices.get(interrupt.node.path)
        if device is None:
            raise node.error(f"its interrupt goes to {interrupt.node.path}, which is no device")
        sink = device.input(*interrupt.cells)
        if sink is None:
            numbers = " ".join(map(str, interrupt.cells))
            raise node.error(f"{interrupt.node.path} has no interrupt {numbers}")
        return sink

    def _target(self, node: Node, interrupt: Specifier) -> Target | None:
        if len(interrupt.cells) != 1:
            raise node.error(f"a hart's interrupt has one cell, not {len(interrupt.cells)}")
        cpu, (number,) = interrupt.node.parent, interrupt.cells
        hart = self._harts.get(cpu.path) if cpu is not None else None
        if hart is None or number == NOWHERE:
            return None
        if number >= LOCAL_INTERRUPTS:
            raise node.error(f"a hart has no interrupt {number}")
        return Target(hart, number)

    # The running board

    def serial(self, node: Node) -> Serial:
        """The console's line for the console's node, else one of its own (``serial_ports``)."""
        port = self.host.serial if node is self.console_node() else SerialPort()
        self.serial_ports[node.path] = port
        return port

    def console_node(self) -> Node | None:
        """``/chosen/stdout-path``; else the first node that can be a console."""
        if (named := self._stdout_path()) is not None:
            node = self.tree.find(named.string())
            if node is None:
                raise named.error(f"is {named.string()}, and there is no such node")
            return node
        consoles = self.tree.compatible("ns16550a", "ns16550", "ucb,htif0")
        return next((node for node in consoles if node.enabled), None)

    def _stdout_path(self) -> Property | None:
        chosen = self.tree.find("/chosen")
        return chosen["stdout-path"] if chosen is not None and "stdout-path" in chosen else None

    def attach_symbols(self, symbols: Mapping[str, int]) -> None:
        """The loaded program's symbols, for the devices that a program places."""
        if TOHOST in symbols and not any(isinstance(it, Htif) for it in self.devices.values()):
            wiring = _Wiring(self)
            port = OutputOnly(self.host.serial)
            self.devices[_PROGRAM] = Htif(self.system, wiring.halt, port, self.lock)
        for device in self.devices.values():
            device.attach_symbols(symbols)

    def reset(self) -> None:
        """Every device to its reset state. Controllers come last: their inputs are low then."""
        with self.lock:
            for path in self._controllers_last():
                self.devices[path].reset()

    def _controllers_last(self) -> list[str]:
        controllers = {path for path in self.devices if self._is_controller(path)}
        return sorted(self.devices, key=lambda path: path in controllers)

    def _is_controller(self, path: str) -> bool:
        node = self.tree.find(path)
        return node is not None and "interrupt-controller" in node

    def close(self) -> None:
        """The machine ends: what it has written is on the host's disks, and what devices have of
        the host's is free, their threads and views of RAM too."""
        functions = [card.function for card in self.host.cards]
        with contextlib.ExitStack() as ending:
            ending.callback(self.host.clock.join)  # without the lock: its thread may wait for that
            for function in functions:
                ending.callback(function.join)
            ending.enter_context(self.lock)
            ending.callback(self.host.clock.close)
            for function in functions:
                ending.callback(function.detach)
                ending.callback(function.close)
        self.ram.close()

    def table(self) -> Table:
        """What is where: addresses, sizes, the classes that nodes are bound to, interrupts."""
        placed = [self._placed(region, node) for region, node in self._claimed]
        with_address = {node.path for _, node in self._claimed}
        for path, device in self.devices.items():
            if path not in with_address:
                placed.append(Placed(None, 0, path, self._kind(path, device)))
        ram, count = size_text(sum(region.size for region in self.memory)), len(self.harts)
        name = self.tree.root.string("model", str(self.tree.source))
        harts = "1 hart" if count == 1 else f"{count} harts"
        return board_table(f"{name}: {harts}, {ram}", placed)

    def _placed(self, region: Region, node: Node) -> Placed:
        device = self.devices.get(node.path)
        if device is None:
            return Placed(region.base, region.size, node.path, "RAM")
        kind = self._kind(node.path, device)
        return Placed(region.base, region.size, node.path, kind, _wires(node, device))

    def _kind(self, path: str, device: Device) -> str:
        """The class that a node is bound to, with the virtio devices behind it."""
        behind = ", ".join(type(function).__name__ for function in self._behind.get(path, ()))
        return type(device).__name__ + (f" ({behind})" if behind else "")

    def __repr__(self) -> str:
        return self.table().text()

    def _repr_html_(self) -> str:
        return self.table().html()

    def state(self) -> dict[str, dict[str, Any]]:
        """The state of every device, by path."""
        with self.lock:
            return {path: device.state() for path, device in self.devices.items()}

    def load_state(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Put every device back into a saved state. Controllers come first: what others tell them
        when they are back counts."""
        with self.lock:
            for path in reversed(self._controllers_last()):
                self.devices[path].load_state(state[path])


def _wires(node: Node, device: Device) -> list[tuple[str, int]]:
    """The interrupts that a device raises: the controller's name and the number of each."""
    try:
        wires = device.wires(node) if device.lines else node.interrupts()
    except UserError:  # of a node whose device has no use for them
        return []
    return [(_controller(it.node), it.cells[0] if it.cells else 0) for it in wires]


def _controller(node: Node) -> str:
    """A short name: that of the cpu for a hart's own, else a label."""
    if CPU_INTERRUPT_CONTROLLER in node.compatible and node.parent is not None:
        return node.parent.name
    return (node.labels or [node.name])[0]


class _HartInput:
    """A local interrupt of a hart as a line's sink."""

    def __init__(self, hart: Hart, number: int) -> None:
        self.hart, self.number = hart, number

    def __call__(self, level: bool) -> None:
        self.hart.set_interrupt(self.number, level)


class _Wiring:
    """What a device may ask while it is being made."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self.system = board.system

    @property
    def clock(self) -> Clock:
        return self._board.host.clock

    @property
    def halt(self) -> Callable[[int], None]:
        return self._board.host.halt or self._board.system.halt

    @property
    def reboot(self) -> Callable[[], None]:
        return self._board.host.reboot or (lambda: self.halt(0))

    def serial(self, node: Node) -> Serial:
        return self._board.serial(node)

    def targets(self, node: Node) -> list[Target | None]:
        return [self._hart_wire(node, interrupt) for interrupt in node.interrupts()]

    def _hart_wire(self, node: Node, interrupt: Specifier) -> Target | None:
        if CPU_INTERRUPT_CONTROLLER not in interrupt.node.compatible:
            raise node.error(f"its interrupts go to {interrupt.node.path}, which is no hart's")
        return self._board._target(node, interrupt)

    def device(self, node: Node) -> Device | None:
        return self._board.devices.get(node.path)

    def cards(self, node: Node, bus: str, room: int) -> list[Function]:
        return self._board.cards(node, bus, room)
