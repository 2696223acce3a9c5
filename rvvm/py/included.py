"""Files that a devicetree source includes. The source may be somebody else's, and what it includes
is in the guest's tree: only files beside it or below are read, and those of folders that the
caller names.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from rvvm.py import inputs
from rvvm.py.errors import UserError

_MOST_FILES = 1000


class Included:
    """What one source may include, and how much of that it has."""

    def __init__(self, source: str, folders: Iterable[str] = ()) -> None:
        self._source = source
        self._roots = [os.path.realpath(os.path.dirname(source) or "."), *map(_real, folders)]
        self._files = self._size = 0

    def read(self, path: str) -> bytes:
        """The bytes of a file that is there; UserError for one that the source may not name."""
        where = _real(path)
        if not any(os.path.commonpath((root, where)) == root for root in self._roots):
            raise UserError(
                f"{self._source}: includes {path}, which is not in its folder: copy it there, or "
                "preprocess the source"
            )
        data = inputs.read(where)
        self._files += 1
        self._size += len(data)
        if self._files > _MOST_FILES or self._size > inputs.MOST_TEXT:
            raise UserError(f"{self._source}: includes too many files, or one in itself")
        return data


def _real(path: str) -> str:
    return os.path.realpath(path)
