"""passt as the far end of a link: the host's network without privileges."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
from collections.abc import Sequence

from rvvm.py.errors import UserError
from rvvm.py.net.link import LENGTH, MTU, StreamLink

ADDRESS, GATEWAY = "10.0.2.15", "10.0.2.2"  # as QEMU's user network has them
_PATIENCE = 10  # seconds for passt to start
LONG_MTU = 4 * 4096 - 12 - 14
"""With its headers a frame fills four pages of the guest's. What else such buffers leave unused,
Linux has promised to its peer, and then it drops data."""
_BURST = 128  # frames that passt sends at once, at most
_MOST_SENT = 1 << 22


class PasstLink(StreamLink):
    """passt's end of a pair of sockets: the host's network without privileges."""

    def __init__(self, mac: bytes, forwards: Sequence[str]) -> None:
        ours, its = socket.socketpair()
        self.mtu = _mtu(its)
        self._errors = os.memfd_create("passt", os.MFD_CLOEXEC)
        with its:
            self._process = subprocess.Popen(
                [*_passt_command(its.fileno(), self.mtu), *forwards],
                pass_fds=[its.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                start_new_session=True,  # Ctrl-C is for the guest
            )
        super().__init__(ours)
        self._wait(mac)

    def _wait(self, mac: bytes) -> None:
        """Until it answers: it may end instead, when a port is taken for instance."""
        self._socket.settimeout(_PATIENCE)
        self.send([[memoryview(_who_has(mac, GATEWAY, ADDRESS))]])
        try:
            size = self._socket.recv(LENGTH.size, socket.MSG_WAITALL)
            answer = size and self._socket.recv(LENGTH.unpack(size)[0], socket.MSG_WAITALL)
        except OSError:
            answer = b""
        self._socket.settimeout(None)
        if not answer:
            os.lseek(self._errors, 0, os.SEEK_SET)
            said = os.read(self._errors, 1 << 16).decode(errors="replace").splitlines()
            told = [line for line in said if "syslog" not in line and "root" not in line]
            self.close()
            raise UserError(f"--netdev user: passt: {told[-1] if told else 'does not answer'}")

    def close(self) -> None:
        if not self._closed:
            super().close()
            self._process.terminate()
            self._process.wait()
            os.close(self._errors)


def check_free(kind: str, address: str, port: int) -> None:
    """UserError when a port of the host's is taken: passt goes on without it."""
    how = socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, how) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, kind == "tcp")
        try:
            probe.bind((address, port))
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no such port"
            raise UserError(f"--netdev user: {kind} port {port}: {reason}") from None


def _mtu(end: socket.socket) -> int:
    """Long frames, if passt can send a burst of them. What its socket does not take is lost, so
    that is made as large as the host lets us (net.core.wmem_max)."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MOST_SENT)
    room = end.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    return LONG_MTU if room >= 2 * _BURST * LONG_MTU else MTU


def _passt_command(descriptor: int, mtu: int) -> list[str]:
    from shutil import which

    if which("passt") is None:
        raise UserError("--netdev user: needs passt, which is not installed: apt install passt")
    # No --dns-forward: answers of the resolver that DHCP names would come from another address.
    where = ["-a", ADDRESS, "-n", "255.255.255.0", "-g", GATEWAY]
    how = ["--foreground", "--quiet", "--fd", str(descriptor), "-m", str(mtu)]
    return ["passt", *how, *where]


def _who_has(mac: bytes, wanted: str, own: str) -> bytes:
    """An ARP request (RFC 826)."""
    head = b"\xff" * 6 + mac + struct.pack(">HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1)
    return head + mac + socket.inet_aton(own) + bytes(6) + socket.inet_aton(wanted)
