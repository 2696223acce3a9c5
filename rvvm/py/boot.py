"""What a boot loader does before the first instruction: place the images, set the registers.

There is no boot ROM: the board of a real machine would run a few instructions that load a0, a1
and a2 and jump, and nothing a guest can see depends on them, so the loader sets the registers.

The layout of the first RAM region, as QEMU's users know it::

    base            firmware (--bios), or with --bios none the kernel
    base + 2 MiB    kernel: a Linux Image at its text_offset, a raw image here; an ELF where it says
    ...
    below the top   initrd, fw_dynamic's information, devicetree
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from rvvm import _core
from rvvm.py.errors import UserError
from rvvm.py.program import Program, Segment, read_file, read_program
from rvvm.py.tree import Region

MiB = 1 << 20
KERNEL_OFFSET = 2 * MiB  # RV64 kernels map 2 MiB pages; the firmware keeps what is below
_PAGE = 0x1000
_ZEROES = bytes(1 << 20)
_BELOW = 0xC000_0000  # like QEMU: loaders that use 32-bit pointers reach the tree and the initrd
_INFO_MAGIC = 0x4942534F  # "OSBI"
_INFO_VERSION = 2
_SUPERVISOR = 1
_A0, _A1, _A2 = 10, 11, 12


class Place(NamedTuple):
    """Something in RAM."""

    start: int
    size: int
    what: str


@dataclass
class Plan:
    """Everything that a reset puts in place: bytes in RAM, and the first pc and arguments."""

    entry: int
    devicetree_at: int = 0
    devicetree_end: int = 0
    info_at: int = 0
    initrd: tuple[int, int] | None = None
    segments: list[Segment] = field(default_factory=list)
    symbols: dict[str, int] = field(default_factory=dict)
    programs: list[Program] = field(default_factory=list)

    def places(self) -> list[Place]:
        """What lies where."""
        found = [Place(it.start, it.end - it.start, Path(it.name).name) for it in self.programs]
        if self.initrd is not None:
            found.append(Place(self.initrd[0], self.initrd[1] - self.initrd[0], "initrd"))
        size = self.devicetree_end - self.devicetree_at
        return [*found, Place(self.devicetree_at, size, "devicetree")]

    def apply(self, system: _core.System) -> None:
        """Write the images and start every hart at the entry, as the SBI and Linux expect it."""
        for segment in self.segments:
            segment.check()
            system.write(segment.address, segment.data)
            for start in range(segment.address + len(segment.data), segment.end, len(_ZEROES)):
                system.write(start, _ZEROES[: segment.end - start])
        for hart in system.harts:
            hart.pc = self.entry
            hart.set_x(_A0, hart.id)
            hart.set_x(_A1, self.devicetree_at)
            hart.set_x(_A2, self.info_at)

    def add_devicetree(self, blob: bytes) -> None:
        """Put the finished tree into the place kept for it."""
        room = self.devicetree_end - self.devicetree_at
        if len(blob) > room:
            raise UserError(f"the devicetree is {len(blob)} bytes; there is room for {room}")
        self.segments.append(Segment(self.devicetree_at, blob, len(blob)))


@dataclass(frozen=True)
class Images:
    """The files to start, already found; each may be absent."""

    bios: Path | None = None
    kernel: Path | None = None
    initrd: Path | None = None


def make_plan(images: Images, rams: Sequence[Region], boot_hart: int) -> Plan:
    """Read the images and decide where each goes; UserError when one does not fit."""
    ram, room = rams[0], sum(region.size for region in rams)
    firmware = _placed(read_program(images.bios, "--bios", room), ram.base) if images.bios else None
    kernel = _place_kernel(images.kernel, ram, room, firmware) if images.kernel else None
    programs = [program for program in (firmware, kernel) if program]
    if not programs:
        raise UserError("nothing to run: name a --kernel or a --bios")
    plan = Plan(entry=programs[0].entry, programs=programs)
    for program in programs:
        plan.segments += program.segments
        plan.symbols.update(program.symbols)
        _check_in_ram(program, rams)
    _place_below_top(plan, images.initrd, ram)
    if firmware:
        _add_info(plan, kernel.entry if kernel else ram.base + KERNEL_OFFSET, boot_hart)
    _check_apart(programs, plan)
    return plan


def _placed(program: Program, base: int) -> Program:
    return program if program.kind == "elf" else program.at(base)


def _place_kernel(path: Path, ram: Region, room: int, firmware: Program | None) -> Program:
    """Behind a firmware the kernel starts 2 MiB in; alone it starts where RAM does."""
    program = read_program(path, "--kernel", room)
    if program.kind == "elf":
        return program
    if program.kind == "linux" and program.entry:
        return program.at(ram.base)  # its text_offset is already in it
    return program.at(ram.base + (KERNEL_OFFSET if firmware else 0))


def _place_below_top(plan: Plan, initrd: Path | None, ram: Region) -> None:
    """From the top down: devicetree, fw_dynamic's page, initrd."""
    top = min(ram.end, _BELOW) if ram.base < _BELOW else ram.end
    slot = max(64 << 10, min(2 * MiB, ram.size // 64))  # OpenSBI grows the tree in place
    plan.devicetree_end = top
    plan.devicetree_at = (top - slot) & -_PAGE
    plan.info_at = plan.devicetree_at - _PAGE
    if initrd:
        _place_initrd(plan, initrd, ram)


def _place_initrd(plan: Plan, path: Path, ram: Region) -> None:
    data = read_file(path, "--initrd", ram.size)
    if not data:
        raise UserError(f"--initrd: {path}: the file is empty")
    start = (plan.info_at - len(data)) & -_PAGE
    below = [segment.end for segment in plan.segments if segment.address < plan.info_at]
    taken = max(below, default=ram.base)
    if start < taken:
        raise UserError(
            f"--initrd: {path}: {len(data)} bytes do not fit between"
            f" {taken:#x}, where the kernel ends, and {plan.info_at:#x}"
        )
    plan.initrd = (start, start + len(data))
    plan.segments.append(Segment(start, data, len(data)))


def _add_info(plan: Plan, next_entry: int, boot_hart: int) -> None:
    """OpenSBI's struct fw_dynamic_info (include/sbi/fw_dynamic.h), which a2 points to."""
    info = struct.pack("<6Q", _INFO_MAGIC, _INFO_VERSION, next_entry, _SUPERVISOR, 0, boot_hart)
    plan.segments.append(Segment(plan.info_at, info, len(info)))


def _check_in_ram(program: Program, rams: Sequence[Region]) -> None:
    for segment in program.segments:
        if any(ram.base <= segment.address and segment.end <= ram.end for ram in rams):
            continue
        regions = ", ".join(map(str, rams))
        raise UserError(
            f"{program.name}: {segment.address:#x}..{segment.end - 1:#x} is not in RAM ({regions})"
        )


def _check_apart(programs: Sequence[Program], plan: Plan) -> None:
    """No two images may share bytes."""
    names = [*(program.name for program in programs), "the devicetree"]
    claims = [
        (segment.address, segment.end, owner)
        for owner, program in enumerate(programs)
        for segment in program.segments
    ]
    claims.append((plan.info_at, plan.devicetree_end, len(programs)))
    claims.sort()
    for (_, end, first), (start, _, second) in zip(claims, claims[1:], strict=False):
        if start < end and first != second:
            hint = "; a bare-metal program wants --bios none" if len(programs) > 1 else ""
            raise UserError(f"{names[second]} overlaps {names[first]} at {start:#x}{hint}")
