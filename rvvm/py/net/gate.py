"""The host's side of a guest's vsock: UNIX sockets, as Firecracker documents them.

Who connects to the path says ``CONNECT port``, and is told ``OK port`` once somebody in the guest
has accepted. What the guest asks the host for at a port goes to the socket at ``path_port``.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from rvvm.py.errors import UserError
from rvvm.py.threads import Threads

READ, WRITE, GONE = select.EPOLLIN, select.EPOLLOUT, select.EPOLLHUP | select.EPOLLERR
LONGEST_LINE = 32

Ready = Callable[[int, int], None]
"""A file that is ready, and for what."""


class Gate:
    """Listens at the path, and watches sockets in a thread of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listener = _listen(path)
        self._epoll = select.epoll()
        self._watched: dict[int, int] = {}
        self._alarm, self._stop = socket.socketpair()
        self._threads = Threads()
        self.watch(self.listener, READ)
        self.watch(self._stop, READ)

    def start(self, ready: Ready) -> None:
        """Tell of sockets that are ready, until ``close``."""
        self._threads.start(self._loop, ready)

    def watch(self, which: socket.socket, events: int) -> None:
        """Be told of these events, or at least that the other end is gone."""
        number = which.fileno()
        known = self._watched.get(number)
        if known is None:
            self._epoll.register(number, events)
        elif known != events:
            self._epoll.modify(number, events)
        self._watched[number] = events

    def ignore(self, which: socket.socket) -> None:
        """No more of it."""
        if self._watched.pop(which.fileno(), None) is not None:
            self._epoll.unregister(which.fileno())

    def forget(self, which: socket.socket) -> None:
        """Close it."""
        self.ignore(which)
        which.close()

    def accept(self) -> socket.socket | None:
        """Who has connected to the path."""
        try:
            client, _ = self.listener.accept()
        except OSError:
            return None
        client.setblocking(False)
        return client

    def dial(self, port: int) -> socket.socket | None:
        """Connect to what the host has at a port, if it has."""
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        end.setblocking(False)
        try:
            end.connect(f"{self.path}_{port}")
        except OSError:
            end.close()
            return None
        return end

    def close(self) -> None:
        """No more connections; the thread ends."""
        with contextlib.suppress(OSError):
            os.unlink(self.path)
        self._alarm.close()
        if not self._threads.any:
            self._end()

    def join(self) -> None:
        """After ``close``: the thread has ended."""
        self._threads.join()

    def _end(self) -> None:
        self.listener.close()
        self._stop.close()
        self._epoll.close()

    def _loop(self, ready: Ready) -> None:
        stop = self._stop.fileno()
        while True:
            for number, events in self._epoll.poll():
                if number == stop:
                    self._end()
                    return
                ready(number, events)


class ClosedGate(Gate):
    """Nobody comes in, and nobody is there: two machines cannot listen at one path."""

    def __init__(self) -> None:
        pass

    def start(self, ready: Ready) -> None:
        pass

    def dial(self, port: int) -> socket.socket | None:
        return None

    def close(self) -> None:
        pass

    def join(self) -> None:
        pass


class Pipe:
    """A connection's socket. What it does not take at once is kept: as much as a guest may send."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self.kept = bytearray()
        self.line = bytearray()
        self.alive = True

    def write(self, views: Sequence[memoryview]) -> int:
        """How many bytes are gone already."""
        sent = 0
        if not self.kept:
            sent = self._send(views)
        if sent < sum([len(view) for view in views]):
            self.kept += b"".join(views)[sent:]
        return sent

    def flush(self) -> int:
        """How many of those that were kept are gone now."""
        sent = self._send([memoryview(self.kept)]) if self.kept else 0
        del self.kept[:sent]
        return sent

    def _send(self, views: Sequence[memoryview]) -> int:
        try:
            return self.socket.sendmsg(views, (), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return 0
        except OSError:
            self.alive = False
            return 0

    def read(self, views: Sequence[memoryview]) -> int | None:
        """How many bytes have come; 0 at the end; None when there are none."""
        try:
            return self.socket.recvmsg_into(views, 0, socket.MSG_DONTWAIT)[0]
        except BlockingIOError:
            return None
        except OSError:
            return 0

    def read_line(self) -> bytes | None:
        """The first line and no further; None until it is there, empty when there will be none."""
        while not self.line.endswith(b"\n"):
            try:
                byte = self.socket.recv(1, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return None
            except OSError:
                return b""
            if not byte or len(self.line) == LONGEST_LINE:
                return b""
            self.line += byte
        return bytes(self.line)

    def shut(self, how: int) -> None:
        """One direction has ended."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(how)


def _listen(path: Path) -> socket.socket:
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(ConnectionRefusedError, FileNotFoundError):
            end.connect(str(path))
            raise UserError(f"--device virtio-vsock: {path}: somebody listens there already")
        if path.is_socket():
            path.unlink()  # a machine's that is gone
        end.close()
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        end.bind(str(path))
        end.listen(64)
    except OSError as error:
        end.close()
        raise UserError(f"--device virtio-vsock: {path}: {error.strerror or error}") from None
    end.setblocking(False)
    return end
