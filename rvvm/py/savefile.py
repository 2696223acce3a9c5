"""A file of parts, each with a checksum: all of it is there, or one line says why not.

After magic and version comes each part: what it is, the sizes of what is stored and of what that
decompresses to, and a digest of all this; then what is stored. The last part is empty.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import struct
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any, NamedTuple

from rvvm.py.errors import UserError
from rvvm.py.scratch import replacing

VERSION = 3
LARGEST = 1 << 26
"""Bytes of a part, decompressed."""
_MAGIC = b"rvvm\r\n\x1a\n"  # what changes the ends of lines damages it
_START = struct.Struct("<8sI")
_PART = struct.Struct("<4sQQ")
_MOST_STORED = LARGEST + (1 << 20)  # of which nothing is saved by compressing it
_MOST_VALUES = 1 << 22
"""Numbers, texts, lists and dictionaries of a part that is plain data: a few for each register of
512 harts."""
_DIGEST = 16
_END = b"end."
_LEVEL, _THREADS = 1, 2  # of zstandard: 3 is 2 % smaller, and takes twice as long


class Writer:
    """Puts parts into a file."""

    def __init__(self, file: IO[bytes]) -> None:
        import zstandard  # needed where machines are saved

        self._file = file
        self._compress = zstandard.ZstdCompressor(_LEVEL, threads=_THREADS).compress
        file.write(_START.pack(_MAGIC, VERSION))

    def put(self, kind: bytes, data: bytes | bytearray | memoryview) -> None:
        """One part of at most ``LARGEST`` bytes."""
        assert len(data) <= LARGEST
        stored = self._compress(data)
        head = _PART.pack(kind, len(stored), len(data))
        self._file.write(head + _digest(head, stored) + stored)


def _digest(head: bytes, stored: bytes | memoryview) -> bytes:
    return blake2b(stored, digest_size=_DIGEST, key=head).digest()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Writer]:
    """The file appears, or takes the place of an old one, when everything is on the disk."""
    try:
        with replacing(path, 0o600) as temporary, temporary.open("wb") as file:
            writer = Writer(file)
            yield writer
            writer.put(_END, b"")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


class Part(NamedTuple):
    """What a file has; ``data`` reads and decompresses it."""

    kind: bytes
    size: int
    file: _File
    at: int
    stored: int

    def data(self) -> bytes:
        """As it was put; ValueError when it is nothing that was."""
        import zstandard

        try:
            stored = self.file.stored(self.at, self.stored)[1]
            if zstandard.frame_content_size(stored) != self.size:
                raise ValueError("a part is of another size than it says")
            return bytes(zstandard.ZstdDecompressor().decompress(stored))
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from None


class _File:
    """A file of which one part at a time is in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            self._file = os.fdopen(descriptor, "rb", buffering=0)
            status = os.fstat(descriptor)
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}") from None
        self.size = status.st_size
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"{path}: no saved machine: not a regular file")

    def read(self, at: int, size: int) -> bytes:
        """Bytes from there; fewer at the end of the file."""
        try:
            return os.pread(self._file.fileno(), size, at)
        except OSError as error:
            raise UserError(f"{self.path}: {error.strerror}") from None

    def stored(self, at: int, size: int) -> tuple[bytes, bytes]:
        """The head of a part, and its bytes, which it is the digest of."""
        head = self.read(at, _PART.size + _DIGEST)
        stored = self.read(at + len(head), min(size, _MOST_STORED))
        if len(stored) < size:
            raise UserError(f"{self.path}: the saved machine is cut short or damaged")
        if _digest(head[: _PART.size], stored) != head[_PART.size :]:
            raise UserError(f"{self.path}: the saved machine is damaged")
        return head, stored


def read(path: Path) -> list[Part]:
    """All parts but the last, each found to be whole; UserError for a file that is not."""
    file = _File(path)
    start = file.read(0, _START.size)
    if len(start) < _START.size or start[: len(_MAGIC)] != _MAGIC:
        raise UserError(f"{path}: no saved machine")
    _, version = _START.unpack(start)
    if version != VERSION:
        raise UserError(f"{path}: saved as version {version}; this rvvm reads version {VERSION}")
    parts = list(_parts(file))
    if not parts or parts[-1].kind != _END:
        raise UserError(f"{path}: the saved machine is cut short")
    return parts[:-1]


def _parts(file: _File) -> Iterator[Part]:
    at, kind = _START.size, b""
    while at < file.size and kind != _END:
        head = file.read(at, _PART.size)
        if at + _PART.size + _DIGEST > file.size or len(head) < _PART.size:
            raise UserError(f"{file.path}: the saved machine is cut short")
        kind, stored, size = _PART.unpack(head)
        file.stored(at, stored)
        yield Part(kind, min(size, LARGEST), file, at, stored)
        at += _PART.size + _DIGEST + stored
    if at < file.size:
        raise UserError(f"{file.path}: the saved machine is damaged: there is more behind its end")


# Plain data as JSON, with bytes, and dictionaries with any keys.

_BYTES, _MAP = "$bytes", "$map"


def encode(data: Any) -> bytes:
    """Numbers, texts, paths, bytes, None; lists and dictionaries of them.

    >>> decode(encode({"a": [1, b"x", None], "b": {2: True}}))
    {'a': [1, b'x', None], 'b': {2: True}}
    """
    return json.dumps(_plain(data)).encode()


def decode(text: bytes) -> Any:
    """What was encoded; ValueError, TypeError, KeyError or RecursionError for what was not."""
    if sum(map(text.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        raise ValueError("a part of more values than a machine has")
    return json.loads(text, object_hook=_object, parse_constant=_no_number)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no value of a machine")


def _plain(data: Any) -> Any:
    if isinstance(data, bytes | bytearray):
        return {_BYTES: data.hex()}
    if isinstance(data, os.PathLike):
        return os.fspath(data)
    if isinstance(data, list | tuple):
        return [_plain(item) for item in data]
    if not isinstance(data, dict):
        return data
    if all(isinstance(key, str) for key in data):
        return {key: _plain(value) for key, value in data.items()}
    return {_MAP: [[_plain(key), _plain(value)] for key, value in data.items()]}


def _object(found: dict[str, Any]) -> Any:
    if _BYTES in found:
        return bytes.fromhex(found[_BYTES])
    if _MAP in found:
        return {key: value for key, value in found[_MAP]}  # noqa: C416  # pairs are checked so
    return found
