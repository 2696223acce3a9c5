"""Files that are being made, and what a process that was killed leaves of them."""

from __future__ import annotations

import os
import signal
import stat
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


def test_what_is_no_regular_file_is_not_replaced(folder: Path) -> None:
    """Root could rename a file over /dev/null."""
    os.mkfifo("fifo")
    Path("folder").mkdir()
    if os.geteuid() == 0:
        os.mknod("null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    for name in ("fifo", "folder", "null"):
        if Path(name).exists():
            before = Path(name).lstat()
            with pytest.raises(OSError), replacing(Path(name), 0o600) as temporary:
                temporary.write_bytes(b"new")
            assert Path(name).lstat().st_ino == before.st_ino
    assert not [name for name in os.listdir() if ".rvvm-" in name]


def test_what_became_a_pipe_meanwhile_is_not_replaced(folder: Path) -> None:
    with (
        pytest.raises(OSError, match="not a regular file"),
        replacing(Path("file"), 0o600) as temporary,
    ):
        temporary.write_bytes(b"new")
        os.mkfifo("file")
    assert Path("file").is_fifo()


def test_a_link_stays_and_its_target_is_replaced(folder: Path) -> None:
    Path("target").write_bytes(b"old")
    Path("target").chmod(0o604)
    Path("one").symlink_to("two")
    Path("two").symlink_to(folder / "target")
    with replacing(Path("one"), 0o600) as temporary:
        temporary.write_bytes(b"new")
    assert Path("target").read_bytes() == b"new" and Path("one").is_symlink()
    assert Path("target").stat().st_mode & 0o777 == 0o604, "its permissions are kept"
    Path("loop").symlink_to("loop")
    for name in ("loop", "/dev/stdout"):
        with pytest.raises(OSError), replacing(Path(name), 0o600):
            pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_the_owner_is_kept(folder: Path) -> None:
    put(b"old")
    os.chown("file", 12345, 54321)
    put(b"new")
    assert (Path("file").stat().st_uid, Path("file").stat().st_gid) == (12345, 54321)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_file_that_may_not_be_written_is_not_replaced(folder: Path) -> None:
    put(b"old")
    Path("file").chmod(0o400)
    with pytest.raises(PermissionError):
        put(b"new")
    assert Path("file").read_bytes() == b"old"
