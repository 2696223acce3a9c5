"""Machines whose disks and networks are held up or bounded, at their moments."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

import rvvm
from disk.qemu_tools import tool
from machine import elves
from machine.moments import check_goes_on
from rvvm.py.disk import CLUSTER

SECTOR = 512
READER = (
    """
    li      s0, 0x10001000          # virtio_mmio
    li      t0, 3                   # ACKNOWLEDGE, DRIVER
    sw      t0, 0x70(s0)
    li      t0, 1                   # VERSION_1 is in the upper half of the features
    sw      t0, 0x24(s0)
    sw      t0, 0x20(s0)
    li      t0, 11                  # FEATURES_OK
    sw      t0, 0x70(s0)
    li      t0, 4                   # QueueNum
    sw      t0, 0x38(s0)
    la      t1, table
    sw      t1, 0x80(s0)
    la      t1, avail
    sw      t1, 0x90(s0)
    la      t1, used
    sw      t1, 0xa0(s0)
    li      t0, 1                   # QueueReady
    sw      t0, 0x44(s0)
    li      t0, 15                  # DRIVER_OK
    sw      t0, 0x70(s0)
next:
    la      t1, header
    sd      s1, 8(t1)               # the sector
    addi    s1, s1, 1
    la      t1, avail
    sh      s1, 2(t1)
    fence   rw, rw
    sw      zero, 0x50(s0)
    la      t1, used
wait:
    lhu     t2, 2(t1)
    bne     t2, s1, wait
    la      t1, data
    ld      t2, 0(t1)
    add     s2, s2, t2
    li      t0, 30
    bne     s1, t0, next
"""
    + elves.END
    + """
    .align  4
table:
    .dword  header, 0x0001000100000010, data, 0x0002000300000200, status, 0x0000000200000001
avail:
    .dword  0, 0
used:
    .dword  0, 0, 0, 0, 0
header:
    .dword  0, 0
data:
    .zero   512
status:
    .dword  0
