"""A disk is whole under its name, or it is not there; the guest that makes it is followed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress

from rvvm.py import disk_builder
from rvvm.py.errors import UserError
from rvvm.py.images.recipe import Recipe


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A place for a disk, where nothing is fetched and no guest is started."""
    monkeypatch.setenv("RVVM_CACHE", str(tmp_path / "cache"))
    modules = tmp_path / "modules.tar"
    modules.write_bytes(bytes(10240))
    monkeypatch.setattr(disk_builder.images, "path", lambda name: modules)
    monkeypatch.setattr(disk_builder, "packages", lambda *_: [])
    monkeypatch.setattr(disk_builder.disk_archive, "write", lambda out, *_: out.write(bytes(512)))
    place = tmp_path / "place"
    place.mkdir()
    return place


def making(monkeypatch: pytest.MonkeyPatch, error: BaseException | None) -> list[Path]:
    """Stands for the guest; the disk, as it was when it came."""
    seen: list[Path] = []

    def make(disk: Path, archive: Path, *_: Any) -> None:
        assert disk.stat().st_size == Recipe().size and archive.stat().st_size == 512
        disk.write_bytes(b"system")
        seen.append(disk)
        if error is not None:
            raise error

    monkeypatch.setattr(disk_builder, "_make", make)
    return seen


def test_it_gets_its_name_at_the_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = making(monkeypatch, None)
    disk = folder / "debian.img"
    disk_builder.build(Recipe(), disk)
    assert seen[0] != disk and disk.read_bytes() == b"system"
    assert disk.stat().st_mode & 0o777 == 0o600, "host keys and passwords are in it"
    assert list(folder.iterdir()) == [disk] and disk_builder.disks() == [disk]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), UserError("the guest failed")])
def test_nothing_is_left_of_a_build_that_ends_early(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    making(monkeypatch, error)
    with pytest.raises(type(error)):
        disk_builder.build(Recipe(), folder / "debian.img")
    assert list(folder.iterdir()) == [] and disk_builder.disks() == []


def test_the_guest_is_followed_by_what_it_prints() -> None:
    with Progress(disable=True) as bar:
        follow = disk_builder._Follower(bar, packages=2)
        (task,) = bar.tasks

        def says(text: str) -> None:
            for byte in f"{text}\r\n".encode():
                follow(bytes((byte,)))

        says("OpenSBI v1.6")
        assert task.description == "starting a guest" and task.total is None
        says("rvvm: making the file system")
        assert task.description == "unpacking in the guest"
        says("rvvm: configuring")
        says("Setting up base-files (13.8) ...")
        assert (task.description, task.completed, task.total) == ("configuring in the guest", 1, 2)
        says("useradd: group 'x' does not exist")
        says("rvvm: configuration failed")
        says("reboot: Power down")
        assert not follow.built
        assert follow.reason == "configuration failed: useradd: group 'x' does not exist"
        says("rvvm: built")
        assert follow.built
