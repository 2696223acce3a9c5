"""Files that are being made: each is gone at the end, or has taken the place of another.

A process that is killed leaves them; who makes the next one in its place removes them. A lock says
that somebody is still at work, and ends with the process. It is of the open file (Linux fcntl(2),
F_OFD_SETLK), so that it is in the way of no flock(2) of who uses the file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path

_MARK = ".rvvm-"
_RANDOM = 4  # bytes, in hexadecimal digits
_WHOLE = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)  # struct flock


@contextlib.contextmanager
def scratch(folder: Path, name: str = "") -> Iterator[Path]:
    """A file of one's own that is gone afterwards; ``name`` is what it is for."""
    _sweep(folder, name)
    path, lock = _made(folder, name)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
        os.close(lock)


@contextlib.contextmanager
def replacing(path: Path, mode: int) -> Iterator[Path]:
    """A temporary path that takes the place of `path` at the end, or vanishes on an exception.

    A reader sees the old file or the new one, never a part, also after a power cut; a machine that
    has the old one mapped keeps it.
    """
    with scratch(path.parent, path.name) as temporary:
        yield temporary
        temporary.chmod(mode)
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)


def _made(folder: Path, name: str) -> tuple[Path, int]:
    """A new file, and the descriptor that has its lock."""
    while True:
        path = folder / f".{name}{_MARK}{os.urandom(_RANDOM).hex()}"
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            continue
        if _lock(file) is False or not os.fstat(file).st_nlink:
            os.close(file)  # somebody has just taken it for a dead one's
            continue
        return path, file


def _sweep(folder: Path, name: str) -> None:
    """Remove what dead processes have left."""
    wanted = re.compile(re.escape(f".{name}{_MARK}") + rf"[0-9a-f]{{{2 * _RANDOM}}}")
    for left in os.listdir(folder):
        if wanted.fullmatch(left):
            with contextlib.suppress(OSError):
                _remove_dead(folder / left)


def _remove_dead(path: Path) -> None:
    file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if _lock(file) and os.path.samestat(os.fstat(file), path.stat()):
            path.unlink()
    finally:
        os.close(file)


def _lock(file: int) -> bool | None:
    """Whether it is ours now; None where the file system knows no locks."""
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, _WHOLE)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
