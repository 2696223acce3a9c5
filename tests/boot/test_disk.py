"""Debian writes to a disk, and the host reads what it wrote."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import rvvm
from host_tools import lacks

pytestmark = [
    pytest.mark.xdist_group("debian"),
    pytest.mark.skipif(bool(lacks("mke2fs")), reason=lacks("mke2fs")),
]
PROMPT = re.compile(r"[#$] $")


def shell(machine: rvvm.Machine, command: str, timeout: float = 120) -> str:
    """What a command prints; it must succeed."""
    machine.console.send(f"{command}; echo status=$?\n")
    text = machine.console.expect(re.compile(r"status=(\d+)\r?\n"), timeout)
    machine.console.expect(PROMPT, timeout)
    assert text.rstrip().endswith("status=0"), text
    return text


def run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.truncate(64 << 20)
    run("mke2fs", "-q", "-t", "ext4", path)
    return path


def made(image: Path, bus: str, modules: str, **options: object) -> rvvm.Machine:
    return rvvm.Machine(
        kernel="debian",
        memory="512M",
        append=f"console=ttyS0 quiet rvvm.modules={modules}",
        drive=f"file={image},bus={bus},queues=2",
        device=f"virtio-rng,bus={bus}",
        **options,
    )


def boot(image: Path, bus: str, modules: str, **options: object) -> rvvm.Machine:
    machine = made(image, bus, modules, **options)
    machine.console.expect(PROMPT, timeout=600)
    return machine


@pytest.mark.parametrize("bus", ["pci", "mmio"])
def test_a_file_written_by_the_guest(image: Path, bus: str) -> None:
    """The second mount reads everything back from the disk, with the caches dropped."""
    modules = "virtio_mmio,virtio_blk,virtio_rng,ext4"
    machine = boot(image, bus, modules, commit=True, harts=2)
    shell(machine, "mount /dev/vda /mnt && echo from the guest > /mnt/hello")
    shell(machine, "cd /mnt; dd if=/dev/hwrng of=small bs=1k count=64; cp /bin/busybox .; cd")
    sums = shell(machine, "sha1sum /mnt/small /mnt/busybox; umount /mnt")
    shell(machine, "echo 3 > /proc/sys/vm/drop_caches; mount /dev/vda /mnt")
    again = shell(machine, "sha1sum /mnt/small /mnt/busybox")
    digests = re.findall(r"\b[0-9a-f]{40}\b", sums)
    assert len(set(digests)) == 2 and re.findall(r"\b[0-9a-f]{40}\b", again) == digests
    assert "/mnt/busybox" in shell(machine, "/mnt/busybox ls /mnt/busybox"), "it runs from there"
    shell(machine, "sync")
    del machine
    clean = image.with_name("clean.img")
    shutil.copy(image, clean)
    run("e2fsck", "-fy", "-E", "journal_only", clean)
    run("e2fsck", "-fn", clean)
    assert run("debugfs", "-R", "cat hello", clean) == "from the guest\n"


def test_an_overlay_keeps_the_base_as_it_was(image: Path) -> None:
    before = image.read_bytes()
    machine = boot(image, "pci", "virtio_blk,ext4")
    shell(machine, "mount /dev/vda /mnt && echo gone > /mnt/hello && sync && cat /mnt/hello")
    assert image.read_bytes() == before


def test_the_same_run_with_a_disk(image: Path) -> None:
    """Where time counts instructions, what the disk and the random bytes do repeats, too."""
    states = []
    for _ in range(2):
        machine = made(image, "pci", "virtio_blk,virtio_rng", clock="instructions")
        machine.run(until=rvvm.instructions(1_400_000_000), timeout=300)
        assert "1 hart" in machine.console.text, "the modules are loaded"
        disk = machine.board.devices["/soc/pci@30000000"].state()
        states.append((machine.harts[0].core.registers(), disk, machine.console.text))
        queues = [disk["functions"][slot]["function"]["queues"] for slot in (1, 2)]
        assert all(queue[0]["position"][0] for queue in queues), "both were used"
    assert states[0] == states[1]
