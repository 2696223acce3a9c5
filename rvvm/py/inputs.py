"""Files that the user names, read whole: never more than may be of use, and nothing without end.

A pipe is read, for ``<(zcat Image.gz)`` of a shell is one. A device, which may have no end, is not.
"""

from __future__ import annotations

import os
import select
import stat
import time
import zlib
from pathlib import Path

from rvvm.py.errors import UserError

MOST_TEXT = 16 << 20
"""Bytes of a file that people write: a devicetree, a cloud-config, a key."""
_PIECE = 1 << 20
_PATIENCE = 5.0
"""Seconds until somebody opens a pipe's other end."""
_GZIP = 16  # zlib's wbits for gzip's header and trailer, with the window's size


def open_input(path: Path | str, what: str) -> int:
    """A descriptor of a regular file or a pipe; else a UserError that begins with ``what``."""
    try:
        # Not to wait for the writer of a pipe, who may never come.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{what}{path}: {reason}") from None
    mode = os.fstat(file).st_mode
    if stat.S_ISREG(mode) or stat.S_ISFIFO(mode):
        return file
    os.close(file)
    reason = "Is a directory" if stat.S_ISDIR(mode) else "neither a regular file nor a pipe"
    raise UserError(f"{what}{path}: {reason}")


def read(path: Path | str, what: str = "", limit: int = MOST_TEXT) -> bytes:
    """All bytes of a file; UserError when there are more than ``limit``."""
    file = open_input(path, what)
    try:
        return read_open(file, f"{what}{path}", limit)
    finally:
        os.close(file)


def read_open(file: int, name: str, limit: int) -> bytes:
    """The same of an open file."""
    pieces, size = [], 0
    try:
        while piece := _next(file, name, bool(size)):
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise UserError(
                    f"{name}: more than {limit:,} bytes, which is all there is room for"
                )
    except OSError as error:
        raise UserError(f"{name}: {error.strerror}") from None
    return b"".join(pieces)


def _next(file: int, name: str, begun: bool) -> bytes:
    """The next bytes; none at the end. A pipe that nobody has opened yet is waited for."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            piece = os.read(file, _PIECE)
        except BlockingIOError:  # somebody has it open, and has written nothing yet
            select.select([file], [], [])
            continue
        if piece or begun or not stat.S_ISFIFO(os.fstat(file).st_mode):
            return piece
        if select.select([file], [], [], 0.05)[0]:
            return os.read(file, _PIECE)  # written, or opened and closed
        if time.monotonic() > deadline:
            raise UserError(f"{name}: nobody writes into this pipe")


def gunzip_head(data: bytes, name: str, size: int) -> bytes:
    """The first bytes of what a gzip file holds."""
    try:
        return zlib.decompressobj(_GZIP + zlib.MAX_WBITS).decompress(data, size)
    except zlib.error as error:
        raise UserError(f"{name}: not a whole gzip file ({error})") from None


def gunzip(data: bytes | memoryview, name: str, limit: int) -> memoryview:
    """What one or more gzip members hold; UserError when it is more than ``limit``, or damaged."""
    found, rest = bytearray(), memoryview(data)
    members = 0
    while rest and (not members or any(rest[:_PIECE])):  # zeroes may follow
        member = zlib.decompressobj(_GZIP + zlib.MAX_WBITS)
        members += 1
        while not member.eof:
            piece, rest = rest[:_PIECE], rest[_PIECE:]
            if not piece:
                raise UserError(f"{name}: not a whole gzip file (it is cut short)")
            _unpack(member, piece, found, name, limit)
        # What came with the last piece and is not this member's.
        rest = memoryview(data)[len(data) - len(rest) - len(member.unused_data) :]
    return memoryview(found).toreadonly()


def _unpack(
    member: zlib._Decompress, piece: bytes | memoryview, found: bytearray, name: str, limit: int
) -> None:
    """Add what a piece of a member holds, not all of it at once."""
    size = _PIECE
    while not member.eof and (piece or size == _PIECE):  # as much as was asked for: there is more
        before = len(found)
        try:
            found += member.decompress(piece, _PIECE)
        except zlib.error as error:
            raise UserError(f"{name}: not a whole gzip file ({error})") from None
        if len(found) > limit:
            raise UserError(
                f"{name}: more than {limit:,} bytes unpacked, which is all there is room for"
            )
        piece, size = member.unconsumed_tail, len(found) - before
