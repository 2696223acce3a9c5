"""A file of parts, each with a checksum: all of it is there, or one line says why not.

After magic and version comes each part: what it is, the sizes of what is stored and of what that
decompresses to, and a digest of all this; then what is stored. The last part is empty.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any, NamedTuple

from rvvm.py.errors import UserError
from rvvm.py.scratch import replacing

VERSION = 2
LARGEST = 1 << 26
"""Bytes of a part, decompressed."""
_MAGIC = b"rvvm\r\n\x1a\n"  # what changes the ends of lines damages it
_START = struct.Struct("<8sI")
_PART = struct.Struct("<4sQQ")
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
    """What a file has; ``data`` decompresses it."""

    kind: bytes
    size: int
    stored: memoryview

    def data(self) -> bytes:
        """As it was put; ValueError when it is nothing that was."""
        import zstandard

        try:
            if zstandard.frame_content_size(self.stored) != self.size:
                raise ValueError("a part is of another size than it says")
            return bytes(zstandard.ZstdDecompressor().decompress(self.stored))
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from None


def read(path: Path) -> list[Part]:
    """All parts but the last, each found to be whole; UserError for a file that is not."""
    try:
        data = memoryview(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    if len(data) < _START.size or bytes(data[: len(_MAGIC)]) != _MAGIC:
        raise UserError(f"{path}: no saved machine")
    _, version = _START.unpack_from(data)
    if version != VERSION:
        raise UserError(f"{path}: saved as version {version}; this rvvm reads version {VERSION}")
    parts = list(_parts(path, data))
    if not parts or parts[-1].kind != _END:
        raise UserError(f"{path}: the saved machine is cut short")
    return parts[:-1]


def _parts(path: Path, data: memoryview) -> Iterator[Part]:
    at, kind = _START.size, b""
    while at < len(data) and kind != _END:
        begin = at + _PART.size + _DIGEST
        if begin > len(data):
            raise UserError(f"{path}: the saved machine is cut short")
        head = bytes(data[at : at + _PART.size])
        kind, stored, size = _PART.unpack(head)
        payload = data[begin : begin + stored]
        if _digest(head, payload) != data[at + _PART.size : begin]:
            what = "damaged" if begin + stored <= len(data) else "cut short or damaged"
            raise UserError(f"{path}: the saved machine is {what}")
        yield Part(kind, min(size, LARGEST), payload)
        at = begin + stored
    if at < len(data):
        raise UserError(f"{path}: the saved machine is damaged: there is more behind its end")


# Plain data as JSON, with bytes, and dictionaries with any keys.

_BYTES, _MAP = "$bytes", "$map"


def encode(data: Any) -> bytes:
    """Numbers, texts, paths, bytes, None; lists and dictionaries of them.

    >>> decode(encode({"a": [1, b"x", None], "b": {2: True}}))
    {'a': [1, b'x', None], 'b': {2: True}}
    """
    return json.dumps(_plain(data)).encode()


def decode(text: bytes) -> Any:
    """What was encoded; ValueError, TypeError or KeyError for what was not."""
    return json.loads(text, object_hook=_object)


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
