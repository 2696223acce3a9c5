"""A tap of the host's: where this host lets us, its kernel is the far end."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from host_tools import lacks
from rvvm.py.errors import UserError
from rvvm.py.net import tap
from rvvm.py.net.offload import GSO_TCPV4, GSO_TCPV6
from rvvm.py.net.tap import TapLink

NAME = f"rvvm{os.getpid() % 100_000}"


@pytest.fixture
def link() -> Iterator[TapLink]:
    if reason := lacks("ip"):
        pytest.skip(reason)
    try:
        link = TapLink(NAME)
    except UserError as error:
        pytest.skip(str(error))
    yield link
    link.close()


class Sink:
    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.ends = 0

    def receive(self, frames: Sequence[memoryview]) -> int:
        self.frames += [bytes(frame) for frame in frames]
        return len(frames)

    def watch(self, file: int, action: Callable[[], None]) -> bool:
        return False

    def writable(self) -> None:
        pass

    def disconnected(self) -> None:
        self.ends += 1


def test_frames_both_ways(link: TapLink) -> None:
    sink = Sink()
    assert link.mtu == 1500
    link.accept(True, [GSO_TCPV4, GSO_TCPV6])
    assert link.send([[memoryview(bytes(12)), memoryview(bytes(60))]]), "it is down: lost"
    link.start(sink)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5)) as host:
        subprocess.run(["ip", "link", "set", NAME, "up"], check=True)
        host.bind((NAME, 0x88B5))
        host.settimeout(10)
        frame = bytes.fromhex("0200000000010200000000ff88b5") + b"from the guest" * 4
        link.send([[memoryview(bytes(12)), memoryview(frame[:20]), memoryview(frame[20:])]])
        assert host.recv(2000) == frame
        answer = frame[6:12] + frame[:6] + frame[12:14] + b"to the guest" * 5
        host.send(answer)
        end = time.monotonic() + 60
        while not any(got[12:] == answer for got in sink.frames):
            assert time.monotonic() < end, sink.frames
            time.sleep(0.01)
    subprocess.run(["ip", "link", "delete", NAME], check=True)
    while not sink.ends:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_it_ends_with_its_link(link: TapLink) -> None:
    link.start(Sink())
    link.close()
    end = time.monotonic() + 60
    while Path(f"/sys/class/net/{NAME}").exists():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_second_one_of_the_name(link: TapLink) -> None:
    with pytest.raises(UserError, match=f"--netdev tap: {NAME}: Device or resource busy"):
        TapLink(NAME)


def test_a_host_without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tap, "DEVICE", str(tmp_path / "tun"))
    with pytest.raises(UserError, match=r"--netdev tap: this host has no .*/tun$"):
        TapLink("tap0")
    (tmp_path / "tun").mkdir()
    with pytest.raises(UserError, match="--netdev tap: .*/tun: Is a directory"):
        TapLink("tap0")
    (tmp_path / "tun").rmdir()
    (tmp_path / "tun").write_text("")
    with pytest.raises(UserError, match="--netdev tap: tap0: Inappropriate ioctl"):
        TapLink("tap0")
