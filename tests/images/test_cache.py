"""The cache: where it is, atomic files, and locks between processes."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rvvm.py.errors import UserError
from rvvm.py.images import cache


def test_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RVVM_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache.root() == tmp_path / ".cache/rvvm"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache.root() == tmp_path / ".cache/rvvm"
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/x")
    assert cache.root() == Path("/var/x/rvvm")
    monkeypatch.setenv("RVVM_CACHE", "/var/y")
    assert cache.root() == Path("/var/y")


def test_no_place_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RVVM_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="RVVM_CACHE names another place"):
        cache.folder("images")


WORKER = """
import time
from rvvm.py.images import cache
for _ in range(20):
    with cache.lock("test"):
        path = cache.root() / "number"
        value = int(path.read_text())
        time.sleep(0.001)
        path.write_text(str(value + 1))
"""


def test_two_processes_do_not_collide(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RVVM_CACHE", str(tmp_path))
    (tmp_path / "number").write_text("0")
    workers = [subprocess.Popen([sys.executable, "-c", WORKER]) for _ in range(3)]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    assert (tmp_path / "number").read_text() == "60"


HOLDER = """
from rvvm.py.images import cache
with cache.lock("test"):
    print(flush=True)
    input()
"""


def test_who_waits_for_another_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RVVM_CACHE", str(tmp_path))
    command = [sys.executable, "-c", HOLDER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin and holder.stdout and holder.stdout.readline()
        thread = threading.Thread(target=wait_for_it, args=(done := [],))
        thread.start()
        said = ""
        while "waiting for another rvvm, which is busy with test" not in said:
            said += capfd.readouterr().err
        assert not done
        holder.stdin.write(b"\n")
        holder.stdin.flush()
        thread.join()
        assert done


def wait_for_it(done: list[bool]) -> None:
    with cache.lock("test"):
        done.append(True)
