"""A guest asks a disk for much more than a turn's work, in one request: the machine pauses in the
midst, and the request ends as it would have."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

import rvvm
from machine import elves
from rvvm.py.devices.virtio.queue import WORK

SLOT, RAM = 0x1000_1000, 0x8000_0000
RINGS, TABLE, DATA = RAM + 0x10_0000, RAM + 0x20_0000, RAM + 0x40_0000
SIZE, TIMES = 4 << 20, 16
STATUS = RINGS + 0x4000
USED = RINGS + 0x2000
SET_UP = (
    (0x70, 0), (0x70, 1), (0x70, 3), (0x24, 1), (0x20, 1), (0x24, 0), (0x20, 1 << 28), (0x70, 11),
    (0x30, 0), (0x38, 16), (0x80, RINGS), (0x90, RINGS + 0x1000), (0xA0, USED), (0x44, 1),
    (0x70, 15), (0x50, 0),
)  # fmt: skip
"""Virtio 3.1.1 and 4.2.3: registers of the slot, and what is stored there; the last is the kick."""
INTERRUPT = """
    li      t0, 0xc000000   # the PLIC: source 1 wakes machine mode of hart 0
    li      t1, 2
    sw      t1, 4(t0)
    li      t0, 0xc002000
    sw      t1, 0(t0)
    li      t1, 0x800
    csrw    mie, t1
"""


def program() -> str:
    """Set the device up, kick, and end the machine when the request is done."""
    lines = ["csrr t0, mhartid", "bnez t0, others", INTERRUPT, f"li t0, {SLOT}"]
    for register, value in SET_UP:
        lines += [f"li t1, {value}", f"sw t1, {register}(t0)"]
    lines += [f"li t2, {USED}", "wait:", "{}", "lhu t1, 2(t2)", "beqz t1, wait", elves.END]
    return "\n".join([*lines, "others: wfi", "j others"])


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.write(b"x" * (1 << 20))
        file.truncate(SIZE * TIMES)
        file.seek(SIZE * (TIMES - 1))
        file.write(b"the last piece")
    return path


def machine(disk: Path, waits: bool, **options: object) -> rvvm.Machine:
    source = program().format("wfi" if waits else "nop")
    kernel = elves.write(disk.with_name("program.elf"), source)
    drive = f"{disk},bus=mmio"
    it = rvvm.Machine(kernel=kernel, bios="none", memory="16M", drive=drive, **options)
    rows = [(RINGS + 0x3000, 16, 0)] + [(DATA, SIZE, 2)] * TIMES + [(STATUS, 1, 2)]
    table = b"".join(
        struct.pack("<QIHH", at, size, flags | (k + 1 < len(rows)), k + 1)
        for k, (at, size, flags) in enumerate(rows)
    )
    it.system.write(TABLE, table)
    it.system.write(RINGS, struct.pack("<QIHH", TABLE, len(table), 4, 0))
    it.system.write(RINGS + 0x1000, struct.pack("<HHH", 0, 1, 0))
    it.system.write(STATUS, b"\xee")
    return it


class Pieces:
    """What the disk was asked for, and how far the machine was then; each asks for a pause."""

    def __init__(self, it: rvvm.Machine) -> None:
        self.sizes: list[int] = []
        (card,) = it.board.host.cards
        disk = card.function.disk  # type: ignore[attr-defined]
        read = disk.read

        def counted(views: list[memoryview], offset: int) -> None:
            self.sizes.append(sum(map(len, views)))
            read(views, offset)
            it.pause()

        disk.read = counted


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(
    "options",
    [{}, {"accel": "interp"}, {"harts": 2}, {"harts": 2, "threads": False},
     {"clock": "instructions"}],
    ids=str,
)  # fmt: skip
def test_it_pauses_in_the_midst(disk: Path, waits: bool, options: dict[str, object]) -> None:
    it = machine(disk, waits, **options)
    pieces = Pieces(it)
    stops = 0
    while (stop := it.run(timeout=60)).reason == "pause":
        stops += 1
        if stops == 5:
            moment = it.snapshot()
        if stops == 9 and moment is not None:
            it.restore(moment)
            moment = None
    assert stop.reason == "halt"
    assert max(pieces.sizes) <= WORK and len(pieces.sizes) == SIZE * TIMES // WORK + 4
    assert it.system.read(STATUS, 1) == b"\0"
    assert it.system.read(DATA, 14) == b"the last piece"


@pytest.mark.parametrize("waits", [False, True])
def test_a_clone_goes_on_in_the_midst(disk: Path, waits: bool) -> None:
    it = machine(disk, waits)
    Pieces(it)
    for _ in range(7):
        assert it.run(timeout=60).reason == "pause"
    other = it.fork()
    assert other.run(timeout=60).reason == "halt"
    assert other.system.read(DATA, 14) == b"the last piece"
    other.close()
    it.reset()
    for _ in range(3):
        assert it.run(timeout=60).reason == "pause", "asked for anew"
    it.close()
