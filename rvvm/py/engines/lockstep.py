"""Two engines side by side, stopped at the first instruction after which they differ."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from rvvm.py.engines.engine import Engine, ExitLike
from rvvm.py.tree import Region
from rvvm.py.views.listing import Listing, disassemble
from rvvm.py.views.registers import FLOATING, INTEGER
from rvvm.py.views.table import Table, hexadecimal

Pair = tuple[Engine, Engine]


@dataclass
class Difference:
    """Where two engines part: after ``count`` equal instructions, by the one at ``pc``."""

    names: tuple[str, str]
    count: int
    pc: int
    code: bytes
    before: Mapping[str, int]
    values: dict[str, tuple[int, int]]
    memory: dict[int, tuple[int, int]] = field(default_factory=dict)
    exits: tuple[str, str] = ("", "")

    def table(self) -> Table:
        """Every register and byte of memory that differs, beside its value before."""
        rows = [
            (name, hexadecimal(self.before[name]), hexadecimal(one), hexadecimal(other))
            for name, (one, other) in self.values.items()
        ]
        rows += [
            (f"[{address:#x}]", "", f"{one:#04x}", f"{other:#04x}")
            for address, (one, other) in self.memory.items()
        ]
        if self.exits[0] != self.exits[1]:
            rows.append(("exit", "", *self.exits))
        title = f"after {self.count} equal instructions: {self._instruction()}"
        return Table(title, ("", "before", *self.names), rows)

    def state(self) -> Table:
        """Both states whole; what differs is marked."""
        general = ["pc", *INTEGER[1:], *FLOATING]
        shown = [name for name in general if name in self.before]
        shown += [name for name in self.values if name not in shown]
        pairs = {name: self.values.get(name, (self.before[name],) * 2) for name in shown}
        rows = [(name, hexadecimal(one), hexadecimal(two)) for name, (one, two) in pairs.items()]
        marked = {index for index, name in enumerate(shown) if name in self.values}
        return Table("", ("", *self.names), rows, marked)

    def _instruction(self) -> str:
        lines = Listing(disassemble(self.code, self.pc, 1))
        return f"{self.pc:#x} {lines[0].text}" if lines else f"{self.pc:#x}"

    def __repr__(self) -> str:
        return self.table().text()

    def _repr_html_(self) -> str:
        return self.table().html() + self.state().html()


class Lockstep:
    """``run`` compares two engines that ``make`` creates in equal states.

    ``make`` is called again to go back: chunks that differ are run anew, one instruction at a time.
    ``ignore`` names registers that are not compared; those only one engine has never are.
    """

    def __init__(self, make: Callable[[], Pair], ignore: Collection[str] = ()) -> None:
        self._make = make
        self._ignore = set(ignore)
        self._pair = make()
        self.count = 0

    def run(self, instructions: int, chunk: int = 1) -> Difference | None:
        """Up to ``instructions`` instructions, compared every ``chunk``; None when all agree.

        The run also ends, without a difference, when both engines stop for the same reason.
        """
        end = self.count + instructions
        while self.count < end:
            step = min(chunk, end - self.count)
            before = self._snapshot() if step == 1 else None
            exits = self._step(step)
            difference = self._compare(exits, before)
            if difference and step > 1:
                return self._single_steps(step)
            if difference or exits[0].reason != "budget":
                return difference
            self.count += step
        return None

    def _single_steps(self, length: int) -> Difference | None:
        """From equal states at ``count`` again, without skipping over anything."""
        self._pair = self._make()
        if self.count:
            self._step(self.count)
        return self.run(length)

    def _step(self, count: int) -> tuple[ExitLike, ExitLike]:
        one, other = self._pair
        return one.run(count), other.run(count)

    def _snapshot(self) -> tuple[Mapping[str, int], bytes]:
        engine = self._pair[0]
        registers = engine.registers()
        return registers, _code(engine, registers["pc"])

    def _compare(
        self, exits: tuple[ExitLike, ExitLike], before: tuple[Mapping[str, int], bytes] | None
    ) -> Difference | None:
        values, memory = self._values(), _memory(*self._pair)
        reasons = tuple(f"{stop.reason} {stop.detail:#x}" for stop in exits)
        if not values and not memory and exits[0].reason == exits[1].reason:
            return None
        registers, code = before or ({}, b"")
        one, other = self._pair
        return Difference(
            (one.name, other.name),
            self.count,
            registers.get("pc", 0),
            code,
            registers,
            values,
            memory,
            (reasons[0], reasons[1]),
        )

    def _values(self) -> dict[str, tuple[int, int]]:
        one, other = (engine.registers() for engine in self._pair)
        common = [name for name in one if name in other and name not in self._ignore]
        return {name: (one[name], other[name]) for name in common if one[name] != other[name]}


def _code(engine: Engine, pc: int) -> bytes:
    """The four bytes at pc, or fewer at the end of RAM."""
    for region in engine.rams():
        if region.base <= pc < region.end:
            start = pc - region.base
            return bytes(engine.ram(region)[start : start + 4])
    return b""


_BLOCK = 4096
_SHOWN = 32


def _memory(one: Engine, other: Engine) -> dict[int, tuple[int, int]]:
    """The first bytes of RAM that differ, by address."""
    differing: dict[int, tuple[int, int]] = {}
    for region in one.rams():
        mine, theirs = one.ram(region), other.ram(region)
        if mine == theirs:
            continue
        for address in _differing(region, mine, theirs):
            differing[address] = (mine[address - region.base], theirs[address - region.base])
            if len(differing) == _SHOWN:
                return differing
    return differing


def _differing(region: Region, mine: memoryview, theirs: memoryview) -> list[int]:
    found: list[int] = []
    for start in range(0, region.size, _BLOCK):
        one, other = mine[start : start + _BLOCK], theirs[start : start + _BLOCK]
        if one != other:
            found += [region.base + start + at for at in range(len(one)) if one[at] != other[at]]
    return found
