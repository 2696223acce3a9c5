"""Debian on a network: through passt to the host and back, and from machine to machine."""

from __future__ import annotations

import hashlib
import http.server
import os
import re
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import rvvm
from host_tools import lacks
from rvvm.py.errors import UserError

pytestmark = pytest.mark.xdist_group("debian")
PROMPT = re.compile(r"[#$] $")
BODY = bytes(range(256)) * 4096


def shell(machine: rvvm.Machine, command: str, timeout: float = 120) -> str:
    machine.console.send(f"{command}; echo status=$?\n")
    text = machine.console.expect(re.compile(r"status=(\d+)\r?\n"), timeout)
    machine.console.expect(PROMPT, timeout)
    return text


def boot(netdev: str, address: str = "") -> rvvm.Machine:
    machine = rvvm.Machine(
        kernel="debian",
        memory="256M",
        append="console=ttyS0 quiet rvvm.modules=virtio_net",
        netdev=netdev,
    )
    machine.console.expect(PROMPT, timeout=600)
    if address:
        shell(machine, f"ip addr add {address}/24 dev eth0; ip link set eth0 up")
    return machine


def configure(machine: rvvm.Machine) -> None:
    """By DHCP: address, router and, where the host has a name server to tell of, that."""
    text = shell(machine, "udhcpc -q")
    assert "eth0 is 10.0.2.15, by way of 10.0.2.2;" in text and "status=0" in text
    assert "inet 10.0.2.15/24 " in shell(machine, "ip addr show dev eth0")
    assert "default via 10.0.2.2 dev eth0" in shell(machine, "ip route")
    (servers,) = re.findall(r"; names by (.*?)\r?\n", text)
    listed = re.findall(r"\nnameserver (.*?)\r?\n", shell(machine, "cat /etc/resolv.conf"))
    assert listed == ([] if servers == "nobody" else servers.split())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def server() -> Iterator[int]:
    """A port of this host's where BODY is served."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            self.wfile.write(BODY)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("", 0), Handler) as it:
        threading.Thread(target=it.serve_forever, daemon=True).start()
        yield it.server_address[1]
        it.shutdown()


@pytest.mark.skipif(bool(lacks("passt")), reason=lacks("passt"))
def test_out_and_in_through_passt(server: int) -> None:
    port = free_port()
    machine = boot(f"user,hostfwd=tcp:127.0.0.1:{port}-:80")
    configure(machine)
    text = shell(machine, f"wget -q -O - http://10.0.2.2:{server}/ | sha256sum")
    assert hashlib.sha256(BODY).hexdigest() in text
    text = shell(machine, "cat /sys/class/net/eth0/statistics/rx_errors")
    assert re.search(r"^0\r?$", text, re.MULTILINE), "frames that the guest could not make out"
    assert "status=0" in shell(machine, "httpd -p 80 -h /bin")
    got: list[bytes] = []

    def fetch() -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/busybox", timeout=100) as page:
            got.append(page.read())

    client = threading.Thread(target=fetch)
    client.start()
    while client.is_alive():
        machine.run(until=rvvm.seconds(0.1))
    (page,) = got
    assert hashlib.sha256(page).hexdigest() in shell(machine, "sha256sum /bin/busybox")


@pytest.mark.long
@pytest.mark.parametrize("kind", ["socket", "switch"])
def test_two_machines(tmp_path: Path, kind: str) -> None:
    """They ping each other, and one sends the other a file. Each runs in a thread of its own."""
    where = f"{kind},path={tmp_path / 'net'}"
    machines = [boot(where, f"10.9.0.{n}") for n in (1, 2)]
    first, second = machines
    first.console.send("nc -l -p 99 | sha1sum; echo do''ne\n")
    other = threading.Thread(target=first.console.expect, args=("done", 300))
    other.start()
    assert " 0% packet loss" in shell(second, "ping -c 3 10.9.0.1")
    text = shell(second, "sha1sum < /bin/busybox; nc 10.9.0.1 99 < /bin/busybox")
    other.join(300)
    (digest,) = re.findall(r"\b[0-9a-f]{40}\b", text)
    assert digest in first.console.text


@pytest.mark.long
@pytest.mark.skipif(bool(lacks("ip")), reason=lacks("ip"))
def test_through_a_tap(server: int) -> None:
    """The host's kernel is the far end: long packets without checksums, both ways."""
    name = f"rvvm{os.getpid() % 100_000}"
    try:
        machine = boot(f"tap,ifname={name}", "10.77.0.2")
    except UserError as error:
        pytest.skip(str(error))
    for command in (f"addr add 10.77.0.1/24 dev {name}", f"link set {name} up"):
        subprocess.run(["ip", *command.split()], check=True)
    text = shell(machine, f"wget -q -O /tmp/body http://10.77.0.1:{server}/; sha256sum /tmp/body")
    assert hashlib.sha256(BODY).hexdigest() in text
    with socket.create_server(("10.77.0.1", 0)) as listener:
        got: list[bytes] = []

        def receive() -> None:
            end, _ = listener.accept()
            got.append(end.makefile("rb").read())

        thread = threading.Thread(target=receive)
        thread.start()
        shell(machine, f"nc 10.77.0.1 {listener.getsockname()[1]} < /tmp/body")
        thread.join(100)
    assert got == [BODY]
