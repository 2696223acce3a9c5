"""Disk images: a raw file as it is, or as the base under an overlay that is gone at the end.

Reads and writes go between the file and the memory they are given, without a copy in between.
"""

from __future__ import annotations

import copy
import errno
import fcntl
import os
import stat
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import groupby, pairwise
from math import inf
from pathlib import Path
from typing import NamedTuple, Protocol, cast

from rvvm.py.errors import UserError

SECTOR = 512
CLUSTER = 4096  # what an overlay holds or does not: what a guest writes at once

# linux/falloc.h
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
_NO_SUPPORT = (errno.EOPNOTSUPP, errno.ENOSYS, errno.ENODEV, errno.EINVAL)
_ZEROES = bytes(1 << 16)
_MOST_FILES = 255  # of an overlay: their numbers are bytes
_PIECE = 1 << 20
_FIRST_LOOK = 64  # clusters


class Base(Protocol):
    """What an overlay lies over: it is only read."""

    name: str
    size: int

    def read(self, views: Sequence[memoryview], offset: int) -> None:
        """Fill the views, one after the other."""

    def close(self) -> None:
        """Nobody uses it any more."""

    def again(self) -> Base:
        """The same, to be closed by itself."""

    def files(self) -> list[RawFile]:
        """Those that must be there, as they are now, wherever the disk is used again."""


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

    def keep(self) -> Kept | None:
        """What it holds now, which later writes leave as it is; None where there are none.
        UserError for a disk that is written in place."""

    def back(self, kept: Kept | None) -> None:
        """Hold that again, on this disk or its twin."""

    def twin(self) -> Disk:
        """Another disk with the same base."""

    def files(self) -> list[RawFile]:
        """Those that must be there, as they are now, wherever the disk is used again."""


def open_disk(
    path: Path,
    *,
    commit: bool = False,
    read_only: bool = False,
    overlays: Path | None = None,
    limit: int | None = None,
) -> Disk:
    """A raw image. Without ``commit`` the file is never written: changes live in an overlay, in the
    folder ``overlays``, and take at most ``limit`` bytes.

    Several machines may have one base; the one that commits to it has it alone.
    """
    base = RawFile(path, writable=commit and not read_only)
    return base if commit or read_only else Overlay(base, overlays, limit)


class RawFile:
    """A file, or a block device, whose bytes are the disk's."""

    def __init__(self, path: Path, writable: bool) -> None:
        self.name, self.read_only = str(path), not writable
        self.file = _open(path, writable)
        self._lost = 0
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
        """fdatasync(2). Once it has failed, every later flush fails too: Linux reports lost pages
        once and marks them clean, so that a success would be a lie. QEMU does the same."""
        if self._lost:
            raise OSError(self._lost, os.strerror(self._lost))
        if not self.read_only:
            try:
                os.fdatasync(self.file)
            except OSError as error:
                self._lost = error.errno or errno.EIO
                raise

    def discard(self, offset: int, size: int) -> None:
        _allocate(self.file, KEEP_SIZE | PUNCH_HOLE, offset, size)

    def zero(self, offset: int, size: int, unmap: bool) -> None:
        how = KEEP_SIZE | (PUNCH_HOLE if unmap else ZERO_RANGE)
        if not _allocate(self.file, how, offset, size):
            _write_zeroes(self.file, offset, size)

    def close(self) -> None:
        self._closing()
        self.file = -1  # the number may be another file's soon

    def keep(self) -> None:
        if not self.read_only:
            raise UserError(
                f"--drive: {self.name}: is written in place (--commit), so no moment can be kept"
            )

    def back(self, kept: Kept | None) -> None:
        if kept is not None:
            raise UserError(f"--drive: {self.name}: that was kept of another disk")

    def twin(self) -> RawFile:
        self.keep()
        return self.again()

    def files(self) -> list[RawFile]:
        return [self]

    def is_same(self, other: RawFile) -> bool:
        """Whether both are one file, of one size."""
        one, two = os.fstat(self.file), os.fstat(other.file)
        return os.path.samestat(one, two) and one.st_size == two.st_size

    def again(self) -> RawFile:
        """The same file, to be closed by itself."""
        other = copy.copy(self)
        other.file = os.dup(self.file)
        other._closing = weakref.finalize(other, os.close, other.file)
        return other

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}, {self.size >> 20} MiB>"


