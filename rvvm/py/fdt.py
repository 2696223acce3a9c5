"""Devicetrees in and out of files: source (.dts) or flattened (.dtb), told apart by content."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rvvm.py import dtb
from rvvm.py.errors import UserError
from rvvm.py.tree import Node, Property, Region, Source, Specifier, Tree, cells

__all__ = ["Node", "Property", "Region", "Source", "Specifier", "Tree", "cells", "load", "to_dtb"]


def load(path: str | Path, include: Iterable[str] = (), defines: Iterable[str] = ()) -> Tree:
    """The tree in a .dts or .dtb file.

    Whatever is wrong with it raises UserError with the file and, for source, the line.
    """
    path = str(path)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    if data[:4] == dtb.MAGIC.to_bytes(4, "big") or path.endswith(".dtb"):
        return dtb.parse(data, path)
    from rvvm.py import dts

    return dts.parse(path, include, defines)


def to_dtb(tree: Tree) -> bytes:
    """The tree as a flattened devicetree, version 17."""
    return dtb.export(tree)
