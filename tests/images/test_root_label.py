"""A disk that rvvm has built says so, and is started without a word more."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rvvm.py import options
from rvvm.py.errors import UserError
from rvvm.py.images import root_label
from rvvm.py.images.root_label import is_root
from rvvm.py.options import DISK_APPEND, Options


def disk(path: Path, label: bytes = b"rvvm-root", magic: bytes = b"\x53\xef") -> str:
    """The head of an ext4 file system (kernel.org, ext4's super block)."""
    block = bytearray(1024)
    block[0x38:0x3A] = magic
    block[0x78 : 0x78 + len(label)] = label
    path.write_bytes(bytes(1024) + block + bytes(2048))
    return str(path)


def test_what_is_one(tmp_path: Path) -> None:
    assert is_root(Path(disk(tmp_path / "a")))
    assert not is_root(Path(disk(tmp_path / "b", label=b"rvvm-root2")))
    assert not is_root(Path(disk(tmp_path / "c", magic=b"\0\0")))
    (tmp_path / "short").write_bytes(bytes(1100))
    assert not is_root(tmp_path / "short") and not is_root(tmp_path / "none")
    os.mkfifo(tmp_path / "pipe")
    assert not is_root(tmp_path) and not is_root(tmp_path / "pipe")


def test_the_builder_writes_that_label() -> None:
    script = Path(root_label.__file__).with_name("unpack_disk.sh").read_text()
    assert f" -L {root_label.LABEL} " in script


def test_the_first_drive_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernel, initrd and command line follow from it, unless they are said."""
    monkeypatch.setattr(options.images, "path", lambda name: tmp_path / name)
    system, data = disk(tmp_path / "sys.img"), disk(tmp_path / "data.img", label=b"data")

    boots = Options(drive=f"file={system},readonly=on")
    assert boots.bootargs == DISK_APPEND
    files = boots.files()
    assert (files.kernel, files.initrd) == (tmp_path / "debian", tmp_path / "busybox")
    Options(drive=system, append="root=/dev/vda rw").check()

    shell = Options(kernel="debian", drive=[data, system])
    assert shell.bootargs == options.DEBIAN_APPEND
    assert Options(kernel="debian", drive=system, append="quiet").bootargs == "quiet"
    assert Options(kernel=data, drive=system).bootargs is None
    with pytest.raises(UserError, match="--append: there is no --kernel"):
        Options(drive=data, append="quiet").check()
