"""Host ends of byte streams to a guest: in memory, or at a path where a program can connect."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from rvvm.py.errors import UserError

_AHEAD = 1 << 16
"""Bytes that are read before the guest has taken those that came."""


class Stream(Protocol):
    """The device sets ``wake``, to be called from any thread when there is input."""

    wake: Callable[[], None]

    def write(self, data: bytes) -> None:
        """Bytes from the guest."""

    def take(self, room: int) -> bytes:
        """At most ``room`` bytes for the guest, in order."""


class MemoryStream:
    """For a program in the same process.

    >>> stream = MemoryStream()
    >>> stream.write(b"out"); stream.send(b"input"); (stream.output, stream.take(2), stream.take(9))
    (bytearray(b'out'), b'in', b'put')
    """

    def __init__(self) -> None:
        self.output = bytearray()
        self.wake: Callable[[], None] = lambda: None
        self._input = bytearray()
        self._lock = threading.Lock()

    def write(self, data: bytes) -> None:
        self.output += data

    def take(self, room: int) -> bytes:
        with self._lock:
            piece = bytes(self._input[:room])
            del self._input[:room]
        return piece

    def send(self, data: bytes) -> None:
        """Input for the guest; it waits here until the guest has room."""
        with self._lock:
            self._input += data
        self.wake()


class SocketStream(MemoryStream):
    """Listens at a path, for one program at a time. What the guest writes while nobody is there, or
    faster than it is read, is lost, as on a cable."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._listener = _listen(path)
        self._client: socket.socket | None = None
        self._room = threading.Event()
        self._closing = weakref.finalize(self, _close, self._listener, path)
        threading.Thread(
            target=_serve, args=(self._listener, weakref.ref(self)), daemon=True
        ).start()

    def write(self, data: bytes) -> None:
        client = self._client
        if client is not None:
            with contextlib.suppress(OSError):
                client.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def take(self, room: int) -> bytes:
        piece = super().take(room)
        self._room.set()
        return piece

    def close(self) -> None:
        """Nobody can connect any more."""
        self._closing()

    def receive(self, client: socket.socket) -> None:
        """One program's input, to its end."""
        self._client = client
        try:
            while data := client.recv(4096):
                self.send(data)
                while len(self._input) > _AHEAD:
                    self._room.clear()
                    self._room.wait(1)
        except OSError:
            pass
        finally:
            self._client = None


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(ConnectionRefusedError, FileNotFoundError):
            listener.connect(str(path))
            raise UserError(f"--device virtio-console: {path}: somebody listens there already")
        if path.is_socket():
            path.unlink()  # a machine's that is gone
        listener.close()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        listener.listen(1)
    except OSError as error:
        listener.close()
        reason = error.strerror or error
        raise UserError(f"--device virtio-console: {path}: {reason}") from None
    return listener


def _serve(listener: socket.socket, stream: weakref.ref[SocketStream]) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        with client:
            if (alive := stream()) is None:
                return
            alive.receive(client)
            del alive


def _close(listener: socket.socket, path: Path) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()
