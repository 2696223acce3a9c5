"""Debian packages read by the standard library alone."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from images import debs
from rvvm.py.errors import UserError
from rvvm.py.images import unpack


@pytest.fixture
def deb(tmp_path: Path) -> Path:
    path = tmp_path / "some.deb"
    path.write_bytes(debs.deb({"usr/bin/a": b"odd", "boot/vmlinux-6.12": b"kernel"}))
    return path


def test_one_file(deb: Path) -> None:
    assert unpack.file(deb, "boot/vmlinu?-*") == b"kernel"


def test_only_wanted_files(deb: Path) -> None:
    assert dict(unpack.files(deb, lambda path: path.startswith("usr/"))) == {"usr/bin/a": b"odd"}


def test_nothing_matches(deb: Path) -> None:
    with pytest.raises(UserError, match=r"some\.deb: no lib/\*"):
        unpack.file(deb, "lib/*")


@pytest.mark.parametrize("kept", [0, 7, 40, 150, -20])
def test_cut_short(deb: Path, kept: int) -> None:
    deb.write_bytes(deb.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"some\.deb"):
        unpack.file(deb, "*")


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="no dpkg here")
def test_dpkg_builds_what_we_read(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: nobody <a@b.example>\n"
        "Description: x\n"
    )
    (tree / "etc").mkdir()
    (tree / "etc/x").write_text("content")
    (tmp_path / "x.deb").touch()
    command = ["dpkg-deb", "-Zxz", "--root-owner-group", "-b", str(tree), str(tmp_path / "x.deb")]
    subprocess.run(command, check=True, capture_output=True)
    assert unpack.file(tmp_path / "x.deb", "etc/x") == b"content"
