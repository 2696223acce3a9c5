"""Debian mounts a folder of the host's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import rvvm

pytestmark = pytest.mark.xdist_group("debian")
PROMPT = re.compile(r"[#$] $")


def test_a_folder_both_ways(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / "from-host").write_text("hello guest\n")
    (tmp_path / "secret").write_text("secret")
    machine = rvvm.Machine(
        kernel="debian",
        memory="256M",
        append="console=ttyS0 quiet rvvm.modules=9pnet_virtio,9p",
        share=f"{folder}:host",
    )
    machine.console.expect(PROMPT, timeout=600)

    def shell(command: str) -> str:
        machine.console.send(f"{command}; echo status=$?\n")
        text = machine.console.expect(re.compile(r"status=(\d+)\r?\n"), 120)
        machine.console.expect(PROMPT, 120)
        return text

    assert "status=0" in shell(
        "mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 host /mnt && cat /mnt/from-host"
    )
    assert "hello guest" in machine.console.text
    shell(
        "cp /bin/busybox /mnt/busybox; mkdir /mnt/many;"
        "for i in $(seq 50); do echo $i > /mnt/many/$i; done"
    )
    assert "status=0" in shell("/mnt/busybox cmp /bin/busybox /mnt/busybox"), (
        "a program runs from there"
    )
    assert {path.read_text() for path in (folder / "many").iterdir()} == {
        f"{n}\n" for n in range(1, 51)
    }
    assert "50" in shell("ls /mnt/many | wc -l; mv /mnt/many/7 /mnt/seven; rm -r /mnt/many")
    assert (folder / "seven").read_text() == "7\n" and not (folder / "many").exists()
    (folder / "later").write_text("written later\n")
    assert "written later" in shell("cat /mnt/later")
    shell("ln -s ../secret /mnt/way-out; ln -s /mnt/seven /mnt/inside")
    assert "status=1" in shell("cat /mnt/way-out"), "the guest's own root has no such file"
    assert "status=0" in shell("cat /mnt/inside; umount /mnt")
