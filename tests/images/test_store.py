"""Named images: made when missing, remade when stale, and never a network when all is there."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from images import debs
from images.test_cpio import entries
from rvvm.py import disk_builder, images
from rvvm.py.errors import UserError
from rvvm.py.image_commands import group
from rvvm.py.images import apt, cache, catalogue, initramfs, seal, store

RELEASE = "6.12.1+deb13-riscv64"
BUSYBOX = b"\x7fELF...[\0[[\0cat\0busybox\0sh\0\0..."


class Mirror:
    """A mirror with three packages, in place of apt; `asked` lists what went over its network."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.online = True
        self.packages: dict[str, tuple[apt.Package, bytes]] = {}
        self.offer("opensbi", {f"{catalogue.OPENSBI}/fw_dynamic.bin": b"firmware"})
        self.offer("busybox-static", {"usr/bin/busybox": BUSYBOX})
        self.offer_kernel(b"kernel")
        monkeypatch.setattr(apt, "find", self.find)
        monkeypatch.setattr(apt, "fetch", self.fetch)
        monkeypatch.setattr(apt, "refresh", lambda: None)
        monkeypatch.setattr(initramfs, "MODULES", ("kvm",))

    def offer(self, name: str, files: dict[str, bytes], version: str = "1.0-1") -> None:
        self.packages[name] = debs.package(name, files, version)

    def offer_kernel(self, kernel: bytes, version: str = "6.12.1-1") -> None:
        module = debs.module({"name": "kvm", "depends": ""})
        base = f"usr/lib/modules/{RELEASE}/kernel"
        files = {f"boot/vmlinux-{RELEASE}": kernel, f"{base}/kvm.ko": module}
        self.offer(f"linux-image-{RELEASE}", files, version)
        meta = apt.Package(
            catalogue.KERNEL_PACKAGE, version, "riscv64", 0, "", (f"linux-image-{RELEASE}",)
        )
        self.packages[catalogue.KERNEL_PACKAGE] = (meta, b"")

    def ask(self, name: str) -> None:
        if not self.online:
            raise UserError("cannot fetch Debian packages: no network")
        self.asked.append(name)

    def find(self, name: str) -> apt.Package:
        self.ask(name)
        return self.packages[name][0]

    def fetch(self, package: apt.Package, progress: bool = True) -> Path:
        if apt.is_cached(package):
            return package.path
        self.ask(package.name)
        return debs.put(package, self.packages[package.name][1])


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Mirror:
    monkeypatch.setenv("RVVM_CACHE", str(tmp_path))
    return Mirror(monkeypatch)


def test_fetched_once(mirror: Mirror) -> None:
    assert images.path("opensbi").read_bytes() == b"firmware"
    mirror.online = False
    assert images.path("opensbi").read_bytes() == b"firmware"


def test_offline_and_not_there_is_one_line(mirror: Mirror) -> None:
    mirror.online = False
    with pytest.raises(UserError, match="no network"):
        images.path("opensbi")


def test_full_cache_rebuilds_without_network(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    images.path("debian")
    images.path("busybox")
    mirror.online = False
    monkeypatch.setattr(catalogue, "guest_programs", lambda: {"new": b"program"})
    assert store.state(catalogue.get("busybox")) == "stale"
    assert entries(images.path("busybox").read_bytes())["root/new"][1] == b"program"


def test_stale_serves_on_where_it_cannot_be_remade(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = images.path("busybox")
    for package, _ in mirror.packages.values():
        package.path.unlink(missing_ok=True)
    mirror.online = False
    monkeypatch.setattr(catalogue, "guest_programs", lambda: {"new": b"program"})
    assert images.path("busybox") == path
    assert store.state(catalogue.get("busybox")) == "stale"


def test_refresh_takes_the_new_version_and_modules_follow(mirror: Mirror) -> None:
    images.path("debian")
    images.path("busybox")
    mirror.offer_kernel(b"newer kernel", "6.12.2-1")
    assert images.path("debian").read_bytes() == b"kernel"
    assert images.fetch("debian", refresh=True).read_bytes() == b"newer kernel"
    assert store.state(catalogue.get("busybox")) == "stale"


def test_initramfs_content(mirror: Mirror) -> None:
    found = entries(images.path("initramfs").read_bytes())
    assert found["init"][1] == initramfs.init_script()
    assert found["init"][0] & 0o111
    assert found["bin/sh"][1] == b"busybox"
    assert found["dev/console"][2] == (5, 1)
    assert found[f"lib/modules/{RELEASE}/modules.dep"][1] == b"kernel/kvm.ko:\n"


def test_remove(mirror: Mirror) -> None:
    images.path("debian")
    images.path("busybox")
    kernel = mirror.packages[f"linux-image-{RELEASE}"][0]
    images.remove("debian")
    assert kernel.path.exists()  # the initramfs is made from it too
    images.remove("busybox")
    assert not kernel.path.exists()
    assert {row.state for row in images.list()} == {"missing"}


def test_unknown_name_is_one_line() -> None:
    with pytest.raises(UserError, match="no image debain: known are debian, opensbi"):
        images.path("debain")


def test_commands(mirror: Mirror) -> None:
    runner = CliRunner()
    done = runner.invoke(group, ["fetch", "opensbi"])
    assert done.output.strip().endswith("fw_dynamic.bin")
    listed = runner.invoke(group, ["list"]).output
    assert "opensbi" in listed and "ready" in listed and "missing" in listed
    assert runner.invoke(group, ["remove", "opensbi"]).exit_code == 0
    assert "ready" not in runner.invoke(group, []).output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--size", "big"], "--size big: expected a size"),
        (["--size", "5M"], "--size: a Debian needs at least 1G"),
        (["--user", "no one"], "user 'no one'"),
        (["--ssh-key", "nosuch.pub"], "--ssh-key: nosuch.pub: No such file"),
        (["--ssh-key", "private"], "--ssh-key: private: not a public key"),
        (["--output", "there.img"], "there.img: is there already, and may be somebody's disk"),
        (["--output", "no/where.img"], "no/where.img: there is no folder no"),
        (["--user-data", "nosuch"], "--user-data: nosuch: No such file"),
        (["opensbi"], "debian is a disk, which is made alone"),
    ],
)
def test_mistakes_in_building_a_disk(
    mirror: Mirror,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    says: str,
) -> None:
    """They are told before anything is fetched; nothing that is there is touched."""
    monkeypatch.chdir(tmp_path)
    mirror.online = False
    (tmp_path / "private").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    (tmp_path / "there.img").write_text("precious")
    done = CliRunner().invoke(group, ["build", "debian", *arguments])
    assert isinstance(done.exception, UserError) and says in str(done.exception)
    assert (tmp_path / "there.img").read_text() == "precious"
    assert not (tmp_path / "debian.img").exists()


