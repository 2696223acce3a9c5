"""A devicetree as data: nodes and properties that know where they were written.

The names follow the Devicetree Specification v0.4; ``dts.py`` and ``dtb.py`` make and write trees.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from rvvm.py.errors import UserError

DEEPEST = 64
"""Levels of nodes: what Linux unflattens (drivers/of/fdt.c, FDT_MAX_DEPTH)."""
MOST_NODES = 4096
"""Of a tree: 512 harts have some 2,000."""
_MOST_CELLS = 4
"""Of an address or a size: PCI has three, and Linux has room for four (OF_MAX_ADDR_CELLS)."""
_MOST_ARGUMENTS = 16
"""Cells behind a phandle (Linux' MAX_PHANDLE_ARGS)."""

Value = bytes | str | int | Iterable[int] | Iterable[str] | None
"""What a property may be set to: bytes as they are, text, 32-bit cells, or nothing (a flag)."""


class Source(NamedTuple):
    """Where something was written: a file and, for source text, a line."""

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


class Region(NamedTuple):
    """A piece of an address space."""

    base: int
    size: int

    @property
    def end(self) -> int:
        """The first address after it."""
        return self.base + self.size

    def __str__(self) -> str:
        return f"{self.base:#x}..{self.end - 1:#x}"

    def __repr__(self) -> str:
        return f"Region({self.base:#x}, {self.size:#x})"


class Specifier(NamedTuple):
    """A phandle and the cells that follow it, e.g. one interrupt: its controller and number."""

    node: Node
    cells: tuple[int, ...]


class MapRow(NamedTuple):
    """One row of an ``interrupt-map``: a child's address and interrupt as cells, and where that
    interrupt goes."""

    child: list[int]
    target: Specifier


@dataclass
class Property:
    """A name and its bytes; the accessors say how the bytes are to be read (section 2.2.4)."""

    node: Node = field(repr=False)
    name: str
    value: bytes
    source: Source

    def error(self, problem: str) -> UserError:
        """A UserError that names the file, the line and this property."""
        return UserError(f"{self.source}: {self.node.path}: {self.name} {problem}")

    def u32s(self) -> list[int]:
        """The value as 32-bit big-endian cells."""
        if len(self.value) % 4:
            raise self.error(f"is {len(self.value)} bytes, not a list of 32-bit cells")
        return [cell for (cell,) in struct.iter_unpack(">I", self.value)]

    def u32(self) -> int:
        """The value as one cell."""
        cells = self.u32s()
        if len(cells) != 1:
            raise self.error(f"has {len(cells)} cells, expected one")
        return cells[0]

    def number(self) -> int:
        """The value as one cell or one 64-bit number, as in ``timebase-frequency``."""
        if len(self.value) not in (4, 8):
            raise self.error(f"is {len(self.value)} bytes, expected a 32- or 64-bit number")
        return int.from_bytes(self.value, "big")

    def strings(self) -> list[str]:
        """The value as a list of NUL-terminated strings."""
        try:
            text = self.value.decode()
        except UnicodeDecodeError:
            raise self.error("is not text") from None
        if not text.endswith("\0"):
            raise self.error("is not a string")
        return text[:-1].split("\0")

    def string(self) -> str:
        """The value as exactly one string."""
        strings = self.strings()
        if len(strings) != 1:
            raise self.error(f"has {len(strings)} strings, expected one")
        return strings[0]


def encode(value: Value) -> bytes:
    """The bytes of a property value.

    >>> encode([1, 2]).hex(), encode("ok"), encode(None)
    ('0000000100000002', b'ok\\x00', b'')
    """
    if value is None:
        return b""
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if isinstance(value, str):
        return value.encode() + b"\0"
    if isinstance(value, int):
        return value.to_bytes(4, "big")
    return b"".join(encode(item) for item in value)


def cells(value: int, count: int) -> list[int]:
    """A number as ``count`` 32-bit cells, most significant first.

    >>> cells(0x1_0000_0002, 2)
    [1, 2]
    """
    return [value >> 32 * i & 0xFFFF_FFFF for i in reversed(range(count))]


@dataclass(eq=False)
class Node:
    """A node: properties and children by name, its parent, its labels, and where it was written."""

    name: str
    parent: Node | None
    source: Source
    properties: dict[str, Property] = field(default_factory=dict)
    children: dict[str, Node] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<Node {self.path} at {self.source}>"

    def error(self, problem: str) -> UserError:
        """A UserError that names the file, the line and this node."""
        return UserError(f"{self.source}: {self.path}: {problem}")

    @property
    def path(self) -> str:
        """The full path, ``/soc/serial@10000000``."""
        if self.parent is None:
            return "/"
        return f"{self.parent.path.rstrip('/')}/{self.name}"

    @property
    def root(self) -> Node:
        """The node above all."""
        return self if self.parent is None else self.parent.root

    def walk(self) -> Iterator[Node]:
        """This node and everything below it, in the order of the source."""
        yield self
        for child in list(self.children.values()):
            yield from child.walk()

    # Properties

    def __contains__(self, name: str) -> bool:
        return name in self.properties

    def __getitem__(self, name: str) -> Property:
        try:
            return self.properties[name]
        except KeyError:
            raise self.error(f"has no {name}") from None

    def u32(self, name: str, default: int | None = None) -> int:
        """A one-cell property; without a default its absence is an error."""
        if default is not None and name not in self.properties:
            return default
        return self[name].u32()

    def strings(self, name: str) -> list[str]:
        """A string list; empty when the property is absent."""
        return self.properties[name].strings() if name in self.properties else []

    def string(self, name: str, default: str | None = None) -> str:
        """A string property; without a default its absence is an error."""
        if default is not None and name not in self.properties:
            return default
        return self[name].string()

    @property
    def compatible(self) -> list[str]:
        """Section 2.3.1: programming models, the most specific first."""
        return self.strings("compatible")

    @property
    def enabled(self) -> bool:
        """Section 2.3.4: a missing status is ``okay``; ``ok`` is what old trees write."""
        return self.string("status", "okay") in ("okay", "ok")

    # Addresses

    @property
    def address_cells(self) -> int:
        """Cells of an address in the children's ``reg`` (section 2.3.5)."""
        return self._few("#address-cells", 2, _MOST_CELLS)

    @property
    def size_cells(self) -> int:
        """Cells of a size in the children's ``reg``."""
        return self._few("#size-cells", 1, _MOST_CELLS)

    def _few(self, name: str, default: int | None, most: int) -> int:
        """A number of cells."""
        count = self.u32(name, default)
        if count > most:
            raise self[name].error(f"is {count}, expected at most {most}")
        return count

    def reg(self) -> list[Region]:
        """``reg`` in the parent's address space (section 2.3.6); empty without one."""
        if "reg" not in self.properties or self.parent is None:
            return []
        if not self["reg"].value:
            raise self["reg"].error("is empty")
        widths = (self.parent.address_cells, self.parent.size_cells)
        return [Region(*pair) for pair in self._tuples("reg", widths)]

    def physical(self) -> list[Region] | None:
        """``reg`` as the harts see it: through every bus's ``ranges`` (section 2.3.8).

        None when a bus above has no ``ranges``: its children have no address of their own.
        """
        return self._to_root(self.reg(), self.parent)

    def _to_root(self, regions: list[Region], bus: Node | None) -> list[Region] | None:
        while bus is not None and bus.parent is not None:
            if "ranges" not in bus:
                return None
            regions = [bus._to_parent(region, self) for region in regions]
            bus = bus.parent
        return regions

    def _to_parent(self, region: Region, child: Node) -> Region:
        """A region of the children's address space in the parent's."""
        assert self.parent is not None
        if not self["ranges"].value:
            return region
        widths = (self.address_cells, self.parent.address_cells, self.size_cells)
        for own, above, size in self._tuples("ranges", widths):
            if own <= region.base and region.end <= own + size:
                return Region(region.base - own + above, region.size)
        raise child.error(f"reg {region} is not within the ranges of {self.path}")

    def _tuples(self, name: str, widths: tuple[int, ...]) -> list[list[int]]:
        """A property as rows of numbers, each of a given number of cells."""
        data, row = self[name].u32s(), sum(widths)
        if row == 0 or len(data) % row:
            raise self[name].error(f"has {len(data)} cells, not a multiple of {row}")
        rows = []
        for start in range(0, len(data), row):
            numbers = []
            for width in widths:
                numbers.append(_number(data[start : start + width]))
                start += width
            rows.append(numbers)
        return rows

    # References

    @property
    def phandle(self) -> int | None:
        """Section 2.3.3: the number others refer to this node by."""
        return self.u32("phandle") if "phandle" in self else None

    def reference(self, name: str) -> Node:
        """The node that a one-phandle property names."""
        return _referenced(self[name], self._phandles(), self[name].u32())

    def specifiers(self, name: str, cells_name: str) -> list[Specifier]:
        """A list of phandles, each followed by the cells its node's ``cells_name`` announces."""
        found, data, prop = [], self[name].u32s(), self[name]
        nodes = self._phandles()
        while data:
            node = _referenced(prop, nodes, data[0])
            end = 1 + node._few(cells_name, None, _MOST_ARGUMENTS)
            if end > len(data):
                raise prop.error(f"ends within the cells of {node.path}")
            found.append(Specifier(node, tuple(data[1:end])))
            data = data[end:]
        return found

    def interrupts(self) -> list[Specifier]:
        """What this node raises: ``interrupts-extended``, or ``interrupts`` (section 2.4.1)."""
        if "interrupts-extended" in self:
            return self.specifiers("interrupts-extended", "#interrupt-cells")
        if "interrupts" not in self:
            return []
        parent = self._interrupt_parent()
        count = parent._few("#interrupt-cells", None, _MOST_ARGUMENTS)
        rows = self._tuples("interrupts", (1,) * count)
        return [Specifier(parent, tuple(row)) for row in rows]

    def interrupt_map(self) -> list[MapRow]:
        """A bus's translation of its children's interrupts (section 2.4.3.1)."""
        prop, rows = self["interrupt-map"], []
        specifier = self._few("#interrupt-cells", None, _MOST_ARGUMENTS)
        data, own = prop.u32s(), self.address_cells + specifier
        nodes = self._phandles()
        while data:
            if len(data) <= own:
                raise prop.error("ends within a row")
            parent = _referenced(prop, nodes, data[own])
            # The one place where a missing #address-cells means none (2.4.3.1).
            first = own + 1 + parent._few("#address-cells", 0, _MOST_CELLS)
            end = first + parent._few("#interrupt-cells", None, _MOST_ARGUMENTS)
            if end > len(data):
                raise prop.error(f"ends within the cells of {parent.path}")
            rows.append(MapRow(data[:own], Specifier(parent, tuple(data[first:end]))))
            data = data[end:]
        return rows

    def pci_ranges(self) -> list[tuple[int, int, Region]]:
        """A PCI bus's ``ranges``: phys.hi, the address on the bus, and where the harts see it."""
        assert self.parent is not None
        found = []
        widths = (1, 2, self.parent.address_cells, self.size_cells)
        for space, bus, base, size in self._tuples("ranges", widths):
            for region in self._to_root([Region(base, size)], self.parent) or []:
                found.append((space, bus, region))
        return found

    def _interrupt_parent(self) -> Node:
        node: Node | None = self
        while node is not None:
            if "interrupt-parent" in node:
                return node.reference("interrupt-parent")
            node = node.parent
            if node is not None and "interrupt-controller" in node:
                return node
        raise self["interrupts"].error("has no interrupt-parent")

    def _phandles(self) -> dict[int | None, Node]:
        return {node.phandle: node for node in self.root.walk() if "phandle" in node}

    # Editing

    def set(self, name: str, value: Value) -> Property:
        """Add or replace a property."""
        prop = Property(self, name, encode(value), self.source)
        self.properties[name] = prop
        return prop

    def delete(self, name: str) -> None:
        """Remove a property or else a child; nothing happens when there is neither."""
        if self.properties.pop(name, None) is None:
            self.children.pop(name, None)

    def add(self, name: str) -> Node:
        """The child of that name, made when it does not exist."""
        if name not in self.children:
            self.children[name] = Node(name, self, self.source)
        return self.children[name]

    def clone(self, name: str) -> Node:
        """A deep copy of this node beside it; its labels and phandles are not copied."""
        assert self.parent is not None, "the root has no place beside it"
        if name in self.parent.children:
            raise self.error(f"there is already a {self.parent.children[name].path}")
        copy = self._copy(name, self.parent)
        self.parent.children[name] = copy
        for node in copy.walk():
            node.labels.clear()
            node.delete("phandle")
        return copy

    def _copy(self, name: str, parent: Node | None) -> Node:
        node = Node(name, parent, self.source, labels=list(self.labels))
        for prop in self.properties.values():
            node.properties[prop.name] = Property(node, prop.name, prop.value, prop.source)
        for child in self.children.values():
            node.children[child.name] = child._copy(child.name, node)
        return node


def _referenced(prop: Property, nodes: dict[int | None, Node], phandle: int) -> Node:
    if phandle not in nodes:
        raise prop.error(f"refers to phandle {phandle:#x}, which no node has")
    return nodes[phandle]


def _number(cells: list[int]) -> int:
    number = 0
    for cell in cells:
        number = number << 32 | cell
    return number


@dataclass(eq=False)
class Tree:
    """A whole tree: the root node, the memory reservation block and the file it came from."""

    root: Node
    source: Source
    reservations: list[Region] = field(default_factory=list)
    boot_cpu: int = 0

    @classmethod
    def empty(cls, file: str = "<new>") -> Tree:
        """A tree of one empty root."""
        return cls(Node("", None, Source(file)), Source(file))

    def error(self, problem: str) -> UserError:
        """A UserError that names the file."""
        return UserError(f"{self.source}: {problem}")

    def walk(self) -> Iterator[Node]:
        """Every node, in the order of the source."""
        return self.root.walk()

    def find(self, path: str) -> Node | None:
        """The node of a full path or an alias, or None. What follows a colon is not the path's."""
        path = path.partition(":")[0]
        if not path.startswith("/"):
            alias, slash, rest = path.partition("/")
            aliases = self.root.children.get("aliases")
            if aliases is None or alias not in aliases:
                return None
            path = aliases.string(alias) + slash + rest
        node: Node | None = self.root
        for name in filter(None, path.split("/")):
            node = None if node is None else _child(node, name)
        return node

    def __getitem__(self, path: str) -> Node:
        node = self.find(path)
        if node is None:
            raise self.error(f"has no node {path}")
        return node

    def compatible(self, *names: str) -> list[Node]:
        """Every node that claims one of these programming models."""
        return [node for node in self.walk() if not set(names).isdisjoint(node.compatible)]

    def new_phandle(self, node: Node) -> int:
        """The node's phandle, given out now when it has none."""
        if node.phandle is None:
            taken = [other.phandle or 0 for other in self.walk()]
            node.set("phandle", max(taken) + 1)
        assert node.phandle is not None
        return node.phandle

    def copy(self) -> Tree:
        """An independent copy."""
        return Tree(self.root._copy("", None), self.source, list(self.reservations), self.boot_cpu)


def _child(node: Node, name: str) -> Node | None:
    """A child by name; the unit address may be left out when that is unambiguous (2.2.3)."""
    if name in node.children:
        return node.children[name]
    matches = [child for key, child in node.children.items() if key.partition("@")[0] == name]
    return matches[0] if len(matches) == 1 else None
