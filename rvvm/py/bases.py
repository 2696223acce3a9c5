"""What the bases of disks hold, so that a saved machine finds the same again.

A file is known by its size and a digest of all its bytes, not by its name or times. Reading it
takes a second or two a gigabyte of data, so that the cache remembers the digest of a file, for as
long as its inode says that nothing has changed: its time of change cannot be set by anybody.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import time
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any

from rvvm.py.disk import RawFile
from rvvm.py.errors import UserError
from rvvm.py.images import cache

_CHUNK = 1 << 17
_ZEROES = bytes(_CHUNK)
_SETTLED = 2 * 10**9
"""Nanoseconds: of what has changed just now, another change may have the same time."""


def describe(bases: Sequence[RawFile]) -> list[dict[str, Any]]:
    """What they are called, and what they hold."""
    return [
        {"file": os.path.basename(base.name), "size": _status(base).st_size, "digest": digest(base)}
        for base in bases
    ]


def check(bases: Sequence[RawFile], then: Sequence[dict[str, Any]]) -> None:
    """UserError for the first that holds something else."""
    for base, known in zip(bases, then, strict=True):
        if _status(base).st_size != known["size"] or digest(base) != known["digest"]:
            raise UserError(
                f"{os.path.abspath(base.name)}: has changed since the machine was saved, "
                f"or is another file ({known['file']} then)"
            )


def digest(base: RawFile) -> str:
    """Of all bytes of a file. A block device has none: it is known by its size."""
    status = _status(base)
    if not stat.S_ISREG(status.st_mode):
        return ""
    memo = cache.root() / "digests" / f"{status.st_dev:x}-{status.st_ino:x}"
    state = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    try:
        known = json.loads(memo.read_text())
        if known["state"] == state:
            return str(known["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    try:
        found = _digest(base.file, status.st_size)
    except OSError as error:
        raise UserError(f"--drive: {base.name}: {error.strerror}") from None
    now = _status(base)
    same = [now.st_size, now.st_mtime_ns, now.st_ctime_ns] == state
    if same and time.time_ns() - status.st_ctime_ns > _SETTLED:
        with contextlib.suppress(UserError):  # it is only slower without
            cache.write(memo, json.dumps({"state": state, "digest": found}).encode())
    return found


def _status(base: RawFile) -> os.stat_result:
    return os.fstat(base.file)


def _digest(file: int, size: int) -> str:
    """Zeroes count for nothing: a copy may have them where there were holes."""
    found = blake2b(size.to_bytes(8, "little"), digest_size=16)
    for start in _chunks(file, size):
        data = os.pread(file, _CHUNK, start)
        if data != _ZEROES[: len(data)]:
            found.update(start.to_bytes(8, "little"))
            found.update(data)
    return found.hexdigest()


def _chunks(file: int, size: int) -> Iterator[int]:
    """Where there is data."""
    at = done = 0
    while at < size:
        try:
            data = os.lseek(file, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # nothing but a hole
            raise
        at = os.lseek(file, data, os.SEEK_HOLE)
        for start in range(max(data // _CHUNK * _CHUNK, done), at, _CHUNK):
            yield start
            done = start + _CHUNK
