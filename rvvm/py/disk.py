"""Disk images: a raw file as it is, or as the base under an overlay that is gone at the end.

Reads and writes go between the file and the memory they are given, without a copy in between.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Protocol, cast

from rvvm.py.errors import UserError

SECTOR = 512
CLUSTER = 4096  # what an overlay holds or does not: what a guest writes at once

# linux/falloc.h
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
_NO_SUPPORT = (errno.EOPNOTSUPP, errno.ENOSYS, errno.ENODEV, errno.EINVAL)
_ZEROES = bytes(1 << 16)


class Disk(Protocol):
    """Bytes 0 to ``size``; whoever calls stays within. OSError is for the guest to hear of."""

    name: str
    size: int
    read_only: bool

    def read(self, views: Sequence[memoryview], offset: int) -> None:
        """Fill the views, one after the other."""

    def write(self, views: Sequence[memoryview], offset: int) -> None:
        """Write the views, one after the other."""

    def flush(self) -> None:
        """What was written is on the disk when this returns."""

    def discard(self, offset: int, size: int) -> None:
        """These bytes are not needed any more."""

    def zero(self, offset: int, size: int, unmap: bool) -> None:
        """These bytes read as zeroes; ``unmap`` allows that they take no room."""

    def close(self) -> None:
        """Nobody uses it any more."""


def open_disk(
    path: Path, *, commit: bool = False, read_only: bool = False, overlays: Path | None = None
) -> Disk:
    """A raw image. Without ``commit`` the file is never written: changes live in an overlay, in the
    folder ``overlays``.

    Several machines may have one base; the one that commits to it has it alone.
    """
    base = RawFile(path, writable=commit and not read_only)
    return base if commit or read_only else Overlay(base, overlays)


class RawFile:
    """A file, or a block device, whose bytes are the disk's."""

    def __init__(self, path: Path, writable: bool) -> None:
        self.name, self.read_only = str(path), not writable
        self.file = _open(path, writable)
        self._closing = weakref.finalize(self, os.close, self.file)
        self.size = os.lseek(self.file, 0, os.SEEK_END) // SECTOR * SECTOR
        if self.size == 0:
            self.close()
            raise UserError(f"--drive: {path}: holds no whole sector of {SECTOR} bytes")

    def read(self, views: Sequence[memoryview], offset: int) -> None:
        read_all(self.file, views, offset)

    def write(self, views: Sequence[memoryview], offset: int) -> None:
        write_all(self.file, views, offset)

    def flush(self) -> None:
        if not self.read_only:
            os.fdatasync(self.file)

    def discard(self, offset: int, size: int) -> None:
        _allocate(self.file, KEEP_SIZE | PUNCH_HOLE, offset, size)

    def zero(self, offset: int, size: int, unmap: bool) -> None:
        how = KEEP_SIZE | (PUNCH_HOLE if unmap else ZERO_RANGE)
        if not _allocate(self.file, how, offset, size):
            _write_zeroes(self.file, offset, size)

    def close(self) -> None:
        self._closing()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}, {self.size >> 20} MiB>"


