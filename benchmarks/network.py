"""Throughput and latency of user networking, by turns: ``python -m benchmarks.network``.

rvvm's is passt, QEMU's its own (``-netdev user``, slirp); both guests have a virtio-net device on
the PCI bus. TCP between a program in the guest and one on the host, each connecting to the other,
the guest by a forwarded port. CPU time is the host's, passt's included. A first round does not
count.
"""

from __future__ import annotations

import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import click

from benchmarks import guest, load, qemu
from benchmarks.kernels import SETTLE
from benchmarks.side_by_side import Report, Spread, alternate, speeds

HOST = "10.0.2.2"
GUEST_PORT = 7000
SETUP = (
    "ip addr add 10.0.2.15/24 dev eth0; ip link set eth0 up; ip route add default via 10.0.2.2;"
    f" (/{load.IN_GUEST} serve {GUEST_PORT} &); sleep 3; echo connected"
)
PIECE = 1 << 20
HEADER = struct.Struct("<cQ")


@dataclass(frozen=True)
class Row:
    """What is done: by whom, how often, and in which unit that is told."""

    name: str
    what: str
    by_guest: bool
    amount: int


def rows(megabytes: int, requests: int) -> list[Row]:
    """Both ways, by both sides."""
    size = megabytes << 20
    return [
        Row("guest sends", "send", True, size),
        Row("guest receives", "receive", True, size),
        Row("host sends", "send", False, size),
        Row("host receives", "receive", False, size),
        Row("guest asks", "ask", True, requests),
        Row("host asks", "ask", False, requests),
    ]


def read(end: socket.socket, count: int) -> int:
    """So many bytes, or fewer at the end; they are thrown away."""
    view, left = memoryview(bytearray(PIECE)), count
    while left and (got := end.recv_into(view[: min(left, PIECE)])):
        left -= got
    return count - left


def serve(listener: socket.socket) -> None:
    """What ``load serve`` does, on the host."""
    while True:
        end, _ = listener.accept()
        with end:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            what, count = HEADER.unpack(end.recv(HEADER.size, socket.MSG_WAITALL))
            if what == b"s" and read(end, count) == count:
                end.sendall(b"k")
            elif what == b"r":
                end.sendall(bytes(count))
            while what == b"a" and (byte := end.recv(1)):
                end.sendall(byte)


def ask(port: int, row: Row) -> float:
    """What ``load send`` and so on do, on the host: seconds."""
    with socket.create_connection(("127.0.0.1", port)) as end:
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        start = time.perf_counter()
        end.sendall(HEADER.pack(row.what[0].encode(), row.amount))
        if row.what == "send":
            end.sendall(bytes(row.amount))
            read(end, 1)
        elif row.what == "receive":
            read(end, row.amount)
        else:
            for _ in range(row.amount):
                end.sendall(b"?")
                read(end, 1)
        return time.perf_counter() - start


def runner(
    machine: guest.Guest, row: Row, forwarded: int, port: int
) -> Callable[[], tuple[float, float]]:
    """A contestant: seconds, and CPU seconds."""

    def run() -> tuple[float, float]:
        before = machine.cpu_seconds
        if row.by_guest:
            command = f"/{load.IN_GUEST} {row.what} {HOST} {port} {row.amount}"
            seconds = int(machine.shell(command, load.DONE)[2]) / 1e9
        else:
            seconds = ask(forwarded, row)
        return seconds, machine.cpu_seconds - before

    return run


def commands(ports: dict[str, int]) -> dict[str, list[str]]:
    """Both machines, with a port of the host's forwarded."""
    software = guest.Software.debian(load.initramfs())
    append = f"{guest.APPEND} rvvm.modules=virtio_net"
    net = {name: f"user,hostfwd=tcp::{port}-:{GUEST_PORT}" for name, port in ports.items()}
    qemu_net = ["-netdev", f"{net['QEMU']},id=n", "-device", "virtio-net-pci,netdev=n,romfile="]
    return {
        "rvvm": guest.rvvm_command(software, ["--netdev", net["rvvm"], "--append", append]),
        "QEMU": guest.qemu_command(software, [*qemu_net, "-append", append]),
    }


def free_port() -> int:
    """One that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@click.command(help=__doc__)
@click.option("--runs", default=3, show_default=True, help="Rounds that count.")
@click.option("--megabytes", default=32, show_default=True, help="Sent in each run.")
@click.option("--requests", default=300, show_default=True, help="And of one byte, answered.")
@click.option("--json", "json_file", metavar="FILE", help="The figures as JSON; - for stdout.")
def main(runs: int, megabytes: int, requests: int, json_file: str | None) -> None:
    report = Report(
        f"User networking: {megabytes} MiB, {requests} requests, {runs} rounds by turns",
        *("", "rvvm", "QEMU", "speed over QEMU", "QEMU's CPU time over ours"),
        about={"qemu": qemu.find().version},
    )
    ports = {name: free_port() for name in ("rvvm", "QEMU")}
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
    with ExitStack() as stack:
        machines = {
            who: stack.enter_context(guest.Guest(it)) for who, it in commands(ports).items()
        }
        for machine in machines.values():
            machine.expect(guest.PROMPT)
            machine.shell(SETTLE, re.compile(rb"^settled", re.MULTILINE))
            machine.shell(SETUP, re.compile(rb"^connected", re.MULTILINE))
        for row in rows(megabytes, requests):
            contestants = {
                who: runner(it, row, ports[who], listener.getsockname()[1])
                for who, it in machines.items()
            }
            results = {who: it[1:] for who, it in alternate(contestants, 1 + runs).items()}
            add(report, row, results)
    report.show(json_file)


def add(report: Report, row: Row, results: dict[str, list[tuple[float, float]]]) -> None:
    """Megabits a second, or microseconds a request; and how they compare."""
    latency = row.what == "ask"
    unit = "us" if latency else "Mbit/s"
    shown = [
        Spread.of(s / row.amount * 1e6 if latency else 8e-6 * row.amount / s for s, _ in it)
        for it in results.values()
    ]
    ratios = [
        Spread.of(speeds([r[k] for r in results["rvvm"]], [r[k] for r in results["QEMU"]]))
        for k in range(2)
    ]
    report.add(f"{row.name}, {unit}", *shown, *ratios)
    print(row.name, *shown, *ratios, sep="  ", file=sys.stderr)


if __name__ == "__main__":
    main()
