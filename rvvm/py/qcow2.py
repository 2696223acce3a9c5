"""qcow2 images, read only: what a guest writes is in an overlay of ours, as over any base.

The format is QEMU's (docs/interop/qcow2.rst): versions 2 and 3, zlib and zstd. An image is somebody
else's file: what it says is looked at before it is used. What is wrong with its header is a
UserError; a table that leads nowhere is an error of the sectors it is for.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
import zlib
from array import array
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from rvvm.py.disk import SECTOR, Base, Cursor, Kept, RawFile, cut, read_all
from rvvm.py.errors import UserError

MAGIC = b"QFI\xfb"
_HEADER = struct.Struct(">4sIQIIQIIQQIIQ")  # of version 2
_MORE = struct.Struct(">QQQII")  # and of version 3
_EXTENSION = struct.Struct(">II")
_BACKING_FORMAT = 0xE279_2ACA
_DIRTY, _COMPRESSION = 1 << 0, 1 << 3  # features that a reader may know
_CANNOT = {1: "marked corrupt: qemu-img check -r all", 2: "its data is in another file",
           4: "it has extended L2 entries"}  # fmt: skip
_HEADERS = 1 << 16  # bytes looked at for extensions
_LONGEST_NAME = 1023
_MOST_L1 = 4 << 20  # entries, as in QEMU
_DEEPEST = 16  # images one upon the other

_PLACE = (1 << 56) - (1 << 9)  # of an entry: where the cluster or table is
_COMPRESSED, _ZERO = 1 << 62, 1
_RESERVED_L1 = ~(_PLACE | 1 << 63)
_RESERVED_L2 = ~(_PLACE | 1 << 63 | _ZERO)
_TABLES, _CLUSTERS = 4 << 20, 16 << 20  # bytes of tables and of unpacked clusters that are kept


class Header(NamedTuple):
    """What a reader needs of it."""

    cluster_bits: int
    size: int
    l1: tuple[int, int]
    """Where the table is, and its entries."""
    zstd: bool
    backing: str
    backing_format: str


def open_image(path: Path, backing: Path | None = None) -> Qcow2:
    """An image, with what it is based on: a file beside it, or the one that is named here.

    Who made the image does not choose which of the host's files the guest reads.
    """
    return _open(path, backing, [])


def _open(path: Path, backing: Path | None, above: list[Path]) -> Qcow2:
    above = [*above, path.resolve()]
    file = RawFile(path, writable=False)
    try:
        header = _header(path, os.pread(file.file, _HEADERS, 0))
        base = _base(path, header, backing, above) if header.backing or backing else None
        return Qcow2(file, header, base)
    except UserError:
        file.close()
        raise


def _base(path: Path, header: Header, named: Path | None, above: list[Path]) -> Base:
    if not header.backing:
        raise _error(path, "backing=: it is based on no other image")
    if named is None and Path(header.backing).name != header.backing:
        raise _error(
            path, f"its backing file is elsewhere: say backing={header.backing!r} if you trust it"
        )
    below = named or path.with_name(header.backing)
    if named is None and below.resolve().parent != path.parent.resolve():  # by a link
        raise _error(path, f"its backing file is elsewhere: say backing={below} if you trust it")
    if below.resolve() in above or len(above) >= _DEEPEST:
        raise _error(path, f"its backing file {below} leads to more and more images")
    if header.backing_format == "raw":
        return RawFile(below, writable=False)
    if header.backing_format == "qcow2":
        return _open(below, None, above)
    what = f"is {header.backing_format!r}" if header.backing_format else "has no format"
    raise _error(path, f"its backing file {what}: qemu-img rebase -u -b {below.name} -F raw")


def _error(path: Path, problem: str) -> UserError:
    return UserError(f"--drive: {path}: {problem}")


def _header(path: Path, data: bytes) -> Header:
    """The header and its extensions; UserError for what cannot be read here."""
    if data[:4] != MAGIC or len(data) < _HEADER.size:
        raise _error(path, "is no qcow2 image")
    (_, version, name_at, name_size, bits, size, crypt, l1_size, l1_at, *_) = _HEADER.unpack_from(
        data
    )
    if version not in (2, 3):
        raise _error(path, f"is qcow2 of version {version}; 2 and 3 are known")
    features, length = 0, _HEADER.size
    if version == 3:
        if len(data) < _HEADER.size + _MORE.size:
            raise _error(path, "its header is cut short")
        features, *_, length = _MORE.unpack_from(data, _HEADER.size)
    zstd = _check_features(path, data, features, length)
    if crypt:
        raise _error(path, "is encrypted: qemu-img convert makes an image that is not")
    if not 9 <= bits <= 21 or not 0 < size < 1 << 63:
        raise _error(path, f"has clusters of 2**{bits} bytes and a size of {size}")
    needed = -(-size // (1 << 2 * bits - 3))
    if not needed <= l1_size <= _MOST_L1 or l1_at % (1 << bits) or not l1_at:
        raise _error(path, f"its L1 table of {l1_size} entries at {l1_at:#x} cannot be")
    name = data[name_at : name_at + name_size] if name_at else b""
    if len(name) < (name_size if name_at else 0) or len(name) > _LONGEST_NAME or b"\0" in name:
        raise _error(path, "the name of its backing file cannot be")
    extensions = dict(_extensions(data, length, name_at or len(data)))
    backing_format = extensions.get(_BACKING_FORMAT, b"").decode(errors="replace")
    return Header(bits, size, (l1_at, needed), zstd, os.fsdecode(name), backing_format)


def _check_features(path: Path, data: bytes, features: int, length: int) -> bool:
    """Whether clusters are compressed by zstd; UserError for what would be read wrongly."""
    for bit, problem in _CANNOT.items():
        if features >> bit & 1:
            raise _error(path, f"{problem}; qemu-img convert makes an image without that")
    if features & ~(_DIRTY | _COMPRESSION):
        raise _error(path, f"needs features {features:#x} that are not known here")
    kind = data[104] if features & _COMPRESSION and length > 104 and len(data) > 104 else 0
    if kind > 1:
        raise _error(path, f"is compressed in way {kind}; zlib (0) and zstd (1) are known")
    return kind == 1


def _extensions(data: bytes, at: int, end: int) -> Iterator[tuple[int, bytes]]:
    while at + _EXTENSION.size <= min(end, len(data)):
        kind, size = _EXTENSION.unpack_from(data, at)
        if kind == 0:
            return
        at += _EXTENSION.size
        yield kind, data[at : at + size]
        at += -(-size // 8) * 8


class Piece(NamedTuple):
    """Bytes of the disk that are together somewhere: at ``place`` of the file, packed there, zero
    (0), or below (None)."""

    start: int
    stop: int
    place: int | None
    packed: int = 0


class Qcow2:
    """The disk that an image holds."""

    read_only = True

    def __init__(self, file: RawFile, header: Header, base: Base | None) -> None:
        self.name = file.name
        self.size = header.size // SECTOR * SECTOR
        self._file, self._header, self._base, self._zstd = file, header, base, header.zstd
        self._bits, self._cluster = header.cluster_bits, 1 << header.cluster_bits
        at, entries = header.l1
        if at + 8 * entries > os.fstat(file.file).st_size:
            raise UserError(f"--drive: {file.name}: its L1 table is cut short")
        self._l1 = array("Q", os.pread(file.file, 8 * entries, at))
        if sys.byteorder == "little":
            self._l1.byteswap()
        self._tables = lru_cache(max(_TABLES >> self._bits, 1))(self._table)
        self._unpacked = lru_cache(max(_CLUSTERS >> self._bits, 1))(self._unpack)

    def read(self, views: Sequence[memoryview], offset: int) -> None:
        rest = Cursor(views)
        for piece in self._pieces(offset, offset + sum(len(view) for view in views)):
            self._fetch(rest.take(piece.stop - piece.start), piece)

    def _fetch(self, views: list[memoryview], piece: Piece) -> None:
        if piece.packed:
            cluster = self._unpacked(piece.packed)
            at = piece.start % self._cluster
            for view in views:
                view[:] = cluster[at : at + len(view)]
                at += len(view)
        elif piece.place:
            read_all(self._file.file, views, piece.place)
        elif piece.place is None and self._base is not None:
            self._below(views, piece.start, piece.stop, self._base)
        else:
            _clear(views)

    @staticmethod
    def _below(views: list[memoryview], start: int, stop: int, base: Base) -> None:
        """What is below may be shorter: zeroes follow."""
        there = min(max(base.size - start, 0), stop - start)
        if there:
            base.read(cut(views, 0, there), start)
        _clear(cut(views, there, stop - start))

    def _pieces(self, offset: int, end: int) -> Iterator[Piece]:
        """Neighbours that are neighbours in the file, too, are one."""
        last: Piece | None = None
        while offset < end:
            stop = min((offset // self._cluster + 1) * self._cluster, end)
            piece = self._piece(offset, stop)
            if last is not None and _follows(last, piece):
                last = last._replace(stop=stop)
            else:
                if last is not None:
                    yield last
                last = piece
            offset = stop
        if last is not None:
            yield last

    def _piece(self, start: int, stop: int) -> Piece:
        """Where a part of one cluster is."""
        number = start >> self._bits
        entries = self._bits - 3
        l1 = self._l1[number >> entries]
        if l1 & _RESERVED_L1:
            raise self._broken(f"entry {number >> entries} of the L1 table")
        if not l1 & _PLACE:
            return Piece(start, stop, None)
        table = self._tables(l1 & _PLACE)
        (l2,) = struct.unpack_from(">Q", table, 8 * (number & (1 << entries) - 1))
        if l2 & _COMPRESSED:
            return Piece(start, stop, 0, l2)
        if l2 & _RESERVED_L2 or l2 & _PLACE & self._cluster - 1:
            raise self._broken(f"the L2 entry of cluster {number}")
        if l2 & _ZERO:
            return Piece(start, stop, 0)
        place = l2 & _PLACE
        return Piece(start, stop, place + start % self._cluster if place else None)

    def _table(self, place: int) -> bytes:
        table = os.pread(self._file.file, self._cluster, place)
        if place % self._cluster or len(table) < self._cluster:
            raise self._broken(f"the L2 table at {place:#x}")
        return table

    def _unpack(self, entry: int) -> memoryview:
        bits = 62 - (self._bits - 8)
        place = entry & (1 << bits) - 1
        sectors = (entry & _COMPRESSED - 1) >> bits
        data = os.pread(self._file.file, (sectors + 1) * SECTOR - place % SECTOR, place)
        whole = (_unzstd if self._zstd else _inflate)(data, self._cluster)
        if len(whole) != self._cluster:
            raise self._broken(f"the compressed cluster at {place:#x}")
        return memoryview(whole)

    def _broken(self, what: str) -> OSError:
        return OSError(errno.EIO, f"{self.name}: {what} leads nowhere")

    def close(self) -> None:
        self._file.close()
        if self._base is not None:
            self._base.close()

    # Moments: the same at all.

    def keep(self) -> None:
        pass

    def back(self, kept: Kept | None) -> None:
        if kept is not None:
            raise _error(Path(self.name), "that was kept of another disk")

    def again(self) -> Qcow2:
        base = self._base and self._base.again()
        return Qcow2(self._file.again(), self._header, base)

    twin = again

    def files(self) -> list[RawFile]:
        return [self._file, *(self._base.files() if self._base is not None else ())]

    # Nobody writes to it.

    def write(self, views: Sequence[memoryview], offset: int) -> None:
        raise OSError(errno.EROFS, self.name)

    def flush(self) -> None:
        pass

    def discard(self, offset: int, size: int) -> None:
        raise OSError(errno.EROFS, self.name)

    def zero(self, offset: int, size: int, unmap: bool) -> None:
        raise OSError(errno.EROFS, self.name)

    def __repr__(self) -> str:
        return f"<Qcow2 {self.name}, {self.size >> 20} MiB>"


def _follows(one: Piece, other: Piece) -> bool:
    if one.packed or other.packed:
        return False
    if not one.place or not other.place:
        return one.place == other.place
    return other.place - one.place == other.start - one.start


def _clear(views: list[memoryview]) -> None:
    for view in views:
        view[:] = bytes(len(view))


def _inflate(data: bytes, size: int) -> bytes:
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size)
    except zlib.error:
        return b""


def _unzstd(data: bytes, size: int) -> bytes:
    import zstandard  # few images need it

    try:
        with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(data) as reader:
            return bytes(reader.read(size))
    except zstandard.ZstdError:
        return b""
