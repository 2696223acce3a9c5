"""Devicetree source (.dts): the C preprocessor where it is used, then Zephyr's dtlib, into a Tree.

dtlib forgets where things were written; ``_Dts`` notes it while it parses. That uses dtlib's inner
names, so the version is pinned.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import devicetree.dtlib as dtlib

from rvvm.py.errors import UserError
from rvvm.py.tree import Node, Property, Region, Source, Tree

_INCLUDE_DEPTH = 100  # dtc's
_DIRECTIVES = "if ifdef ifndef elif else endif define undef include line pragma error warning"
_FOR_PREPROCESSOR = re.compile(
    # Directives and line marks; predefined macros such as __LINE__; lines that go on.
    rf"#\s*(?:{'|'.join(_DIRECTIVES.split())})\b|#\s*(?:\d|$)|__|\\$",
    re.MULTILINE,
)


def parse(path: str, include: Iterable[str] = (), defines: Iterable[str] = ()) -> Tree:
    """The tree of a source file; what is wrong with it raises UserError with file:line."""
    include, defines = list(include), list(defines)
    text = _read(path)
    plain = not defines and is_plain(text)
    source = _parse(path, include) if plain else _cooked(path, text, include, defines)
    root = source.root
    places = source.places
    reservations = [Region(base, size) for _, base, size in source.memreserves]
    return Tree(_node(root, None, places), Source(path), reservations)


def _cooked(path: str, text: str, include: list[str], defines: list[str]) -> _Dts:
    """Parse what the preprocessor makes of a text."""
    from tempfile import NamedTemporaryFile

    from rvvm.py.preprocessor import preprocess

    with NamedTemporaryFile("w", suffix=".dts", encoding="utf-8") as file:
        file.write(preprocess(path, text, include, defines))
        file.flush()
        try:
            return _parse(file.name, include)
        except UserError as error:
            raise UserError(str(error).replace(file.name, path)) from None


def _parse(path: str, include: list[str]) -> _Dts:
    try:
        return _Dts(path, include)
    except dtlib.DTError as error:
        raise UserError(str(error)) from None


def is_plain(text: str) -> bool:
    """Whether the preprocessor would change nothing: most boards include and define nothing.

    >>> is_plain("#address-cells = <2>;"), is_plain("#define TWO 2")
    (True, False)
    """
    return _FOR_PREPROCESSOR.search(text) is None


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UserError(f"{path}: {reason}") from None


class _Dts(dtlib.DT):  # type: ignore[misc]  # dtlib has no types
    """dtlib's parser, which also notes where each node and property begins."""

    def __init__(self, filename: str, include: list[str]) -> None:
        self.places: dict[Any, Source] = {}
        try:
            super().__init__(filename, include)
        except dtlib.DTError as error:
            raise dtlib.DTError(self._located(str(error))) from None
        except RecursionError:
            raise dtlib.DTError(f"{self._here()}: nested too deeply") from None
        except (OSError, ValueError, OverflowError, MemoryError) as error:
            raise dtlib.DTError(f"{self._here()}: {error}") from None

    def _here(self) -> Source:
        return Source(self.filename, self._lineno)

    def _parse_node(self, node: Any) -> Any:
        # A node that a board file amends belongs where it was first written.
        self.places.setdefault(node, self._here())
        return super()._parse_node(node)

    def _parse_assignment(self, prop: Any) -> None:
        self.places[prop] = self._here()
        super()._parse_assignment(prop)

    def _enter_file(self, filename: str) -> None:
        # dtlib's own check compares names that never match for files included from a folder.
        if len(self._filestack) >= _INCLUDE_DEPTH:
            raise dtlib.DTError(f"{self._here()}: /include/ nested too deeply; a file in itself?")
        super()._enter_file(filename)

    def _ref2node(self, reference: str) -> Any:
        if self._root is None:
            raise dtlib.DTError(f"&{reference} comes before the root node")
        return super()._ref2node(reference)

    def _located(self, message: str) -> str:
        """A message of dtlib's later passes names only a path; the place is put before it."""
        if path := re.match(r"(/[^:]*): ", message):
            label = re.search(r"undefined node label '(.*)'", message)
            for thing, place in self.places.items():
                if _is_at(thing, path[1], label[1] if label else None):
                    return f"{place}: {message}"
        # "(column 8): parse error: " says nothing that the line does not.
        return re.sub(r" \(column \d+\): parse error", "", message)


def _is_at(thing: Any, path: str, label: str | None) -> bool:
    """Whether this is the node of that path or, for a bad label, the property that uses it."""
    if label is None or isinstance(thing, dtlib.Node):
        return label is None and isinstance(thing, dtlib.Node) and thing.path == path
    return thing.node.path == path and any(marker[2] == label for marker in thing._markers)


def _node(parsed: Any, parent: Node | None, places: dict[Any, Source]) -> Node:
    place = places[parsed]
    node = Node("" if parent is None else parsed.name, parent, place, labels=list(parsed.labels))
    for prop in parsed.props.values():
        where = places.get(prop, place)
        node.properties[prop.name] = Property(node, prop.name, prop.value, where)
    for child in parsed.nodes.values():
        node.children[child.name] = _node(child, node, places)
    return node
