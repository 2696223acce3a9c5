"""Links: where the frames of a network device go to and come from.

A stream carries frames with their length before them, as QEMU's and passt's sockets do; datagrams
are a frame each. A thread of the link reads, or for a stream who runs the machine; ``send`` does
not wait: what a stream cannot take at once is kept, and a thread writes it.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from rvvm.py.errors import UserError
from rvvm.py.net.offload import Views
from rvvm.py.threads import Threads

MAX_FRAME = 65_553  # an IP packet of 65,535 bytes, its Ethernet header and a tag
MTU = 9000  # few frames, but many in a TCP window: else it waits for acknowledgements
LENGTH = struct.Struct(">I")
_ROOM = 1 << 18  # bytes read at a time
_NOW = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

Frame = memoryview


class Receiver(Protocol):
    """Who has the other end of a link. It is called by the link's threads, or calls the link."""

    def receive(self, frames: Sequence[Frame]) -> int:
        """Frames, good until the return; how many were taken. ``room`` tells when more can be."""

    def watch(self, file: int, action: Callable[[], None]) -> bool:
        """Have ``action`` called once, by who calls the receiver, when the file can be read. False:
        nobody can, a thread has to."""

    def writable(self) -> None:
        """``send`` would take a frame again."""

    def disconnected(self) -> None:
        """The far end is gone."""


class Link:
    """One end of a socket. ``start`` names the receiver; ``close`` ends the threads."""

    headers = False
    """Frames have a header before them, both ways, and may be unfinished (``offload``)."""
    mtu = MTU

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._room = threading.Event()
        self._closed = False
        self._started = False
        self._threads = Threads()

    def start(self, receiver: Receiver) -> None:
        """Begin to read, once."""
        if not self._started:
            self._started = True
            self._threads.start(self._read, receiver)

    def accept(self, checksums: bool, kinds: Sequence[int]) -> None:
        """With headers: whether frames may come without checksums, and what may come uncut."""

    def send(self, frames: Sequence[Views]) -> bool:
        """Send frames, all or none. False: not now, ``writable`` will say when."""
        raise NotImplementedError

    def room(self) -> None:
        """The receiver can take frames that it could not."""
        self._room.set()

    def close(self) -> None:
        """No more frames."""
        self._closed = True
        self._room.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def join(self) -> None:
        """After ``close``: its threads have ended."""
        self._threads.join()

    def _read(self, receiver: Receiver) -> None:
        raise NotImplementedError

    def _give(self, receiver: Receiver, frames: Sequence[Frame]) -> None:
        """Every frame, however long it takes: what is not read here waits with the sender."""
        frames = frames[receiver.receive(frames) :]
        while frames and not self._closed:
            self._room.clear()
            taken = receiver.receive(frames)
            frames = frames[taken:]
            if frames and not taken:
                self._room.wait()


class Unplugged(Link):
    """Nothing at the other end."""

    def __init__(self, mtu: int = MTU) -> None:
        self.mtu = mtu

    def start(self, receiver: Receiver) -> None:
        pass

    def send(self, frames: Sequence[Views]) -> bool:
        return True

    def room(self) -> None:
        pass

    def close(self) -> None:
        pass

    def join(self) -> None:
        pass


