"""A machine in the background: its errors are told before whoever started it is let go."""

from __future__ import annotations

import fcntl
import os
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
    """A file with our number, while we live."""
    if path is None:
        yield
        return
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"--pidfile: {path}: another machine has it") from None
    except OSError as error:
        raise UserError(f"--pidfile: {path}: {error.strerror}") from None
    os.ftruncate(file, 0)
    os.write(file, f"{os.getpid()}\n".encode())
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(file)
