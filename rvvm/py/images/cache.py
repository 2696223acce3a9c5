"""Where fetched and built images live, and how two processes share the place."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rvvm.py.errors import UserError
from rvvm.py.scratch import replacing


def root() -> Path:
    """The cache folder: ``RVVM_CACHE``, else ``rvvm`` in the XDG cache folder."""
    if own := os.environ.get("RVVM_CACHE"):
        return Path(own).absolute()
    # XDG base directory specification: a relative XDG_CACHE_HOME is to be ignored.
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "rvvm"


def folder(*parts: str) -> Path:
    """A folder in the cache, made when missing."""
    path = root().joinpath(*parts)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror
        raise UserError(f"cannot make {path}: {reason} (RVVM_CACHE names another place)") from error
    return path


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold the cache's lock of that name; waits while another process has it.

    The kernel drops a flock with its process, so a killed fetch leaves nothing to clean up.
    """
    path = folder("locks") / f"{name}.lock"
    with writing(path):
        file = open(path, "w")  # noqa: SIM115  # closed below, outside of what is an error of ours
    with file:
        _hold(file, name)
        yield


def _hold(file: IO[str], name: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        from rvvm.py.progress import step

        with step(f"waiting for another rvvm, which is busy with {name}", patience=2):
            fcntl.flock(file, fcntl.LOCK_EX)


def write(path: Path, data: bytes) -> None:
    """Write a whole file atomically; UserError where the cache is read-only or full."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, 0o644) as temporary:
            temporary.write_bytes(data)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """An OSError within is a UserError that names the path and how to use another place."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"cannot write {error.filename or path}: {reason} (RVVM_CACHE names another place)"
        ) from error
