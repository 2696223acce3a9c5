"""Images as disks: who may open them, and that a base is never written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rvvm.py.disk import Overlay, RawFile, open_disk, read_all
from rvvm.py.errors import UserError


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(range(256)) * 402)
    return path


def read(disk: Overlay | RawFile, offset: int, size: int) -> bytes:
    data = bytearray(size)
    disk.read([memoryview(data)], offset)
    return bytes(data)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "neither a file nor a block device"),
        (lambda path: path.write_bytes(b"x" * 511), "holds no whole sector"),
        (lambda path: os.mkfifo(path), "neither a file nor a block device"),
    ],
)
def test_what_is_no_disk(tmp_path: Path, make: object, says: str) -> None:
    path = tmp_path / "disk.img"
    make(path)  # type: ignore[operator]
    with pytest.raises(UserError, match=says) as caught:
        open_disk(path)
    assert str(path) in str(caught.value)


def test_the_size_is_of_whole_sectors(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(b"x" * 1300)
    assert open_disk(path).size == 1024


def test_many_read_one_base_and_none_of_their_changes_meet(image: Path) -> None:
    before = image.read_bytes()
    disks = [open_disk(image) for _ in range(3)]
    for number, disk in enumerate(disks):
        disk.write([memoryview(bytes([number]) * 512)], 512)
    assert [read(disk, 512, 1) for disk in disks] == [b"\0", b"\1", b"\2"]
    assert image.read_bytes() == before


def test_one_that_commits_has_it_alone(image: Path) -> None:
    first = open_disk(image)
    with pytest.raises(UserError, match="is in use by another machine"):
        open_disk(image, commit=True)
    first.close()
    writer = open_disk(image, commit=True)
    for how in ({}, {"read_only": True}):
        with pytest.raises(UserError, match="another machine writes to it"):
            open_disk(image, **how)
    writer.close()
    open_disk(image, commit=True).close()


def test_an_overlay_leaves_no_file(image: Path, tmp_path: Path) -> None:
    folder = tmp_path / "overlays"
    folder.mkdir()
    disk = open_disk(image, overlays=folder)
    disk.write([memoryview(bytes(4096))], 0)
    assert list(folder.iterdir()) == []


def test_an_overlay_holds_only_what_changed(image: Path) -> None:
    disk = open_disk(image)
    assert isinstance(disk, Overlay)
    disk.write([memoryview(b"y" * 100)], 4096 * 3 + 10)
    assert os.fstat(disk.file).st_blocks * 512 <= 2 * 4096
    whole = bytearray(image.read_bytes()[: disk.size])
    whole[4096 * 3 + 10 : 4096 * 3 + 110] = b"y" * 100
    assert read(disk, 0, disk.size) == whole


def test_the_last_cluster_may_be_short(image: Path) -> None:
    disk = open_disk(image)
    assert disk.size % 4096
    disk.write([memoryview(b"z" * 512)], disk.size - 512)
    wanted = image.read_bytes()[: disk.size - 512] + b"z" * 512
    assert read(disk, 0, disk.size) == wanted


def test_a_file_that_shrinks_reads_as_zeroes(image: Path) -> None:
    disk = open_disk(image, read_only=True)
    os.truncate(image, 4096)
    assert read(disk, 3584, 1024) == image.read_bytes()[3584:] + bytes(512)


def test_short_reads_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data"
    path.write_bytes(bytes(range(200)))
    preadv = os.preadv

    def few(file: int, views: list[memoryview], offset: int) -> int:
        return preadv(file, [views[0][:7]], offset)

    monkeypatch.setattr(os, "preadv", few)
    first, second = bytearray(50), bytearray(60)
    with path.open("rb") as file:
        read_all(file.fileno(), [memoryview(first), memoryview(second)], 10)
    assert first + second == bytes(range(10, 120))


def test_a_killed_process_leaves_the_base_as_it_was(image: Path) -> None:
    before = image.read_bytes()
    program = (
        "import os, signal, sys; from pathlib import Path; from rvvm.py.disk import open_disk\n"
        "disk = open_disk(Path(sys.argv[1]))\n"
        "disk.write([memoryview(bytes(8192))], 0); disk.flush()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(image)], check=False)
    assert done.returncode == -9
    assert image.read_bytes() == before
    open_disk(image, commit=True).close()
