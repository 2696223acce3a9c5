"""Devicetree source (.dts): the C preprocessor (pcpp), then Zephyr's dtlib, into a Tree.

dtlib forgets where things were written; ``_Dts`` notes it while it parses. That uses dtlib's inner
names, so the version is pinned.
"""

from __future__ import annotations

import copy
import io
import os
import re
import tempfile
from collections.abc import Iterable
from typing import Any

import devicetree.dtlib as dtlib
import pcpp

from rvvm.py.errors import UserError
from rvvm.py.tree import Node, Property, Region, Source, Tree

_INCLUDE_DEPTH = 100  # dtc's


def parse(path: str, include: Iterable[str] = (), defines: Iterable[str] = ()) -> Tree:
    """The tree of a source file; what is wrong with it raises UserError with file:line."""
    include = list(include)
    text = preprocess(path, include, defines)
    with tempfile.NamedTemporaryFile("w", suffix=".dts", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        try:
            source = _Dts(file.name, include)
        except dtlib.DTError as error:
            raise UserError(str(error).replace(file.name, path)) from None
    root = source.root
    places = source.places
    reservations = [Region(base, size) for _, base, size in source.memreserves]
    return Tree(_node(root, None, places), Source(path), reservations)


def preprocess(path: str, include: Iterable[str] = (), defines: Iterable[str] = ()) -> str:
    """The text after ``#include``, ``#define`` and ``#if``, with ``#line`` marks."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UserError(f"{path}: {reason}") from None
    preprocessor = _Preprocessor()
    for folder in [os.path.dirname(path) or ".", *include]:
        preprocessor.add_path(folder)
    preprocessor.rewrite_paths = []  # name files as they were named to us
    for define in defines:
        preprocessor.define(define.replace("=", " ", 1) if "=" in define else f"{define} 1")
    out = io.StringIO()
    preprocessor.parse(text, path)
    try:
        preprocessor.write(out)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        # What pcpp does with a directive that lacks its argument, as in a bare "#ifdef".
        at = preprocessor.lastdirective
        raise UserError(f"{at.source}:{at.lineno}: malformed #{at.value}") from None
    return out.getvalue()


class _Preprocessor(pcpp.Preprocessor):  # type: ignore[misc]  # pcpp has no types
    """pcpp, with errors that stop and ``#address-cells = <TWO>`` read as text, as cpp does."""

    lastdirective: Any

    def on_error(self, file: str, line: int, message: str) -> None:
        if not line:  # an expression's error: it does not know where it is
            file, line = self.lastdirective.source, self.lastdirective.lineno
        raise UserError(f"{file}:{line}: {message}")

    def on_directive_unknown(self, directive: Any, tokens: Any, *_: Any) -> None:
        if directive.value == "error":
            message = "".join(token.value for token in tokens)
            raise UserError(f"{directive.source}:{directive.lineno}: #error {message}")
        if directive.value == "warning" or not tokens:
            return
        expanded = self.expand_macros([copy.copy(token) for token in tokens])
        tokens[0].value = "".join(token.value for token in expanded)
        for token in tokens[1:]:
            token.value = ""


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
