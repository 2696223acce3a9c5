"""Where the loader puts things."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

import rvvm
from machine import elves
from machine.test_program import linux_image
from rvvm.py.boot import Images, Plan, make_plan
from rvvm.py.errors import UserError
from rvvm.py.tree import Region

RAM = Region(0x8000_0000, 64 << 20)
MiB = 1 << 20


def plan(tmp_path: Path, ram: Region = RAM, **files: bytes) -> Plan:
    paths = {}
    for name, data in files.items():
        paths[name] = tmp_path / name
        paths[name].write_bytes(data)
    return make_plan(Images(**paths), [ram], boot_hart=5)


def segment_at(plan: Plan, address: int) -> bytes:
    return next(segment.data for segment in plan.segments if segment.address == address)


def test_firmware_first_and_kernel_two_megabytes_on(tmp_path: Path) -> None:
    placed = plan(tmp_path, bios=b"firmware", kernel=linux_image(b""))
    assert placed.entry == RAM.base
    assert segment_at(placed, RAM.base) == b"firmware"
    assert segment_at(placed, RAM.base + 2 * MiB).startswith(linux_image(b"")[:16])


def test_raw_payload_behind_firmware(tmp_path: Path) -> None:
    placed = plan(tmp_path, bios=b"firmware", kernel=b"u-boot")
    assert segment_at(placed, RAM.base + 2 * MiB) == b"u-boot"


def test_fw_dynamic_information(tmp_path: Path) -> None:
    """OpenSBI, include/sbi/fw_dynamic.h: magic, version, next address, mode, options, boot hart."""
    placed = plan(tmp_path, bios=b"firmware", kernel=linux_image(b""))
    info = struct.unpack("<6Q", segment_at(placed, placed.info_at))
    assert info == (0x4942534F, 2, RAM.base + 2 * MiB, 1, 0, 5)


def test_without_firmware_the_kernel_is_entered(tmp_path: Path) -> None:
    placed = plan(tmp_path, kernel=elves.elf(b"code" * 4, entry=RAM.base + 8))
    assert placed.entry == RAM.base + 8
    assert not any(segment.address == placed.info_at for segment in placed.segments)


def test_raw_kernel_without_firmware_starts_ram(tmp_path: Path) -> None:
    assert plan(tmp_path, kernel=b"raw!").entry == RAM.base


def test_initrd_and_devicetree_below_the_top(tmp_path: Path) -> None:
    initrd = b"i" * 5000
    placed = plan(tmp_path, bios=b"firmware", kernel=linux_image(b""), initrd=initrd)
    assert placed.initrd is not None
    start, end = placed.initrd
    assert segment_at(placed, start) == initrd
    assert end - start == 5000 and start % 4096 == 0
    assert end <= placed.info_at < placed.devicetree_at < placed.devicetree_end <= RAM.end


def test_high_ram_is_left_for_the_kernel(tmp_path: Path) -> None:
    """Loaders that use 32-bit pointers reach the devicetree however much RAM there is."""
    placed = plan(tmp_path, Region(0x8000_0000, 8 << 30), kernel=b"raw!")
    assert placed.devicetree_end <= 0xC000_0000


def test_devicetree_has_a_limit(tmp_path: Path) -> None:
    placed = plan(tmp_path, kernel=b"raw!")
    with pytest.raises(UserError, match="there is room for"):
        placed.add_devicetree(bytes(MiB * 4))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"kernel": elves.elf(b"c", address=0x1000)}, "not in RAM"),
        ({"kernel": elves.elf(b"c", bss=65 * MiB)}, "not in RAM"),
        ({"bios": b"b", "kernel": elves.elf(b"c")}, "--bios none"),
        ({"bios": bytes(3 * MiB), "kernel": linux_image(b"")}, "overlaps"),
        ({"kernel": b"k", "initrd": bytes(64 * MiB)}, "do not fit"),
        ({"kernel": b"k", "initrd": b""}, "empty"),
        ({"kernel": b""}, "empty"),
        ({"kernel": bytes(64 * MiB)}, "overlaps the devicetree|the devicetree overlaps"),
        ({}, "nothing to run"),
    ],
)
def test_what_does_not_fit(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan(tmp_path, **files)


def big_kernel(path: Path) -> rvvm.Machine:
    path.write_bytes(b"old" * MiB)
    return rvvm.Machine(kernel=path, bios="none", memory="16M")


def test_a_reset_loads_what_was_loaded_when_the_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "kernel"
    machine = big_kernel(path)
    machine.memory[RAM.base : RAM.base + 3] = b"xyz"
    (tmp_path / "new").write_bytes(b"new" * MiB)
    (tmp_path / "new").replace(path)
    machine.reset()
    assert bytes(machine.memory[RAM.base : RAM.base + 3]) == b"old"
    path.unlink()
    machine.reset()


@pytest.mark.parametrize("content", [b"new" * MiB, b""])
def test_a_reset_refuses_a_file_that_was_written_into(tmp_path: Path, content: bytes) -> None:
    """A big file is mapped, not copied: its old bytes are gone."""
    path = tmp_path / "kernel"
    machine = big_kernel(path)
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"--kernel: {path}: changed"):
        machine.reset()
