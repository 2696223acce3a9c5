"""Devicetree source (.dts): the C preprocessor where it is used, then Zephyr's dtlib, into a Tree.

dtlib forgets where things were written; ``_Dts`` notes it while it parses. That uses dtlib's inner
names, so the version is pinned.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable
from typing import Any

import devicetree.dtlib as dtlib

from rvvm.py import inputs
from rvvm.py.errors import UserError
from rvvm.py.included import Included
from rvvm.py.tree import DEEPEST, MOST_NODES, Node, Property, Region, Source, Tree

_INCLUDE_DEPTH = 100  # dtc's
_CELL_PAIR = 64  # bits of the largest number
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
    files = Included(path, include)
    source = _parse(path, include, files) if plain else _cooked(path, text, include, defines, files)
    places = source.places
    _check_size(path, source.root)
    reservations = [Region(base, size) for _, base, size in source.memreserves]
    return Tree(_node(source.root, None, places), Source(path), reservations)


def _check_size(path: str, root: Any) -> None:
    """UserError for a tree that is larger or deeper than a board's."""
    level, nodes = [root], 0
    for _ in range(DEEPEST):
        nodes += len(level)
        level = [child for node in level for child in node.nodes.values()]
    if level or nodes > MOST_NODES:
        raise UserError(f"{path}: more than {MOST_NODES} nodes, or nested more than {DEEPEST} deep")


def _cooked(path: str, text: str, include: list[str], defines: list[str], files: Included) -> _Dts:
    """Parse what the preprocessor makes of a text."""
    from tempfile import NamedTemporaryFile

    from rvvm.py.preprocessor import preprocess

    with NamedTemporaryFile("w", suffix=".dts", encoding="utf-8") as file:
        file.write(preprocess(path, text, include, defines, files))
        file.flush()
        try:
            return _parse(file.name, include, files)
        except UserError as error:
            raise UserError(str(error).replace(file.name, path)) from None


def _parse(path: str, include: list[str], files: Included) -> _Dts:
    try:
        return _Dts(path, include, files)
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
        return inputs.read(path).decode()
    except UnicodeDecodeError:
        raise UserError(f"{path}: it is not UTF-8 text") from None


class _Dts(dtlib.DT):  # type: ignore[misc]  # dtlib has no types
    """dtlib's parser, which also notes where each node and property begins."""

    def __init__(self, filename: str, include: list[str], files: Included) -> None:
        self.places: dict[Any, Source] = {}
        self._files = files
        try:
            super().__init__(filename, include)
        except dtlib.DTError as error:
            raise dtlib.DTError(self._located(str(error))) from None
        except RecursionError:
            raise dtlib.DTError(f"{self._here()}: nested too deeply") from None
        except (OSError, ValueError, OverflowError, MemoryError) as error:
            raise dtlib.DTError(f"{self._here()}: {error}") from None
        except (TypeError, AttributeError, LookupError, AssertionError):  # of dtlib itself
            raise dtlib.DTError(f"{self._here()}: no devicetree source") from None

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

    def _open(self, filename: str, mode: str = "r", **_: Any) -> io.BytesIO | io.StringIO:
        """A file that is included; its folder is that of the one which names it."""
        for folder in (os.path.dirname(self.filename), *self._include_path):
            path = os.path.join(folder, filename)
            if os.path.exists(path):
                data = self._files.read(path)
                file = io.BytesIO(data) if "b" in mode else _Text(data.decode(), path)
                return file
        self._parse_error(f"'{filename}' could not be found")
        raise AssertionError

    def _eval_shift(self) -> int:
        """A shift by as much as the text says could take all memory."""
        value: int = self._eval_add()
        while (left := self._check_token("<<")) or self._check_token(">>"):
            count = self._eval_add()
            if not 0 <= count < _CELL_PAIR:
                self._parse_error(f"a shift by {count}")
            value = value << count if left else value >> count
        return value

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


class _Text(io.StringIO):
    """A file's text, and its name."""

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text)
        self.name = name


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
