"""A tap device of the host's as a link (Linux Documentation/networking/tuntap.rst): for who may."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import socket
import struct
from collections.abc import Sequence

from rvvm.py.errors import UserError
from rvvm.py.net.link import MAX_FRAME, Link, Receiver
from rvvm.py.net.offload import GSO_TCPV4, GSO_TCPV6, HEADER, Views

DEVICE = "/dev/net/tun"
LONGEST_NAME = 15

# linux/if_tun.h, linux/sockios.h
TUNSETIFF, TUNSETOFFLOAD, TUNSETVNETHDRSZ, TUNSETVNETLE = (
    0x400454CA,
    0x400454D0,
    0x400454D8,
    0x400454DC,
)
SIOCGIFMTU = 0x8921
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
_INTERFACE = struct.Struct("16sH22x")  # struct ifreq
_MTU = struct.Struct("16si20x")
TUN_F_CSUM = 0x01
_UNCUT = {GSO_TCPV4: 0x02, GSO_TCPV6: 0x04}  # TUN_F_TSO4, TUN_F_TSO6


class TapLink(Link):
    """Frames go to the kernel as the guest leaves them, headers and all, and come from it so."""

    headers = True

    def __init__(self, name: str) -> None:
        self._file, name = _open(name)
        self.mtu = _mtu(name)
        end, self._stop = socket.socketpair()
        super().__init__(end)

    def accept(self, checksums: bool, kinds: Sequence[int]) -> None:
        offloads = sum(_UNCUT[kind] for kind in kinds) if checksums else 0
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._file, TUNSETOFFLOAD, offloads | TUN_F_CSUM * checksums)

    def send(self, frames: Sequence[Views]) -> bool:
        for views in frames:
            with contextlib.suppress(OSError):  # full, or down: lost, as on a wire
                os.writev(self._file, views)
        return True

    def close(self) -> None:
        """The thread that reads closes the file."""
        if not self._closed:
            super().close()
            self._stop.close()
            if not self._started:
                os.close(self._file)

    def _read(self, receiver: Receiver) -> None:
        view = memoryview(bytearray(MAX_FRAME + HEADER.size))
        poll = select.poll()
        poll.register(self._file, select.POLLIN)
        poll.register(self._stop.fileno(), 0)  # ready when the other end is closed
        while not self._closed:
            try:
                count = os.readv(self._file, [view])
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    break  # the device was deleted
                poll.poll()
                continue
            self._give(receiver, [view[:count]])
        os.close(self._file)
        if not self._closed:
            receiver.disconnected()


def _open(name: str) -> tuple[int, str]:
    """The device of this name, which is made where there is none."""
    try:
        file = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise UserError(f"--netdev tap: this host has no {DEVICE}") from None
    except OSError as error:
        raise UserError(f"--netdev tap: {DEVICE}: {error.strerror}") from None
    try:
        asked = _INTERFACE.pack(name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)
        made, _ = _INTERFACE.unpack(fcntl.ioctl(file, TUNSETIFF, asked))
        fcntl.ioctl(file, TUNSETVNETHDRSZ, struct.pack("i", HEADER.size))
        fcntl.ioctl(file, TUNSETVNETLE, struct.pack("i", 1))
    except OSError as error:
        os.close(file)
        raise UserError(f"--netdev tap: {name}: {error.strerror}") from None
    return file, made.rstrip(b"\0").decode()


def _mtu(name: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        answer = fcntl.ioctl(asking, SIOCGIFMTU, _MTU.pack(name.encode(), 0))
    return int(_MTU.unpack(answer)[1])
