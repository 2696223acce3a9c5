"""What all devices share: declared registers and state, interrupt lines, a way in from the tree."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self

from rvvm.py.register import Line, Place, Register, State, Window
from rvvm.py.views.table import Table

if TYPE_CHECKING:
    from rvvm._core import Hart, System
    from rvvm.py.devices.virtio.function import Function
    from rvvm.py.host import Clock, Serial
    from rvvm.py.tree import Node, Region, Specifier


class Target(NamedTuple):
    """Where one entry of ``interrupts-extended`` leads: a hart and one of its local interrupts."""

    hart: Hart
    number: int


class Wiring(Protocol):
    """What the board offers a device that is being made from its node."""

    @property
    def system(self) -> System:
        """The core: time and memory."""

    @property
    def clock(self) -> Clock:
        """The time of day."""

    @property
    def halt(self) -> Callable[[int], None]:
        """Stop the machine with an exit status."""

    @property
    def reboot(self) -> Callable[[], None]:
        """Ask for a restart."""

    def serial(self, node: Node) -> Serial:
        """The serial line of this node: the console's, or one of its own."""

    def targets(self, node: Node) -> list[Target | None]:
        """The node's interrupts as hart wires; None for a hart that is disabled."""

    def device(self, node: Node) -> Device | None:
        """The device of another node that has ``reg``."""

    def cards(self, node: Node, bus: str, room: int) -> list[Function]:
        """The virtio devices that go into this node's slots, at most ``room``."""


class Device:
    """A device: declarations (Register, Registers, State) and handlers named after them.

    ``on_<register>_read(self) -> int`` and ``on_<register>_write(self, value)`` replace the plain
    load and store; those of Registers get an index first. A subclass sets what its declarations
    count by, and its host connections, before it calls ``super().__init__()``. It does not know
    where it lives.
    """

    known: ClassVar[dict[str, type[Device]]] = {}
    """Every device class by ``compatible``."""
    declared: ClassVar[dict[str, Register | State[Any]]] = {}

    def __init_subclass__(cls, compatible: str | tuple[str, ...] = ()) -> None:
        declarations = {
            name: value for name, value in vars(cls).items() if isinstance(value, Register | State)
        }
        cls.declared = {**cls.declared, **declarations}
        for name in (compatible,) if isinstance(compatible, str) else compatible:
            if name in Device.known:
                raise TypeError(f"{name} is both {Device.known[name].__name__} and {cls.__name__}")
            Device.known[name] = cls

    def __init__(self) -> None:
        self.lines: list[Line] = []
        vars(self).update(self._initial())

    @classmethod
    def from_node(cls, node: Node, wiring: Wiring) -> Self:
        """The device that a node describes."""
        return cls()

    # Interrupts

    def line(self, name: str = "irq") -> Line:
        """A new interrupt output; the n-th is wired to the n-th of the node's ``interrupts``."""
        self.lines.append(Line(name))
        return self.lines[-1]

    def wires(self, node: Node) -> list[Specifier]:
        """Where the lines go, in their order."""
        return node.interrupts()

    def input(self, *cells: int) -> Callable[[bool], None] | None:
        """As an interrupt controller: the input that an interrupt specifier names, if any."""
        return None

    # The guest's side

    def places(self) -> Iterator[Place]:
        """Every register, resolved for this instance."""
        for declaration in self.declared.values():
            if isinstance(declaration, Register):
                yield from declaration.places(self)

    def window(self) -> Window:
        """The guest's accesses to the registers."""
        return Window(self.places())

    def apertures(self, node: Node) -> Iterator[tuple[str, Region, Window]]:
        """Windows besides the one at ``reg``: a name, where, and what is there."""
        return iter(())

    # State

    def _initial(self) -> dict[str, Any]:
        return {name: self.declared[name].initial(self) for name in self._stored()}

    def _stored(self) -> list[str]:
        return [
            name
            for name, declaration in self.declared.items()
            if isinstance(declaration, State) or declaration.stored
        ]

    def reset(self) -> None:
        """Everything to its reset value, every line low."""
        vars(self).update(self._initial())
        for line in self.lines:
            line.set(False)
        self.restored()

    def state(self) -> dict[str, Any]:
        """The whole state as plain data."""
        values = {name: copy.deepcopy(vars(self)[name]) for name in self._stored()}
        return values | {"lines": {line.name: line.level for line in self.lines}}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over a saved state; ValueError for one that it cannot have. What the lines drive is
        restored by its own owner."""
        for name in self._stored():
            self._check(name, self.declared[name].holds(self, state[name]))
        for line in self.lines:
            self._check(line.name, isinstance(state["lines"][line.name], bool))
        for name in self._stored():
            vars(self)[name] = copy.deepcopy(state[name])
        for line in self.lines:
            line.level = state["lines"][line.name]
        self.restored()

    def _check(self, name: str, fits: bool) -> None:
        if not fits:
            raise ValueError(f"no state of a {type(self).__name__}: {name}")

    def restored(self) -> None:
        """The state was replaced: a subclass rebuilds what it derives from it."""

    def attach_symbols(self, symbols: Mapping[str, int]) -> None:
        """The loaded program's symbols, for a device that a program places (HTIF)."""

    def diff(self, state: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
        """What differs from a saved state: name -> (now, then)."""
        now = self.state()
        return {name: (now[name], state.get(name)) for name in now if now[name] != state.get(name)}

    def show(self) -> list[str]:
        """The state for a person, a line each: ``lsr 0x60 (DR=0 THRE=1)``."""
        shown = [self.declared[name].show(vars(self)[name]) for name in self._stored()]
        return shown + [f"{line.name} {'high' if line.level else 'low'}" for line in self.lines]

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {', '.join(self.show())}>"

    def _repr_html_(self) -> str:
        return Table(type(self).__name__, ("",), [(line,) for line in self.show()]).html()
