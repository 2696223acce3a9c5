"""Devicetrees in and out of files: source (.dts) or flattened (.dtb), told apart by content."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rvvm.py import dtb, inputs, parsed
from rvvm.py.errors import UserError
from rvvm.py.tree import Node, Property, Region, Source, Specifier, Tree, cells

__all__ = ["Node", "Property", "Region", "Source", "Specifier", "Tree", "cells", "load", "to_dtb"]


def load(path: str | Path, include: Iterable[str] = (), defines: Iterable[str] = ()) -> Tree:
    """The tree in a .dts or .dtb file.

    Whatever is wrong with it raises UserError with the file and, for source, the line.
    """
    path = str(path)
    data = inputs.read(path)
    if data[:4] == dtb.MAGIC.to_bytes(4, "big") or path.endswith(".dtb"):
        return dtb.parse(data, path)
    return _from_source(path, data, list(include), list(defines))


def _from_source(path: str, data: bytes, include: list[str], defines: list[str]) -> Tree:
    """Parsed, or as it was parsed before where the text alone says what becomes of it."""
    text = "" if defines else data.decode(errors="replace")
    if tree := parsed.recall(path, text):
        return tree
    if not Path(path).is_file():
        raise UserError(f"{path}: a pipe, and devicetree source is read from files")
    from rvvm.py import dts

    tree = dts.parse(path, include, defines)
    if text and dts.is_plain(text) and "/inc" not in text:  # include, incbin
        parsed.remember(path, text, tree)
    return tree


def to_dtb(tree: Tree) -> bytes:
    """The tree as a flattened devicetree, version 17."""
    return dtb.export(tree)