"""
)
"""Reads 30 sectors, one after the other."""


@pytest.fixture(autouse=True)
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RVVM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "disk.img"
    path.write_bytes(random.Random(1).randbytes(1 << 20))
    return path


def made(folder: Path, **options: Any) -> rvvm.Machine:
    program = elves.write(folder / "program.elf", READER)
    machine = rvvm.Machine(
        kernel=program, bios="none", memory="4M", clock="instructions", **options
    )
    return machine


def write(machine: rvvm.Machine, data: bytes, offset: int) -> None:
    machine.board.host.cards[0].function.disk.write([memoryview(data)], offset)  # type: ignore[attr-defined]


def read(machine: rvvm.Machine, size: int, offset: int = 0) -> bytes:
    data = bytearray(size)
    machine.board.host.cards[0].function.disk.read([memoryview(data)], offset)  # type: ignore[attr-defined]
    return bytes(data)


def checksum(data: bytes) -> int:
    firsts = (int.from_bytes(data[SECTOR * n :][:8], "little") for n in range(30))
    return sum(firsts) % (1 << 64)


@pytest.mark.parametrize(
    "limit", ["throttling.iops-total=100", "throttling.bps-total=64K", "limit=64K"]
)
def test_a_disk_goes_on_bit_for_bit(limit: str, image: Path, tmp_path: Path) -> None:
    pick = random.Random(limit)
    machine = made(tmp_path, drive=f"disk.img,bus=mmio,{limit}")
    whole = machine.fork()
    whole.run(timeout=20)
    length = whole.instret
    assert ("throttling" in limit) == (length > 1_000_000), "it waits in its own time"
    for _ in range(4):
        machine.run(until=rvvm.instructions(pick.randrange(length // 6)), timeout=20)
        check_goes_on(machine, [pick.randrange(1, length // 9), length // 9], tmp_path / "saved")
    machine.run(timeout=20)
    assert machine.status == 0 and machine.harts[0].x.s2 == checksum(image.read_bytes())


def test_long_ago_the_rate_was_not_used_up(tmp_path: Path) -> None:
    """What is left of a rate goes back with the machine, and so does its clock."""
    machine = made(tmp_path, drive="disk.img,bus=mmio,throttling.iops-total=100")
    snapshot = machine.snapshot()
    lengths = []
    for _ in range(3):
        machine.run(timeout=20)
        lengths.append(machine.instret)
        machine.restore(snapshot)
    assert len(set(lengths)) == 1


def test_a_loaded_machine_with_another_limit(tmp_path: Path) -> None:
    machine = made(tmp_path, drive="disk.img,bus=mmio,throttling.iops-total=1")
    machine.run(until=rvvm.instructions(100_000))
    write(machine, bytes(2 * CLUSTER), 0)
    machine.save("saved")
    rvvm.Machine.load("saved", drive="disk.img,bus=mmio").run(timeout=20)
    faster = rvvm.Machine.load("saved", drive="disk.img,bus=mmio,throttling.bps-total=1M")
    faster.run(timeout=20)
    with pytest.raises(rvvm.UserError, match=r"disk\.img: the overlay has reached its limit"):
        rvvm.Machine.load("saved", drive="disk.img,bus=mmio,limit=4K")


def test_what_a_moment_has_written_counts(tmp_path: Path) -> None:
    """Of 64 KiB: in the machine, back in it, in its clones, and in one that was loaded."""
    machine = made(tmp_path, drive="disk.img,limit=64K")
    write(machine, b"1" * 10 * CLUSTER, 0)
    snapshot = machine.snapshot()
    machine.save("saved")
    write(machine, b"2" * 6 * CLUSTER, 10 * CLUSTER)
    clone = machine.fork()
    for _ in range(3):
        write(machine, b"2" * 6 * CLUSTER, 10 * CLUSTER)
        machine.snapshot()
    machine.restore(snapshot)
    for one in (machine, rvvm.Machine.load("saved")):
        write(one, b"3" * 6 * CLUSTER, 20 * CLUSTER)
        write(one, b"4" * 16, 0)
    for one in (machine, clone):
        with pytest.raises(OSError, match="reached its limit"):
            write(one, b"5", 40 * CLUSTER)
    assert read(clone, 1, 10 * CLUSTER) == b"2" and read(machine, 2, 15) == b"41"


@pytest.mark.skipif(not shutil.which("qemu-img"), reason="qemu-img (qemu-utils) is not installed")
def test_a_qcow2_base_of_a_base(image: Path, tmp_path: Path) -> None:
    tool("qemu-img", "create", "-f", "qcow2", "-b", "disk.img", "-F", "raw", "top.qcow2")
    machine = made(tmp_path, drive="top.qcow2,bus=mmio,throttling.iops-total=100,limit=64K")
    machine.run(until=rvvm.instructions(2000))
    write(machine, b"over", 0)
    check_goes_on(machine, [10_000, 1_000_000], tmp_path / "saved")
    clone, snapshot = machine.fork(), machine.snapshot()
    write(clone, b"mine", 0)
    clone.restore(snapshot)
    assert read(clone, 4) == b"over" and read(clone, 512, 512) == image.read_bytes()[512:1024]
    machine.save("saved")
    with image.open("r+b") as file:
        file.write(b"else")
    with pytest.raises(rvvm.UserError, match=r"disk\.img: has changed since the machine was saved"):
        rvvm.Machine.load("saved")


def test_a_slow_network(tmp_path: Path) -> None:
    machine = made(tmp_path, netdev="socket,path=net.sock,rate=10K")
    snapshot = machine.snapshot()
    machine.save("saved")
    clone = machine.fork()
    machine.restore(snapshot)
    machine.close()
    loaded = rvvm.Machine.load("saved", netdev="socket,path=net.sock,rate=10K")
    link, other = (one.board.host.cards[0].function.link for one in (loaded, clone))  # type: ignore[attr-defined]
    frame = [[memoryview(bytes(1500))]]
    assert link.send(frame) and not link.send(frame), "it is slow again"
    assert other.send(frame) and other.send(frame), "no cable, no limit"


def test_a_disk_that_is_written_in_place_is_refused_in_one_line(tmp_path: Path) -> None:
    machine = made(tmp_path, drive="disk.img,bus=mmio,throttling.iops-total=9", commit=True)
    for attempt in (machine.snapshot, machine.fork, lambda: machine.save("saved")):
        with pytest.raises(rvvm.UserError) as problem:
            attempt()
        told = "disk.img: is written in place (--commit), so no moment can be kept"
        assert str(problem.value) == f"--drive: {told}"
    assert not Path("saved").exists()
    machine.run(timeout=20)
    assert machine.status == 0