class Overlay:
    """Changes to a base that is only read. They are in a file without a name: it ends with us.

    ``_own`` has a byte for each cluster: 1 where the overlay's bytes count.
    """

    def __init__(self, base: RawFile, folder: Path | None = None) -> None:
        import tempfile  # slow to import

        self.base = base
        self.name, self.size, self.read_only = base.name, base.size, False
        with tempfile.TemporaryFile(dir=folder, prefix="rvvm-overlay-") as unnamed:
            self.file = os.dup(unnamed.fileno())
        self._closing = weakref.finalize(self, os.close, self.file)
        os.ftruncate(self.file, self.size)
        self._own = bytearray(-(-self.size // CLUSTER))

    def read(self, views: Sequence[memoryview], offset: int) -> None:
        end = offset + sum(len(view) for view in views)
        for own, start, stop in self._runs(offset, end):
            file = self.file if own else self.base.file
            read_all(file, cut(views, start - offset, stop - offset), start)

    def write(self, views: Sequence[memoryview], offset: int) -> None:
        end = offset + sum(len(view) for view in views)
        self._take(offset, end)
        write_all(self.file, views, offset)

    def flush(self) -> None:
        """Nothing of an overlay outlives the process, so nothing has to reach the disk."""

    def discard(self, offset: int, size: int) -> None:
        """Where the overlay has whole clusters they are given back; the base is not touched."""
        for own, start, stop in self._runs(offset, offset + size):
            if own:
                _allocate(self.file, KEEP_SIZE | PUNCH_HOLE, start, stop - start)

    def zero(self, offset: int, size: int, unmap: bool) -> None:
        self._take(offset, offset + size)
        if not _allocate(self.file, KEEP_SIZE | PUNCH_HOLE, offset, size):
            _write_zeroes(self.file, offset, size)

    def close(self) -> None:
        self.base.close()
        self._closing()

    def _runs(self, offset: int, end: int) -> Iterator[tuple[bool, int, int]]:
        """Pieces that are all the overlay's or all the base's."""
        own = self._own
        while offset < end:
            cluster = offset // CLUSTER
            mine = own[cluster]
            last = own.find(1 - mine, cluster, -(-end // CLUSTER))
            stop = end if last < 0 else last * CLUSTER
            yield bool(mine), offset, stop
            offset = stop

    def _take(self, offset: int, end: int) -> None:
        """The clusters there are the overlay's from now on. Of those at the edges, what will not be
        written comes from the base."""
        own, first, last = self._own, offset // CLUSTER, (end - 1) // CLUSTER
        if own.find(0, first, last + 1) < 0:
            return
        if offset % CLUSTER and not own[first]:
            self._copy(first)
        if end % CLUSTER and end < self.size and not own[last]:
            self._copy(last)
        own[first : last + 1] = b"\1" * (last + 1 - first)

    def _copy(self, cluster: int) -> None:
        start = cluster * CLUSTER
        data = memoryview(bytearray(min(CLUSTER, self.size - start)))
        read_all(self.base.file, [data], start)
        write_all(self.file, [data], start)
        self._own[cluster] = 1

    def __repr__(self) -> str:
        return f"<Overlay of {self.name}, {self._own.count(1) * CLUSTER >> 20} MiB changed>"


def cut(views: Sequence[memoryview], start: int, stop: int) -> list[memoryview]:
    """Bytes ``start`` to ``stop`` of what the views are together.

    >>> [bytes(v) for v in cut([memoryview(b"abc"), memoryview(b"defg")], 2, 5)]
    [b'c', b'de']
    """
    found = []
    at = 0
    for view in views:
        end = at + len(view)
        if at < stop and start < end:
            found.append(view[max(start - at, 0) : stop - at])
        at = end
    return found


def read_all(file: int, views: Sequence[memoryview], offset: int) -> None:
    """preadv until all is there; behind the end of the file are zeroes."""
    wanted = sum(len(view) for view in views)
    done = os.preadv(file, views, offset)
    while done < wanted:
        rest = cut(views, done, wanted)
        count = os.preadv(file, rest, offset + done)
        if count == 0:
            for view in rest:
                view[:] = bytes(len(view))
            return
        done += count


def write_all(file: int, views: Sequence[memoryview], offset: int) -> None:
    """pwritev until all is written."""
    wanted = sum(len(view) for view in views)
    done = os.pwritev(file, views, offset)
    while done < wanted:
        done += os.pwritev(file, cut(views, done, wanted), offset + done)


def _write_zeroes(file: int, offset: int, size: int) -> None:
    edges = [*range(offset, offset + size, len(_ZEROES)), offset + size]
    for start, stop in pairwise(edges):
        write_all(file, [memoryview(_ZEROES)[: stop - start]], start)


@cache
def _fallocate() -> Callable[[int, int, int, int], int]:
    """The C library's: Python's os has none that takes a mode."""
    import ctypes  # slow to import, and seldom needed

    function = ctypes.CDLL(None, use_errno=True).fallocate64
    function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return cast("Callable[[int, int, int, int], int]", function)


def _allocate(file: int, mode: int, offset: int, size: int) -> bool:
    """fallocate(2); False where the file system cannot."""
    from ctypes import get_errno

    if _fallocate()(file, mode, offset, size) == 0:
        return True
    problem = get_errno()
    if problem in _NO_SUPPORT:
        return False
    raise OSError(problem, os.strerror(problem))


def _open(path: Path, writable: bool) -> int:
    """The file, locked: shared by those who read it, or for one who writes."""
    try:
        # Not to wait for the writer of a pipe, which is refused below.
        flags = os.O_CLOEXEC | os.O_NONBLOCK | (os.O_RDWR if writable else os.O_RDONLY)
        file = os.open(path, flags)
    except OSError as error:
        raise UserError(f"--drive: {path}: {error.strerror}") from None
    try:
        mode = os.fstat(file).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
            raise UserError(f"--drive: {path}: neither a file nor a block device")
        fcntl.flock(file, (fcntl.LOCK_EX if writable else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        who = "is in use by another machine" if writable else "another machine writes to it"
        raise UserError(f"--drive: {path}: {who}") from None
    except UserError:
        os.close(file)
        raise
    return file
