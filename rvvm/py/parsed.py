"""Devicetree source that was parsed before: a start without the parser, which takes longer than all
the rest of the board. One tree for each name of a file, good for the same text only.
"""

from __future__ import annotations

import contextlib
import os
from ast import literal_eval
from binascii import crc32
from pathlib import Path
from typing import Any

from rvvm.py.errors import UserError
from rvvm.py.images import cache
from rvvm.py.tree import Node, Property, Region, Source, Tree

_FORM = 1  # another one when what is kept, or what the parser makes of a text, changes


def recall(path: str, text: str) -> Tree | None:
    """What the text was parsed to; None when it is not known."""
    try:
        check, _, kept = _place(path).read_bytes().partition(b"\n")
        if check != b"%08x" % crc32(kept):
            return None
        form, known, root, reservations = literal_eval(kept.decode())
        if (form, known) != (_FORM, text):
            return None
        regions = [Region(*region) for region in reservations]
        return Tree(_node(root, None, path), Source(path), regions)
    except (OSError, UserError, ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None


def remember(path: str, text: str, tree: Tree) -> None:
    """Keep the tree of a text that names no other file. Where there is no room, nothing happens."""
    reservations = [tuple(region) for region in tree.reservations]
    with contextlib.suppress(OSError, UserError):
        place = _place(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        new = place.with_name(f".{place.name}.{os.getpid()}")
        kept = repr((_FORM, text, _row(tree.root), reservations)).encode()
        try:
            new.write_bytes(b"%08x\n%b" % (crc32(kept), kept))
            new.replace(place)
        finally:
            new.unlink(missing_ok=True)


def _place(path: str) -> Path:
    return cache.root() / "boards" / Path(path).name


def _row(node: Node) -> tuple[Any, ...]:
    properties = [(p.name, p.value, p.source.line) for p in node.properties.values()]
    children = [_row(child) for child in node.children.values()]
    return node.name, node.source.line, node.labels, properties, children


def _node(row: tuple[Any, ...], parent: Node | None, path: str) -> Node:
    name, line, labels, properties, children = row
    node = Node(name, parent, Source(path, line), labels=labels)
    for prop, value, where in properties:
        node.properties[prop] = Property(node, prop, value, Source(path, where))
    for child in children:
        node.children[child[0]] = _node(child, node, path)
    return node
