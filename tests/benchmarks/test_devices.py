"""The benchmarks of disks, networks and folders: what can be said of them without a guest."""

from __future__ import annotations

import re
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from benchmarks import disk, kernels, load, network, share


def test_each_job_is_one_way_to_use_a_disk() -> None:
    names = [str(job) for job in disk.JOBS]
    assert len(set(names)) == len(names) == 12
    for order in ("sequential", "random"):
        for way in ("read", "write"):
            for depth in (1, 32):
                assert f"{order} {way}, 4 KiB, depth {depth}" in names


def test_fio_s_line_may_come_in_pieces() -> None:
    line = b"3;fio-3.39;x;0;0;" + b";".join(b"%d" % n for n in range(5, 130))
    assert not disk.TERSE.search(line)
    found = disk.TERSE.search(b"noise\r\n" + line + b"\r\n")
    assert found
    fields = found[0].decode().split(";")
    assert [int(fields[at]) for at in disk.FIELDS["read"]] == [6, 7]
    assert [int(fields[at]) for at in disk.FIELDS["write"]] == [47, 48]


@pytest.fixture
def port() -> int:
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=network.serve, args=(listener,), daemon=True).start()
    return int(listener.getsockname()[1])


def test_the_host_s_two_ends_understand_each_other(port: int) -> None:
    for row in network.rows(3, 50):
        assert network.ask(port, row) > 0


@pytest.mark.long
def test_the_guest_s_program_on_this_host(port: int, tmp_path: Path) -> None:
    program = kernels.compile_for("x86_64-linux-musl", load.SOURCES)
    for what in ("send", "receive", "ask"):
        words = [program, what, "127.0.0.1", str(port), "3000"]
        done = subprocess.run(words, check=True, capture_output=True).stdout
        assert re.fullmatch(load.LINE, done)
    words = [program, "files", str(tmp_path), "20"]
    done = subprocess.run(words, check=True, capture_output=True).stdout
    assert [name.decode() for name, _ in re.findall(load.LINE, done)] == list(share.FILES)
    assert list(tmp_path.iterdir()) == []
    with subprocess.Popen([program, "serve", str(network.free_port())]) as server:
        ours = int(server.args[-1])  # type: ignore[index]
        rows = network.rows(1, 20)
        while rows:
            try:
                network.ask(ours, rows[-1])
                rows.pop()
            except ConnectionRefusedError:
                assert server.poll() is None
        server.kill()
