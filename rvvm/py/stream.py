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
from rvvm.py.threads import Threads

KEPT = 8 << 20
"""Bytes of a guest's output that are kept at least, for who looks at them later."""
_AHEAD = 1 << 16
"""Bytes that are read before the guest has taken those that came."""


class Stream(Protocol):
    """The device sets ``wake``, to be called from any thread when there is input."""

    wake: Callable[[], None]
    problem: str
    """Why some output of the guest is lost; empty while none is."""

    def write(self, data: bytes) -> None:
        """Bytes from the guest."""

    def take(self, room: int) -> bytes:
        """At most ``room`` bytes for the guest, in order."""

    def close(self) -> None:
        """The machine ends: nobody is at the other end any more."""

    def join(self) -> None:
        """After that: its threads have ended."""


class MemoryStream:
    """For a program in the same process.

    >>> stream = MemoryStream()
    >>> stream.write(b"out"); stream.send(b"input"); (stream.output, stream.take(2), stream.take(9))
    (bytearray(b'out'), b'in', b'put')
    """

    problem = ""
    closed = False

    def __init__(self) -> None:
        self.output = bytearray()
        self.wake: Callable[[], None] = lambda: None
        self._input = bytearray()
        self._lock = threading.Lock()

    def write(self, data: bytes) -> None:
        self.output += data
        if len(self.output) > 2 * KEPT:
            del self.output[:KEPT]

    def take(self, room: int) -> bytes:
        with self._lock:
            piece = bytes(self._input[:room])
            del self._input[:room]
        return piece

    def send(self, data: bytes) -> None:
        """Input for the guest; it waits here until the guest has room."""
        with self._lock:
            self._input += data
        if not self.closed:
            self.wake()

    def close(self) -> None:
        self.closed = True

    def join(self) -> None:
        pass


class Peer(Protocol):
    """A program at the other end: a socket, or what has these of its methods."""

    def recv(self, size: int, /) -> bytes:
        """Bytes, as soon as there are any; none at the end."""

    def shutdown(self, how: int, /) -> None:
        """That is the end: ``recv`` comes back."""

    def close(self) -> None:
        """Nobody uses it any more."""

    def send(self, data: bytes, flags: int, /) -> int:
        """Bytes, as far as there is room for them."""


class PeerStream(MemoryStream):
    """A program at the other end. What the guest writes while nobody is there, or faster than it is
    read, is lost, as on a cable."""

    def __init__(self) -> None:
        super().__init__()
        self._client: Peer | None = None
        self._room = threading.Event()
        self._threads = Threads()

    def write(self, data: bytes) -> None:
        client = self._client
        if client is not None:
            with contextlib.suppress(OSError):
                client.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def take(self, room: int) -> bytes:
        piece = super().take(room)
        self._room.set()
        return piece

    def start(self, client: Peer) -> None:
        """Receive from one program, in a thread that closes it at the end."""
        self._threads.start(self._receive_all, client)

    def _receive_all(self, client: Peer) -> None:
        self.receive(client)
        client.close()

    def close(self) -> None:
        super().close()
        self._room.set()
        if (client := self._client) is not None:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def join(self) -> None:
        self._threads.join()

    def receive(self, client: Peer) -> None:
        """One program's input, to its end."""
        self._client = client
        try:
            while not self.closed and (data := client.recv(4096)):
                self.send(data)
                while len(self._input) > _AHEAD and not self.closed:
                    self._room.clear()
                    self._room.wait(1)
        except OSError:
            pass
        finally:
            self._client = None


class SocketStream(PeerStream):
    """Listens, at a path for instance, for one program at a time."""

    def __init__(
        self, where: Path | socket.socket, option: str = "--device virtio-console"
    ) -> None:
        super().__init__()
        path = where if isinstance(where, Path) else None
        listener = _listen(where, option) if isinstance(where, Path) else where
        self._closing = weakref.finalize(self, _close, listener, path)
        self._threads.start(_serve, listener, weakref.ref(self))

    def close(self) -> None:
        """Nobody can connect any more, either."""
        self._closing()
        super().close()


def _listen(path: Path, option: str) -> socket.socket:
    """At a path, unless somebody is there."""
    name = f"{option}: {path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            pass
        else:
            raise UserError(f"{name}: somebody listens there already")
    if path.is_socket():
        path.unlink()  # a machine's that is gone
    return listen(socket.AF_UNIX, str(path), name)


def listen(family: int, address: object, name: str) -> socket.socket:
    """A socket that listens; ``name`` is how a complaint begins."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family != socket.AF_UNIX:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)  # type: ignore[arg-type]
        listener.listen(1)
    except OSError as error:
        listener.close()
        raise UserError(f"{name}: {error.strerror or error}") from None
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


def _close(listener: socket.socket, path: Path | None) -> None:
    with contextlib.suppress(OSError):
        if path is not None:
            os.unlink(path)
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()
