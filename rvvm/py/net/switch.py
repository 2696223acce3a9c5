"""A switch of many machines without anybody who serves it: a folder with a socket of each.

A machine sends to the socket of the one that has an address, which it learns from what comes from
there, and to all while nobody is known. So machines come and go as they like, killed ones too: a
socket that nobody reads is removed by who finds it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Sequence
from pathlib import Path

from rvvm.py.errors import UserError
from rvvm.py.net.link import MAX_FRAME, Link, Receiver
from rvvm.py.net.offload import HEADER, Views

MOST_STATIONS = 4096
PATIENCE = 0.1  # seconds that a frame waits for a machine that does not read; then it is lost
_BUFFER = 1 << 20
_MAC = 6


class SwitchLink(Link):
    """Frames keep their headers: who gets one finishes what its guest does not take."""

    headers = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path, end = _join(folder)
        super().__init__(end)
        self._stations: dict[bytes, str] = {}
        self._kept: list[tuple[bytes, str]] = []
        self._more = threading.Lock()
        self._receiver: Receiver | None = None

    def start(self, receiver: Receiver) -> None:
        self._receiver = receiver
        super().start(receiver)

    def send(self, frames: Sequence[Views]) -> bool:
        with self._more:
            if self._kept:
                return False
            for views in frames:
                self._send(views)
            if self._kept:
                self._threads.start(self._wait)
        return True

    def _send(self, views: Views) -> None:
        station = self._stations.get(_address(views))
        if station is not None:
            try:
                self._socket.sendmsg(views, (), socket.MSG_DONTWAIT, station)
                return
            except BlockingIOError:
                self._kept.append((b"".join(views), station))
                return
            except OSError:
                self._forget(station)
        for name in _names(self._folder):
            if name != self._path.name:
                self._try(views, str(self._folder / name))

    def _try(self, views: Views, station: str) -> None:
        """What is for all does not wait for one."""
        try:
            self._socket.sendmsg(views, (), socket.MSG_DONTWAIT, station)
        except ConnectionRefusedError:
            with contextlib.suppress(OSError):
                os.unlink(station)  # a machine's that is gone
        except OSError:
            pass

    def _wait(self) -> None:
        """Send what a slow machine had no room for; then the device may go on."""
        for frame, station in self._kept:
            with contextlib.suppress(OSError):
                self._socket.sendto(frame, station)
        with self._more:
            self._kept = []
        if self._receiver is not None and not self._closed:
            self._receiver.writable()

    def _forget(self, station: str) -> None:
        self._stations = {mac: at for mac, at in self._stations.items() if at != station}

    def _read(self, receiver: Receiver) -> None:
        view = memoryview(bytearray(MAX_FRAME + HEADER.size))
        while not self._closed:
            try:
                count, station = self._socket.recvfrom_into(view)
            except OSError:
                return
            if count > HEADER.size + 2 * _MAC and station:
                self._learn(bytes(view[HEADER.size + _MAC : HEADER.size + 2 * _MAC]), station)
                self._give(receiver, [view[:count]])

    def _learn(self, mac: bytes, station: str) -> None:
        if self._stations.get(mac) != station:
            if len(self._stations) >= MOST_STATIONS:
                self._stations.clear()
            self._stations[mac] = station

    def close(self) -> None:
        if not self._closed:
            with contextlib.suppress(OSError):
                os.unlink(self._path)
            super().close()


def _address(views: Views) -> bytes:
    """Where a frame is to go: behind its header."""
    first, second = (*views, memoryview(b""))[:2]
    head = bytes(first[: HEADER.size + _MAC]) + bytes(second[:_MAC])
    return head[HEADER.size : HEADER.size + _MAC]


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _join(folder: Path) -> tuple[Path, socket.socket]:
    end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    path = folder / os.urandom(8).hex()
    try:
        folder.mkdir(exist_ok=True)
        end.bind(str(path))
    except OSError as error:
        end.close()
        raise UserError(f"--netdev switch: {folder}: {error.strerror or error}") from None
    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
    seconds, rest = divmod(PATIENCE, 1)
    end.setsockopt(
        socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(seconds), int(rest * 1e6))
    )
    return path, end
