"""Files that are being made, and what a process that was killed leaves of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cli.run import ENVIRONMENT
from rvvm.py.scratch import replacing, scratch

WORKER = """
import sys, time
from pathlib import Path
from rvvm.py.scratch import replacing
with replacing(Path("file"), 0o644) as temporary:
    temporary.write_bytes(b"half")
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def started() -> subprocess.Popen[bytes]:
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    assert worker.stdout and worker.stdout.readline() == b"ready\n"
    return worker


def put(data: bytes) -> None:
    with replacing(Path("file"), 0o640) as temporary:
        temporary.write_bytes(data)


def test_a_failed_write_leaves_the_old_file(folder: Path) -> None:
    put(b"old")
    with pytest.raises(RuntimeError), replacing(Path("file"), 0o640) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert Path("file").read_bytes() == b"old" and Path("file").stat().st_mode & 0o777 == 0o640
    assert os.listdir() == ["file"]


def test_what_a_killed_process_has_left_is_removed(folder: Path) -> None:
    """And nothing of one that is still at work, or of anybody else's."""
    dead, living = started(), started()
    assert len(os.listdir()) == 2
    dead.send_signal(signal.SIGKILL)
    dead.communicate()
    assert len(os.listdir()) == 2
    others = {".file.rvvm-notours1", ".file.bak", ".other.rvvm-01234567", ".file.rvvm-0123456789"}
    for name in others:
        Path(name).touch()
    put(b"whole")
    (left,) = set(os.listdir()) - others - {"file"}
    assert Path(left).read_bytes() == b"half"
    living.communicate()
    assert living.returncode == 0 and Path("file").read_bytes() == b"half"
    assert set(os.listdir()) == others | {"file"}


def test_links_and_folders_with_such_a_name_stay(folder: Path) -> None:
    Path("precious").write_bytes(b"precious")
    Path(".file.rvvm-00000000").symlink_to("precious")
    Path(".file.rvvm-00000001").mkdir()
    put(b"whole")
    assert len(os.listdir()) == 4 and Path("precious").read_bytes() == b"precious"


def test_many_at_once() -> None:
    """Each takes the others for dead only when they are."""

    def work(number: int) -> None:
        for round in range(100):
            with scratch(Path("."), "many") as mine:
                mine.write_text(f"{number} {round}")
                assert mine.read_text() == f"{number} {round}"

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert not os.listdir()
