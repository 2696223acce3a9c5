"""A machine in the background: its errors are told before whoever started it is let go."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rvvm.py.errors import UserError


def daemonize() -> Callable[[], None]:
    """Go on in a process of one's own, which calls what this returns when its machine is made.

    Until then the first process waits; it ends well with that call, or with the other's status.
    Nothing that has threads may have been made yet: a fork has only the thread that called it.
    """
    ready, tell = os.pipe()
    if process := os.fork():
        os.close(tell)
        made = os.read(ready, 1)
        os._exit(0 if made else os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) & 0xFF or 1)
    os.close(ready)
    os.setsid()

    def detach() -> None:
        null = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):
            os.dup2(null, standard)
        os.close(null)
        os.write(tell, b"1")
        os.close(tell)

    return detach


@contextmanager
def pidfile(path: Path | None) -> Iterator[None]:
    """A file with our number, while we live. At the end it is removed, if it is still ours."""
    if path is None:
        yield
        return
    name, path = path, Path(os.path.realpath(path))
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UserError(f"--pidfile: {name}: {error.strerror}") from None
    try:
        _take(file, path, name)
        try:
            yield
        finally:
            _remove(file, path)
    finally:
        os.close(file)


def _take(file: int, path: Path, name: Path) -> None:
    """Lock the file and write our number into it."""
    if not stat.S_ISREG(os.fstat(file).st_mode):
        raise UserError(f"--pidfile: {name}: not a regular file")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        taken = isinstance(error, BlockingIOError)
        why = "another machine has it" if taken else error.strerror
        raise UserError(f"--pidfile: {name}: {why}") from None
    number = f"{os.getpid()}\n".encode()
    try:
        os.ftruncate(file, 0)
        if os.write(file, number) < len(number):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        _remove(file, path)
        raise UserError(f"--pidfile: {name}: {error.strerror}") from None


def _remove(file: int, path: Path) -> None:
    with contextlib.suppress(OSError):
        if os.path.samestat(os.fstat(file), path.lstat()):
            path.unlink()
