"""What an overlay held at some moment, and its twins: against a plain array of bytes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from rvvm.py import disk as disks
from rvvm.py.disk import CLUSTER, Overlay, open_disk
from rvvm.py.errors import UserError

SIZE = 40 * CLUSTER + 512


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(random.Random(1).randbytes(SIZE))
    return path


class Model:
    """An overlay, and what must be in it."""

    def __init__(self, disk: Overlay, data: bytes) -> None:
        self.disk, self.data = disk, bytearray(data)

    def write(self, offset: int, data: bytes) -> None:
        self.disk.write([memoryview(data)], offset)
        self.data[offset : offset + len(data)] = data

    def check(self) -> None:
        found = bytearray(SIZE)
        self.disk.read([memoryview(found)[: SIZE // 2], memoryview(found)[SIZE // 2 :]], 0)
        assert found == self.data


def overlay(image: Path) -> Model:
    disk = open_disk(image)
    assert isinstance(disk, Overlay)
    return Model(disk, image.read_bytes())


@pytest.mark.parametrize("most_files", [255, 4])
@pytest.mark.parametrize("seed", range(4))
def test_random_histories(
    image: Path, seed: int, most_files: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disks, "_MOST_FILES", most_files)
    pick = random.Random(seed)
    models = [overlay(image)]
    moments = []
    for _ in range(300):
        model = pick.choice(models)
        offset = 512 * pick.randrange(SIZE // 512)
        size = min(512 * pick.randrange(1, 40), SIZE - offset)
        match pick.randrange(8):
            case 0:
                moments.append((model.disk.keep(), bytes(model.data)))
            case 1 if moments:
                kept, data = pick.choice(moments)
                model.disk.back(kept)
                model.data[:] = data
            case 2 if len(models) < 4:
                twin = Model(model.disk.twin(), model.data)
                twin.disk.back(model.disk.keep())
                models.append(twin)
            case 3:
                model.disk.zero(offset, size, unmap=True)
                model.data[offset : offset + size] = bytes(size)
            case _:
                model.write(offset, pick.randbytes(size))
        model.check()
    for model in models:
        model.check()


def test_only_what_was_written_is_kept(image: Path) -> None:
    model = overlay(image)
    model.write(3 * CLUSTER, b"x" * 512)
    model.disk.keep()
    model.write(10 * CLUSTER, b"y" * 2 * CLUSTER)
    changes = dict(model.disk.keep().changes())
    assert {offset: len(data) for offset, data in changes.items()} == {
        3 * CLUSTER: CLUSTER,
        10 * CLUSTER: 2 * CLUSTER,
    }


def test_the_end_of_a_disk_that_is_no_whole_cluster(image: Path) -> None:
    model = overlay(image)
    model.write(SIZE - 512, b"end!" * 128)
    ((offset, data),) = model.disk.keep().changes()
    assert offset + len(data) == SIZE and data == b"end!" * 128


def test_a_moment_of_another_disk_is_refused(image: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.img"
    other.write_bytes(bytes(SIZE + 512))
    with pytest.raises(UserError, match="of another disk"):
        overlay(image).disk.back(open_disk(other).keep())


def test_a_disk_that_is_written_in_place_keeps_nothing(image: Path) -> None:
    disk = open_disk(image, commit=True)
    for attempt in (disk.keep, disk.twin):
        with pytest.raises(UserError, match=r"disk\.img: is written in place \(--commit\)"):
            attempt()


def test_the_twin_of_a_closed_disk_lives(image: Path) -> None:
    for disk in (open_disk(image), open_disk(image, read_only=True)):
        twin = disk.twin()
        twin.back(disk.keep())
        disk.close()
        data = bytearray(512)
        twin.read([memoryview(data)], 0)
        assert data == image.read_bytes()[:512]
