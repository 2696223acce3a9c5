"""The flattened devicetree (.dtb), in and out: Devicetree Specification v0.4, chapter 5.

The PyPI ``fdt`` library is the tests' reference but not used here: it rejects FDT_NOP tokens, which
firmware leaves behind, and guesses a property's type from its bytes.
"""

from __future__ import annotations

import struct

from rvvm.py.errors import UserError
from rvvm.py.tree import DEEPEST, MOST_NODES, Node, Property, Region, Source, Tree

MAGIC = 0xD00DFEED
VERSION, LAST_COMPATIBLE = 17, 16
_BEGIN_NODE, _END_NODE, _PROP, _NOP, _END = 1, 2, 3, 4, 9
_HEADER = struct.Struct(">10I")
_CELL, _PAIR, _RESERVATION = struct.Struct(">I"), struct.Struct(">II"), struct.Struct(">QQ")


def parse(data: bytes, file: str = "<dtb>") -> Tree:
    """The tree of a flattened devicetree; a damaged one raises UserError with the offset."""
    reader = _Reader(data, file)
    try:
        return reader.tree()
    except (struct.error, ValueError, IndexError):
        raise reader.error("it is cut short or damaged") from None
    except OverflowError:
        raise reader.error("it has a number that cannot be") from None


def export(tree: Tree) -> bytes:
    """The flattened devicetree, version 17."""
    structure, strings = bytearray(), _Strings()
    _write_node(tree.root, structure, strings)
    structure += _CELL.pack(_END)
    reservations = b"".join(_RESERVATION.pack(*region) for region in [*tree.reservations, (0, 0)])
    structure_at = _HEADER.size + len(reservations)
    strings_at = structure_at + len(structure)
    header = _HEADER.pack(
        MAGIC,
        strings_at + len(strings.data),
        structure_at,
        strings_at,
        _HEADER.size,
        VERSION,
        LAST_COMPATIBLE,
        tree.boot_cpu,
        len(strings.data),
        len(structure),
    )
    return header + reservations + bytes(structure) + bytes(strings.data)


class _Strings:
    """The strings block: each property name once."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.offsets: dict[str, int] = {}

    def offset(self, name: str) -> int:
        if name not in self.offsets:
            self.offsets[name] = len(self.data)
            self.data += name.encode() + b"\0"
        return self.offsets[name]


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _write_node(node: Node, out: bytearray, strings: _Strings) -> None:
    out += _CELL.pack(_BEGIN_NODE) + _padded(node.name.encode() + b"\0")
    for prop in node.properties.values():
        out += _CELL.pack(_PROP) + _PAIR.pack(len(prop.value), strings.offset(prop.name))
        out += _padded(prop.value)
    for child in node.children.values():
        _write_node(child, out, strings)
    out += _CELL.pack(_END_NODE)


class _Reader:
    """A cursor over the structure block (section 5.4)."""

    def __init__(self, data: bytes, file: str) -> None:
        self.data, self.source, self.at = data, Source(file), 0
        self.depth = self.nodes = 0

    def error(self, problem: str) -> UserError:
        return UserError(f"{self.source}: not a devicetree blob: {problem} (offset {self.at:#x})")

    def tree(self) -> Tree:
        fields = _HEADER.unpack_from(self.data)
        magic, size, structure, strings, reservations, version, compatible, boot_cpu, *_ = fields
        if magic != MAGIC:
            raise self.error(f"it begins with {magic:#010x}")
        if version < LAST_COMPATIBLE or compatible > VERSION:
            raise self.error(f"its version is {version}")
        if size > len(self.data):
            raise self.error(f"it says it has {size} bytes and has {len(self.data)}")
        self.strings = strings
        regions = self._reservations(reservations)
        self.at = structure
        return Tree(self._root(), self.source, regions, boot_cpu)

    def _reservations(self, at: int) -> list[Region]:
        regions: list[Region] = []
        while (pair := _RESERVATION.unpack_from(self.data, at)) != (0, 0):
            regions.append(Region(*pair))
            at += _RESERVATION.size
        return regions

    def _root(self) -> Node:
        """Every token up to FDT_END; a loop, so that no depth of nesting is too deep."""
        node: Node | None = None
        while True:
            token = self._cell()
            if token == _BEGIN_NODE:
                node = self._begin(node)
            elif token == _PROP and node is not None:
                self._property(node)
            elif token == _END_NODE and node is not None:
                self.depth -= 1
                if node.parent is None:
                    return node
                node = node.parent
            elif token != _NOP:
                self.at -= 4
                raise self.error(f"token {token:#x} is out of place")

    def _begin(self, parent: Node | None) -> Node:
        name = self._text(self.at)
        self.at += (len(name.encode()) + 1 + 3) & ~3
        node = Node(name, parent, self.source)
        self.depth += 1
        self.nodes += 1
        if self.depth > DEEPEST or self.nodes > MOST_NODES:
            raise self.error(f"more than {MOST_NODES} nodes, or nested more than {DEEPEST} deep")
        if "/" in name:
            raise self.error(f"a node has the name {name!r}")
        if parent is not None:
            if name in parent.children:
                raise self.error(f"{node.path} is there twice")
            parent.children[name] = node
        return node

    def _property(self, node: Node) -> None:
        size, name_at = _PAIR.unpack_from(self.data, self.at)
        start = self.at + _PAIR.size
        if start + size > len(self.data):
            raise self.error(f"a property of {node.path} has {size} bytes")
        name = self._text(self.strings + name_at)
        node.properties[name] = Property(
            node, name, bytes(self.data[start : start + size]), self.source
        )
        self.at = start + (size + 3 & ~3)

    def _cell(self) -> int:
        (value,) = _CELL.unpack_from(self.data, self.at)
        self.at += 4
        return int(value)

    def _text(self, at: int) -> str:
        return self.data[at : self.data.index(b"\0", at)].decode()