class StreamLink(Link):
    """Frames over a stream; ``accept`` is given where somebody still has to connect to it."""

    def __init__(self, end: socket.socket, listens: bool = False) -> None:
        super().__init__(end)
        self._listens = listens
        self._connected = not listens
        self._backlog = bytearray()
        self._more = threading.Lock()
        self._receiver: Receiver | None = None
        self._buffer = memoryview(bytearray(_ROOM))
        self._rest = b""  # of the buffer: the begin of a frame
        self._waiting: Sequence[Frame] = ()  # in the buffer, until there is room

    def start(self, receiver: Receiver) -> None:
        self._receiver = receiver
        if self._started or self._listens or not self._watch():
            super().start(receiver)
        self._started = True

    def send(self, frames: Sequence[Views]) -> bool:
        if not self._connected:
            return True  # nobody hears it
        with self._more:
            if self._backlog:
                return False
            parts: list[bytes | memoryview] = []
            size = 0
            for views in frames:
                length = sum([len(view) for view in views])
                parts += (LENGTH.pack(length), *views)
                size += LENGTH.size + length
            try:
                sent = self._socket.sendmsg(parts, (), _NOW)
            except BlockingIOError:
                sent = 0
            except OSError:
                return True  # the reading thread sees it, too
            if sent < size:
                self._keep(bytes(bytearray().join(parts)[sent:]))
            return True

    def _keep(self, rest: bytes) -> None:
        self._backlog += rest
        self._threads.start(self._write)

    def _write(self) -> None:
        """Write what was kept; then the device may go on."""
        with contextlib.suppress(OSError):
            self._socket.sendall(bytes(self._backlog))
        with self._more:
            self._backlog.clear()
        if self._receiver is not None and not self._closed:
            self._receiver.writable()

    # The receiver's own thread reads, between two turns of its harts

    def _watch(self) -> bool:
        receiver = self._receiver
        return receiver is not None and receiver.watch(self._socket.fileno(), self._arrived)

    def _arrived(self) -> None:
        frames = [] if self._closed else self._fill(_NOW)
        if frames is None:
            self._end()
        else:
            self._waiting = frames
            self._go_on()

    def _go_on(self) -> None:
        """What there is no room for waits here, and what comes then with the sender."""
        assert self._receiver is not None
        if self._waiting:
            self._waiting = self._waiting[self._receiver.receive(self._waiting) :]
        if not self._waiting and not self._closed:
            self._watch()

    def room(self) -> None:
        if self._waiting:
            self._go_on()
        super().room()

    # Or a thread of the link's

    def _read(self, receiver: Receiver) -> None:
        if self._listens and not self._accept():
            return
        if not self._watch():
            while (frames := self._fill()) is not None:
                self._give(receiver, frames)
            self._end()

    def _end(self) -> None:
        self._connected = False
        if self._receiver is not None and not self._closed:
            self._receiver.disconnected()

    def _fill(self, flags: int = 0) -> list[Frame] | None:
        """Read what there is: frames, and the begin of another. None: that was all."""
        have = len(self._rest)
        self._buffer[:have] = self._rest
        try:
            count = self._socket.recv_into(self._buffer[have:], 0, flags)
        except BlockingIOError:
            return []
        except OSError:
            return None
        frames, used = split_frames(self._buffer[: have + count])
        if count == 0 or used < 0:
            return None  # no frame is that long: what comes is not frames
        self._rest = bytes(self._buffer[used : have + count])
        return frames

    def _accept(self) -> bool:
        listener = self._socket
        try:
            self._socket, _ = listener.accept()
        except OSError:
            return False
        listener.close()
        self._connected = True
        return not self._closed


def split_frames(data: memoryview) -> tuple[list[Frame], int]:
    """The whole frames, and how many bytes they are; -1 when a length cannot be.

    >>> frames, used = split_frames(memoryview(b"\\0\\0\\0\\2hi\\0\\0\\0\\5hel"))
    >>> [bytes(frame) for frame in frames], used
    ([b'hi'], 6)
    """
    frames: list[Frame] = []
    at, end = 0, len(data)
    while at + LENGTH.size <= end:
        (size,) = LENGTH.unpack_from(data, at)
        if size > MAX_FRAME:
            return frames, -1
        if at + LENGTH.size + size > end:
            break
        frames.append(data[at + LENGTH.size : at + LENGTH.size + size])
        at += LENGTH.size + size
    return frames, at


class DatagramLink(Link):
    """A frame a datagram; what is too much for the socket is lost, as on a wire."""

    def send(self, frames: Sequence[Views]) -> bool:
        for views in frames:
            with contextlib.suppress(OSError):
                self._socket.sendmsg(views, (), _NOW)
        return True

    def _read(self, receiver: Receiver) -> None:
        view = memoryview(bytearray(MAX_FRAME))
        while not self._closed:
            try:
                count = self._socket.recv_into(view)
            except ConnectionRefusedError:
                continue  # nobody is there yet
            except OSError:
                return
            if count:
                self._give(receiver, [view[:count]])


def unix_link(path: Path) -> StreamLink:
    """The first that comes to a path waits there, the second connects to it."""
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            end.connect(str(path))
            return StreamLink(end)
        except ConnectionRefusedError:
            path.unlink()  # a machine's that is gone
        except FileNotFoundError:
            pass
        end.bind(str(path))
        end.listen(1)
    except OSError as error:
        end.close()
        raise UserError(f"--netdev socket: {path}: {error.strerror or error}") from None
    return StreamLink(end, listens=True)


def udp_link(local: tuple[str, int], remote: tuple[str, int]) -> DatagramLink:
    """From a port of this host's to one of another's."""
    end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        end.bind(local)
        end.connect(remote)
    except OSError as error:
        end.close()
        where = f"{local[0]}:{local[1]} to {remote[0]}:{remote[1]}"
        raise UserError(f"--netdev socket: {where}: {error.strerror or error}") from None
    return DatagramLink(end)
