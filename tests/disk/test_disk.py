"""Images as disks: who may open them, and that a base is never written."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from rvvm.py import disk as disks
from rvvm.py.disk import CLUSTER, Overlay, RawFile, open_disk, read_all
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


class FullHost:
    """A host's disk with room for so many more bytes, in place of pwritev and fallocate."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, punches: bool) -> None:
        self.room = 1 << 40
        self._pwritev, self._punches = os.pwritev, punches
        self._allocate = disks._allocate
        monkeypatch.setattr(os, "pwritev", self.pwritev)
        monkeypatch.setattr(disks, "_allocate", self.allocate)

    def pwritev(self, file: int, views: list[memoryview], offset: int) -> int:
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        part = disks.cut(views, 0, self.room)
        done = self._pwritev(file, part, offset)
        self.room -= done
        return done

    def allocate(self, *arguments: int) -> bool:
        return self._punches and self._allocate(*arguments)


@pytest.mark.parametrize("punches", [True, False])
def test_what_an_overlay_cannot_write_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, punches: bool
) -> None:
    """Random requests on a host without room: each byte is the old one or, where the request
    reached it, the new one; a request that succeeds is read whole."""
    pick = random.Random(25)
    path = tmp_path / "disk.img"
    path.write_bytes(pick.randbytes(40 * CLUSTER + 1536))
    disk = open_disk(path)
    assert isinstance(disk, Overlay)
    wanted = bytearray(path.read_bytes())
    host = FullHost(monkeypatch, punches)
    failed = 0
    for _ in range(800):
        sectors = len(wanted) // 512
        start = pick.randrange(sectors)
        count = min(pick.randrange(1, 40), sectors - start)
        at, end = start * 512, (start + count) * 512
        zeroes = pick.random() < 0.3
        data = bytes(end - at) if zeroes else pick.randbytes(end - at)
        host.room = pick.choice((0, 512, CLUSTER, 3 * CLUSTER, 1 << 40))
        if pick.random() < 0.05:
            disk.back(disk.keep())
        try:
            disk.zero(at, end - at, True) if zeroes else disk.write([memoryview(data)], at)
            wanted[at:end] = data
        except OSError as error:
            assert error.errno == errno.ENOSPC
            failed += 1
            now = read(disk, at, end - at)
            assert all(a in (b, c) for a, b, c in zip(now, wanted[at:end], data, strict=True))
            wanted[at:end] = now
        assert read(disk, 0, disk.size) == wanted
    assert 100 < failed < 700


def test_a_cluster_that_was_not_written_is_the_base_s(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = image.read_bytes()
    disk = open_disk(image, limit=20 * CLUSTER)
    host = FullHost(monkeypatch, True)
    host.room = CLUSTER
    with pytest.raises(OSError, match="No space left"):
        disk.write([memoryview(b"n" * 3 * CLUSTER)], 2 * CLUSTER)
    assert read(disk, 0, disk.size) == before[: disk.size], "no cluster was whole: none counts"
    host.room = 1 << 40
    disk.write([memoryview(b"n" * 20 * CLUSTER)], 0)  # what failed took nothing of the limit


def test_a_moment_is_not_mixed_with_the_present_when_the_host_is_full(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = open_disk(image)
    disk.write([memoryview(b"1" * CLUSTER)], 0)
    kept = disk.keep()
    disk.write([memoryview(b"2" * CLUSTER)], 0)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(disks, "Unnamed", full)
        with pytest.raises(OSError, match="No space left"):
            disk.back(kept)
    disk.write([memoryview(b"3" * 512)], 0)
    assert read(disk, 511, 2) == b"32"
    disk.back(kept)
    assert read(disk, 0, 2) == b"11"


def test_a_flush_that_failed_never_succeeds_again(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux tells of lost pages once; the next fdatasync(2) succeeds without them."""
    disk = open_disk(image, commit=True)

    def broken(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", broken)
        with pytest.raises(OSError):
            disk.flush()
    with pytest.raises(OSError, match="Input/output error"):
        disk.flush()


def test_no_room_for_an_overlay_is_told(image: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"disk.img: no room for changes in .*: No such file"):
        open_disk(image, overlays=tmp_path / "nowhere")