def test_disks_that_were_built_are_listed(mirror: Mirror, tmp_path: Path) -> None:
    disk = tmp_path / "box.img"
    disk.write_bytes(bytes(8192))
    disk_builder._remember(disk)
    assert "box.img" in CliRunner().invoke(group, []).output
    disk.unlink()
    assert "box.img" not in CliRunner().invoke(group, []).output


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut short": lambda path: os.truncate(path, 3),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "empty": lambda path: path.write_bytes(b""),
    "another byte": flip,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_a_damaged_image_is_made_anew(mirror: Mirror, damage: Callable[[Path], object]) -> None:
    path = images.path("opensbi")
    damage(path)
    assert store.state(catalogue.get("opensbi")) == "damaged"
    assert "damaged" in CliRunner().invoke(group, []).output
    mirror.online = False
    assert images.path("opensbi").read_bytes() == b"firmware"
    assert store.state(catalogue.get("opensbi")) == "ready"


def test_a_damaged_image_that_cannot_be_made_anew_is_told(mirror: Mirror) -> None:
    path = images.path("opensbi")
    os.truncate(path, 3)
    mirror.packages["opensbi"][0].path.unlink()
    mirror.online = False
    with pytest.raises(UserError, match=r"fw_dynamic.bin: damaged, and .*: .*no network"):
        images.path("opensbi")


def test_the_whole_image_is_read_only_when_it_may_have_changed(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = images.path("opensbi")
    read: list[Path] = []
    digest = seal._digest
    monkeypatch.setattr(seal, "_digest", lambda path: read.append(path) or digest(path))
    settled = time.time_ns() + 3600 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: settled)
    for _ in range(3):
        assert images.path("opensbi") == path
    assert len(read) == 1
    os.utime(path)
    for _ in range(3):
        assert images.path("opensbi") == path
    assert len(read) == 2
    before = path.stat()
    flip(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.state(catalogue.get("opensbi")) == "damaged", "times can be set, st_ctime cannot"


def test_an_image_without_a_digest_is_made_anew(mirror: Mirror) -> None:
    """One that an older rvvm has left, or whose digest is no digest."""
    place = images.path("opensbi").parent / "digest.json"
    for text in ("[]", "{}", "nothing", "[1]", json.dumps({"size": 8, "sha256": 5}), None):
        place.unlink() if text is None else place.write_text(text)
        assert store.state(catalogue.get("opensbi")) in ("stale", "damaged")
        assert images.path("opensbi").read_bytes() == b"firmware"
        assert store.state(catalogue.get("opensbi")) == "ready"


def test_notes_of_the_cache_that_are_none(mirror: Mirror) -> None:
    for text in ("[]", "[1]", "5", '{"opensbi": 5}', '{"opensbi": {"name": 5}}'):
        path = images.path("opensbi")
        (cache.root() / "packages.json").write_text(text)
        (path.parent / "about.json").write_text(text)
        assert images.path("opensbi").read_bytes() == b"firmware"


@pytest.mark.parametrize("do", [images.path, images.fetch, images.build, images.remove])
def test_a_cache_that_cannot_be_written_is_one_line(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch, do: Callable[[str], object]
) -> None:
    """As on a read-only file system, which root cannot write either."""
    cache.folder("locks")

    def refuse(path: object, mode: str = "r", *more: object) -> object:
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(UserError, match=r"^cannot write .*image-opensbi.lock: Read-only .*RVVM_C"):
        do("opensbi")


def test_a_full_disk_under_the_cache_is_one_line(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"^cannot write .*: No space left on device \(RVVM_CACHE"):
        images.path("opensbi")
