"""Read Debian packages without root and without dpkg: deb(5) is an ar archive of tar archives."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import IO

from rvvm.py.errors import UserError

AR_MAGIC = b"!<arch>\n"
AR_HEADER = 60
"""Bytes of a member header: name 16, mtime 12, uid 6, gid 6, mode 8, size 10, end mark 2."""


def ar_member(file: IO[bytes], prefix: str) -> bytes:
    """The first member of an ar archive whose name starts with `prefix`."""
    if file.read(len(AR_MAGIC)) != AR_MAGIC:
        raise ValueError("not an ar archive")
    while len(header := file.read(AR_HEADER)) == AR_HEADER:
        name = header[:16].decode("ascii").rstrip(" ").rstrip("/")
        size = int(header[48:58])
        if name.startswith(prefix):
            data = file.read(size)
            if len(data) < size:
                raise EOFError(f"{name} is cut short")
            return data
        file.seek(size + size % 2, io.SEEK_CUR)
    raise ValueError(f"no member {prefix}*")


def files(deb: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Path (no leading ``./``) and content of each wanted regular file of a package, in order."""
    try:
        with open(deb, "rb") as archive:
            data = ar_member(archive, "data.tar")
        with tarfile.open(fileobj=io.BytesIO(data), mode="r|*") as tar:
            for member in tar:
                path = member.name.removeprefix("./")
                if member.isreg() and wanted(path) and (content := tar.extractfile(member)):
                    yield path, content.read()
    except (OSError, ValueError, tarfile.TarError, EOFError) as error:
        raise UserError(f"{deb.name}: not a whole Debian package: {error}") from error


def file(deb: Path, pattern: str) -> bytes:
    """Content of the one file of a package that matches a shell pattern."""
    for _, content in files(deb, lambda path: fnmatch(path, pattern)):
        return content
    raise UserError(f"{deb.name}: no {pattern} inside")
