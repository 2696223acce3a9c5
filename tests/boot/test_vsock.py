"""Debian's vsock driver, with a program of the guest at one end and of the host at the other."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import rvvm

pytestmark = [pytest.mark.xdist_group("debian"), pytest.mark.long]
PROMPT = re.compile(r"[#$] $")
DATA = os.urandom(3_000_000)
COMPILE = (
    "-target riscv64-freestanding-none -mcpu=baseline_rv64 -O1 -ffreestanding -nostdlib -static"
)


def shell(machine: rvvm.Machine, command: str, timeout: float = 120) -> str:
    machine.console.send(f"{command}; echo status=$?\n")
    text = machine.console.expect(re.compile(r"status=(\d+)\r?\n"), timeout)
    machine.console.expect(PROMPT, timeout)
    return text


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[rvvm.Machine]:
    pytest.importorskip("ziglang", reason="the guest's program is compiled by the zig of pip")
    (tmp_path / "shared").mkdir()
    source = Path(__file__).with_name("vcat.c")
    compiler = [sys.executable, "-m", "ziglang", "cc", "-fno-sanitize=all", *COMPILE.split()]
    subprocess.run([*compiler, source, "-o", tmp_path / "shared/vcat"], check=True)
    machine = rvvm.Machine(
        kernel="debian",
        memory="256M",
        append="console=ttyS0 quiet rvvm.modules=vmw_vsock_virtio_transport,9pnet_virtio,9p",
        device=f"virtio-vsock,guest-cid=5,path={tmp_path / 'vm'}",
        share=f"{tmp_path / 'shared'}:host",
    )
    machine.console.expect(PROMPT, timeout=600)
    shell(machine, "mount -t 9p -o trans=virtio,version=9p2000.L host /mnt")
    yield machine


def exchange(end: socket.socket, data: bytes) -> bytes:
    """Send it all, and read to the end."""
    end.settimeout(100)

    def send() -> None:
        end.sendall(data)
        end.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    got = bytearray()
    while piece := end.recv(1 << 16):
        got += piece
    sender.join()
    return bytes(got)


def test_from_the_host(machine: rvvm.Machine, tmp_path: Path) -> None:
    assert "status=0" in shell(machine, "/mnt/vcat 80 echo & sleep 1")
    got: list[bytes] = []

    def client() -> None:
        with socket.socket(socket.AF_UNIX) as end:
            end.connect(str(tmp_path / "vm"))
            end.sendall(b"CONNECT 80\n")
            assert re.fullmatch(rb"OK \d+\n", end.recv(100))
            got.append(exchange(end, DATA))

    thread = threading.Thread(target=client)
    thread.start()
    while thread.is_alive():
        machine.run(until=rvvm.seconds(0.1))
    assert got == [DATA]


def test_from_the_guest(machine: rvvm.Machine, tmp_path: Path) -> None:
    assert "status=2" in shell(machine, "/mnt/vcat 99 < /dev/null"), "nobody listens"
    (tmp_path / "shared/data").write_bytes(DATA)
    asked: list[bytes] = []

    def server(listener: socket.socket) -> None:
        end, _ = listener.accept()
        with end:
            asked.append(exchange(end, DATA[::-1]))

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "vm_99"))
        listener.listen()
        thread = threading.Thread(target=server, args=(listener,))
        thread.start()
        text = shell(machine, "/mnt/vcat 99 < /mnt/data | sha256sum")
        thread.join(100)
    assert asked == [DATA] and hashlib.sha256(DATA[::-1]).hexdigest() in text
