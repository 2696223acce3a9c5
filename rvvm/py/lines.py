"""Where the console's serial line leads: ``--serial``, as QEMU's users write it."""

from __future__ import annotations

import os
import select
import socket
import time
import tty
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from rvvm.py.errors import UserError
from rvvm.py.host import complain
from rvvm.py.stream import MemoryStream, PeerStream, SocketStream, listen

_AHEAD = 1 << 16
_GATHER = 0.01


class Console(Protocol):
    """The person's end of a machine's console."""

    listeners: list[Callable[[bytes], None]]

    @property
    def pending(self) -> int:
        """Bytes that the guest has yet to read."""

    def send(self, text: bytes) -> None:
        """Type."""


def connect(console: Console, text: str) -> MemoryStream:
    """Join a console to what ``text`` names: ``null``, ``file:PATH``, ``unix:PATH[,server]``,
    ``tcp:HOST:PORT[,server]`` or ``pty``."""
    kind, _, rest = text.partition(":")
    if kind not in _KINDS or bool(rest) == (kind in _ALONE):
        known = "stdio, null, pty, file:PATH, unix:PATH[,server], tcp:HOST:PORT[,server]"
        raise UserError(f"--serial {text}: expected one of {known}")
    where, *words = rest.split(",")
    stream: MemoryStream = _KINDS[kind](where, _serves(text, words))

    def feed() -> None:
        """On the stream's own thread, which reads no more than the guest does."""
        console.send(stream.take(_AHEAD))
        while console.pending and not stream.closed:
            time.sleep(_GATHER)

    stream.wake = feed
    console.listeners.append(stream.write)
    console.send(stream.take(_AHEAD))  # what came before that
    return stream


def _serves(text: str, words: Sequence[str]) -> bool:
    """Whether it waits for others to connect. A machine does not wait for them to start."""
    known = {"server": True, "server=on": True, "server=off": False}
    no_wait = ("nowait", "wait=off")
    for word in words:
        if word not in known and word not in no_wait:
            raise UserError(f"--serial {text}: {word} is none of server, wait=off")
    return any(known.get(word, False) for word in words)


class FileStream(MemoryStream):
    """What the guest prints, in a file. A write that fails is reported once and in ``problem``; the
    guest does not notice, and later output is written as soon as there is room again."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._name = f"--serial file:{path}"
        try:
            self._file = open(path, "wb", buffering=0)  # noqa: SIM115  # as long as the machine
        except OSError as error:
            raise UserError(f"{self._name}: {error.strerror}") from None

    def write(self, data: bytes) -> None:
        try:
            while data:
                data = data[self._file.write(data) or 0 :]
        except OSError as error:
            if not self.problem:
                self.problem = f"{self._name}: {error.strerror}: output of the guest is lost"
                complain(self.problem)

    def close(self) -> None:
        super().close()
        self._file.close()


class NullStream(MemoryStream):
    """Nobody listens."""

    def write(self, data: bytes) -> None:
        pass


class _Pty:
    """The master of a pseudoterminal, with a socket's methods."""

    def __init__(self) -> None:
        self._master, self._slave = os.openpty()  # which is kept open: else a read is an error
        tty.setraw(self._slave)
        self.name = os.ttyname(self._slave)
        self._stopped, self._stop = os.pipe()

    def recv(self, size: int) -> bytes:
        ready, _, _ = select.select([self._master, self._stopped], [], [])
        return b"" if self._stopped in ready else os.read(self._master, size)

    def send(self, data: bytes, flags: int) -> int:
        _, room, _ = select.select([], [self._master], [], 0)
        return os.write(self._master, data) if room else 0

    def shutdown(self, how: int) -> None:
        os.close(self._stop)

    def close(self) -> None:
        for file in (self._master, self._slave, self._stopped):
            os.close(file)


def _pty(where: str, serves: bool) -> PeerStream:
    pty = _Pty()
    print(f"rvvm: --serial pty: {pty.name}", flush=True)
    return _joined(pty)


def _unix(where: str, serves: bool) -> PeerStream:
    if serves:
        return SocketStream(Path(where), option="--serial unix")
    return _joined(_connected(socket.AF_UNIX, where, f"unix:{where}"))


def _tcp(where: str, serves: bool) -> PeerStream:
    host, _, port = where.rpartition(":")
    if not port.isdecimal() or int(port) > 0xFFFF:
        raise UserError(f"--serial tcp:{where}: expected tcp:HOST:PORT")
    address = host.strip("[]") or "127.0.0.1", int(port)
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    if not serves:
        return _joined(_connected(family, address, f"tcp:{where}"))
    return SocketStream(listen(family, address, f"--serial tcp:{where}"))


def _connected(family: int, address: object, name: str) -> socket.socket:
    end = socket.socket(family, socket.SOCK_STREAM)
    try:
        end.connect(address)  # type: ignore[arg-type]
    except OSError as error:
        end.close()
        raise UserError(f"--serial {name}: {error.strerror or error}") from None
    return end


def _joined(client: socket.socket | _Pty) -> PeerStream:
    stream = PeerStream()
    stream.start(client)
    return stream


_KINDS: Mapping[str, Callable[[str, bool], MemoryStream]] = {
    "null": lambda where, serves: NullStream(),
    "file": lambda where, serves: FileStream(where),
    "unix": _unix,
    "tcp": _tcp,
    "pty": _pty,
}
_ALONE = ("null", "pty")
