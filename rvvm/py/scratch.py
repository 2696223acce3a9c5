"""Files that are being made: each is gone at the end, or has taken the place of another.

A process that is killed leaves them; who makes the next one in its place removes them. A lock says
that somebody is still at work, and ends with the process. It is of the open file (Linux fcntl(2),
F_OFD_SETLK), so that it is in the way of no flock(2) of who uses the file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

_MARK = ".rvvm-"
_MOST_LINKS = 40  # as in Linux
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
    has the old one mapped keeps it. A symbolic link stays: the file that it names is replaced. An
    old file's permissions and owner are kept; a new one has ``mode``. OSError for what is there
    and is no regular file: a rename would put a file in the place of a device node.
    """
    path = _real(path)
    old = _replaceable(path)
    with scratch(path.parent, path.name) as temporary:
        yield temporary
        _like(temporary, old, mode)
        _sync(temporary)
        _replaceable(path)
        temporary.replace(path)
        _sync(path.parent)


def _real(path: Path) -> Path:
    """The path behind symbolic links. Not those of /proc, as /dev/stdout is: they are open files,
    and whoever has them open would go on with the old one."""
    for _ in range(_MOST_LINKS):
        if not path.is_symlink():
            return Path(os.path.realpath(path))
        if os.path.realpath(path.parent).startswith("/proc/"):
            raise OSError(errno.EINVAL, "an open file, and not replaced by another", str(path))
        path = path.parent / os.readlink(path)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


def _replaceable(path: Path) -> os.stat_result | None:
    """The old file, if there is one; OSError for what a file may not take the place of."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file, and not replaced by one", str(path))
    if not os.access(path, os.W_OK, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return found


def _like(new: Path, old: os.stat_result | None, mode: int) -> None:
    """Give a new file the owner and the permissions of the old one."""
    now = new.stat()
    if old is not None and (old.st_uid, old.st_gid) != (now.st_uid, now.st_gid):
        with contextlib.suppress(PermissionError):
            os.chown(new, old.st_uid, old.st_gid)
    new.chmod(stat.S_IMODE(old.st_mode) if old is not None else mode)


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