class Kept(NamedTuple):
    """What a disk held at some moment: for each cluster the number of the file that has it."""

    base: Base
    files: tuple[Unnamed, ...]  # of the clusters' numbers, from 1
    where: bytes

    def changes(self) -> Iterator[tuple[int, bytes]]:
        """What differs from the base, in pieces: the offset and the bytes."""
        at = 0
        for number, run in groupby(self.where):
            end = at + len(list(run)) * CLUSTER
            if number:
                last = min(end, self.base.size)
                for start in range(at, last, _PIECE):
                    piece = bytearray(min(_PIECE, last - start))
                    read_all(self.files[number - 1].file, [memoryview(piece)], start)
                    yield start, bytes(piece)
            at = end


class Unnamed:
    """A file without a name: it ends with the last who uses it."""

    def __init__(self, size: int, folder: Path | None) -> None:
        import tempfile  # slow to import

        with tempfile.TemporaryFile(dir=folder, prefix="rvvm-overlay-") as unnamed:
            self.file = os.dup(unnamed.fileno())
        self._closing = weakref.finalize(self, os.close, self.file)
        os.ftruncate(self.file, size)


class Overlay:
    """Changes to a base that is only read.

    ``_where`` has a byte for each cluster: the number of the file whose bytes count, 0 for the
    base. The last file is written to; the others belong to moments that somebody keeps. The disk
    may differ from its base in ``limit`` bytes of clusters; then the guest hears that there is no
    room. The room that moments take besides is theirs who keep them.
    """

    def __init__(self, base: Base, folder: Path | None = None, limit: int | None = None) -> None:
        self.base = base
        self.name, self.size, self.read_only = base.name, base.size, False
        self._folder, self._limit = folder, limit
        self._files: list[Unnamed] = []
        try:
            self._where = bytearray(-(-self.size // CLUSTER))
            self._grow()
        except (OSError, OverflowError, MemoryError) as error:
            self.close()
            raise UserError(f"--drive: {self.name}: {self._refused(error)}") from None
        self._measure()

    def _refused(self, error: Exception) -> str:
        """Why there is no overlay."""
        if isinstance(error, OSError) and error.errno not in (errno.EFBIG, errno.EINVAL):
            where = f" in {self._folder}" if self._folder is not None else ""
            return f"no room for changes{where}: {error.strerror}"
        return f"{self.size >> 40} TiB is too large"

    def read(self, views: Sequence[memoryview], offset: int) -> None:
        end = offset + sum(map(len, views))
        where = self._where[offset // CLUSTER : -(-end // CLUSTER)]
        if where and where.count(where[0]) == len(where):  # in one file, as mostly
            self._fetch(where[0], views, offset)
            return
        rest = Cursor(views)
        for number, start, stop in self._runs(offset, end):
            self._fetch(number, rest.take(stop - start), start)

    def _fetch(self, number: int, views: Sequence[memoryview], offset: int) -> None:
        if number:
            read_all(self._files[number - 1].file, views, offset)
        else:
            self.base.read(views, offset)

    def write(self, views: Sequence[memoryview], offset: int) -> None:
        end = offset + sum(map(len, views))
        known = self._prepare(offset, end)
        write_all(self.file, views, offset)
        if not known:
            self._take(offset, end)

    def flush(self) -> None:
        """Nothing of an overlay outlives the process, so nothing has to reach the disk."""

    def discard(self, offset: int, size: int) -> None:
        """What is written to gives back its clusters: nothing else of its file counts."""
        _allocate(self.file, KEEP_SIZE | PUNCH_HOLE, offset, size)

    def zero(self, offset: int, size: int, unmap: bool) -> None:
        known = self._prepare(offset, offset + size)
        if not _allocate(self.file, KEEP_SIZE | PUNCH_HOLE, offset, size):
            _write_zeroes(self.file, offset, size)
        if not known:
            self._take(offset, offset + size)

    def close(self) -> None:
        self.base.close()
        self._files.clear()
        self.file = -1

    # Moments

    def keep(self) -> Kept:
        if self._where.count(self._top):
            self._grow()
        return Kept(self.base, tuple(self._files[:-1]), bytes(self._where))

    def back(self, kept: Kept | None) -> None:
        if kept is None or not _same(kept.base.files(), self.files()):
            raise UserError(f"--drive: {self.name}: that was kept of another disk")
        now = self._files, self._where
        self._files, self._where = list(kept.files), bytearray(kept.where)
        try:
            self._grow()
        except OSError:  # the host has no room: the disk stays as it is
            self._files, self._where = now
            raise
        self._measure()

    def twin(self) -> Overlay:
        return Overlay(self.base.again(), self._folder, self._limit)

    def files(self) -> list[RawFile]:
        return self.base.files()

    def _grow(self) -> None:
        """From now on another file is written to."""
        if len(self._files) == _MOST_FILES:
            self._merge()
        self._files.append(Unnamed(self.size, self._folder))
        self._write_to_last()

    def _write_to_last(self) -> None:
        self._top = len(self._files)
        self.file = self._files[-1].file

    def _merge(self) -> None:
        """Into one file, what the numbered ones have."""
        merged = Unnamed(self.size, self._folder)
        for start, piece in Kept(self.base, tuple(self._files), bytes(self._where)).changes():
            write_all(merged.file, [memoryview(piece)], start)
        self._files = [merged]
        self._where = bytearray(map(bool, self._where))
        self._write_to_last()

    # Clusters

    def _measure(self) -> None:
        """How many more may be taken."""
        if self._limit is None:
            self._room = inf
            return
        taken = len(self._where) - self._where.count(0)
        self._room = self._limit // CLUSTER - taken

    def _runs(self, offset: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Pieces that are all in one file: its number, start and end."""
        last = -(-end // CLUSTER)
        while offset < end:
            cluster = offset // CLUSTER
            stop = min(end, self._end_of_run(cluster, last) * CLUSTER)
            yield self._where[cluster], offset, stop
            offset = stop

    def _end_of_run(self, cluster: int, last: int) -> int:
        """The first cluster that is in another file than this one; looked for in growing pieces,
        so that all runs together take no longer than what they are of."""
        number, size = self._where[cluster : cluster + 1], _FIRST_LOOK
        while cluster < last:
            piece = self._where[cluster : min(cluster + size, last)]
            behind = len(piece.lstrip(number))
            cluster += len(piece) - behind
            if behind:
                break
            size = min(2 * size, _PIECE)
        return cluster

    def _prepare(self, offset: int, end: int) -> bool:
        """Before a write: whether all its clusters are in the last file already. Else those at its
        edges are copied there, for the part of them that will not be written."""
        where, first, last = self._where, offset // CLUSTER, (end - 1) // CLUSTER
        top = self._top
        if where.count(top, first, last + 1) == last + 1 - first:
            return True
        if where.count(0, first, last + 1) > self._room:
            raise OSError(errno.ENOSPC, f"{self.name}: the overlay has reached its limit")
        if offset % CLUSTER and where[first] != top:
            self._copy(first)
        if end % CLUSTER and end < self.size and where[last] != top:
            self._copy(last)
        return False

    def _take(self, offset: int, end: int) -> None:
        """After a write: its clusters are in the last file from now on. A write that failed never
        comes here, and what the clusters held before is still read."""
        where, first, last = self._where, offset // CLUSTER, (end - 1) // CLUSTER
        self._room -= where.count(0, first, last + 1)
        where[first : last + 1] = bytes((self._top,)) * (last + 1 - first)

    def _copy(self, cluster: int) -> None:
        start = cluster * CLUSTER
        size = min(CLUSTER, self.size - start)
        data = memoryview(bytearray(size))
        self._fetch(self._where[cluster], [data], start)
        write_all(self.file, [data], start)
        self._take(start, start + size)

    def __repr__(self) -> str:
        changed = len(self._where) - self._where.count(0)
        return f"<Overlay of {self.name}, {changed * CLUSTER >> 20} MiB changed>"


def _same(ones: list[RawFile], others: list[RawFile]) -> bool:
    return len(ones) == len(others) and all(map(RawFile.is_same, ones, others))


class Cursor:
    """Views, taken from the front piece by piece.

    >>> it = Cursor([memoryview(b"abc"), memoryview(b"defg")])
    >>> [[bytes(v) for v in it.take(size)] for size in (2, 3, 2)]
    [[b'ab'], [b'c', b'de'], [b'fg']]
    """

    def __init__(self, views: Iterable[memoryview]) -> None:
        self._rest = iter(views)
        self._first = memoryview(b"")

    def take(self, size: int) -> list[memoryview]:
        """The next bytes, of which there must be as many."""
        found = []
        while size:
            if not len(self._first):
                self._first = next(self._rest)
            piece, self._first = self._first[:size], self._first[size:]
            if len(piece):
                found.append(piece)
            size -= len(piece)
        return found


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
    wanted = sum(map(len, views))
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
    wanted = sum(map(len, views))
    done = os.pwritev(file, views, offset)
    while done < wanted:
        count = os.pwritev(file, cut(views, done, wanted), offset + done)
        if count == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done += count


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
