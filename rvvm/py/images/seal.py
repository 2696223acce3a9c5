"""A file of the cache and the digest of its bytes: what was cut short or changed since is found.

A start does not read the whole file: its inode, times and size are kept as they were when the
digest was last found to be right. A change of any byte changes st_ctime, which nobody can set.
"""

from __future__ import annotations

import contextlib
import json
import time
from hashlib import file_digest, sha256
from pathlib import Path

from rvvm.py.errors import UserError
from rvvm.py.images import cache

_SETTLED = 2 * 10**9
"""Nanoseconds: two changes at nearly the same time may leave the same st_ctime."""


def write(path: Path, data: bytes) -> None:
    """Write the file, and beside it what it holds."""
    seal = {"size": len(data), "sha256": sha256(data).hexdigest()}
    _place(path).unlink(missing_ok=True)  # never the digest of another file
    cache.write(path, data)
    cache.write(_place(path), json.dumps(seal).encode())


def check(path: Path) -> bool | None:
    """Whether the file is what was written; None when that is unknown."""
    try:
        seal = dict(json.loads(_place(path).read_text()))
        if (path.stat().st_size, _stamp(path)) == (seal["size"], seal.get("stamp")):
            return True
        if path.stat().st_size != seal["size"] or _digest(path) != seal["sha256"]:
            return False
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if time.time_ns() - path.stat().st_ctime_ns > _SETTLED:
        with contextlib.suppress(UserError):  # a read-only cache is only slower
            cache.write(_place(path), json.dumps({**seal, "stamp": _stamp(path)}).encode())
    return True


def _place(path: Path) -> Path:
    return path.parent / "digest.json"


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
