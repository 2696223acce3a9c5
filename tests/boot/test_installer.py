"""The Debian Installer, as its netboot package brings it, comes to its first menu."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import rvvm
from rvvm.py.errors import UserError
from rvvm.py.images import apt, unpack

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("debian")]
PACKAGE = "debian-installer-13-netboot-riscv64"
FILES = "usr/lib/debian-installer/images/*/text/debian-installer/riscv64/"


def test_the_first_menu(tmp_path: Path) -> None:
    try:
        package = apt.fetch(apt.find(PACKAGE), progress=False)
    except UserError as error:
        pytest.skip(str(error))
    for name in ("linux", "initrd.gz"):
        (tmp_path / name).write_bytes(unpack.file(package, FILES + name))
    disk = tmp_path / "disk.img"
    with disk.open("wb") as file:
        file.truncate(1 << 30)
    machine = rvvm.Machine(
        kernel=tmp_path / "linux",
        initrd=tmp_path / "initrd.gz",
        append="console=ttyS0 quiet cryptomgr.notests",
        drive=str(disk),
        memory="1G",
    )
    machine.console.expect(re.compile("Select a language"), timeout=600)
    machine.console.expect("English", timeout=60)
    machine.console.expect("<Go Back>", timeout=60)
