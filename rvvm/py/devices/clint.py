"""CLINT: software interrupts and timers of the harts (SiFive FU540-C000 Manual, chapter 9)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

from rvvm.py.devices.device import Device, Target, Wiring
from rvvm.py.register import Register, Registers

if TYPE_CHECKING:
    from rvvm._core import Hart, System
    from rvvm.py.tree import Node

SOFTWARE, TIMER = 3, 7  # Privileged spec, mip: MSIP and MTIP
MAX_HARTS = 4095  # mtime is where the 4096th mtimecmp would be


class Clint(Device, compatible=("riscv,clint0", "sifive,clint0")):
    """msip, mtimecmp and mtime. A hart's registers are at its ID, counted from the ``first`` one.

    The manual's harts start at 0. OpenSBI counts from the lowest hart ID that the node is wired to.
    """

    msip = Registers(0x0000, count="slots", writable=1)
    mtimecmp = Registers(0x4000, count="slots", width=8, reset=(1 << 64) - 1)
    mtime = Register(0xBFF8, width=8, stored=False)

    def __init__(self, system: System, targets: list[Target], first: int = 0) -> None:
        self.system = system
        self.software: dict[int, Hart] = {}
        self.timers: dict[int, Hart] = {}
        for hart, number in targets:
            if number == SOFTWARE:
                self.software[hart.id - first] = hart
            elif number == TIMER:
                self.timers[hart.id - first] = hart
        self.slots = 1 + max([*self.software, *self.timers], default=-1)
        super().__init__()

    @classmethod
    def from_node(cls, node: Node, wiring: Wiring) -> Self:
        targets = [target for target in wiring.targets(node) if target is not None]
        first = min(_wired_ids(node), default=0)
        if any(target.hart.id - first >= MAX_HARTS for target in targets):
            raise node.error(f"a CLINT has no registers for hart IDs above {first + MAX_HARTS - 1}")
        return cls(wiring.system, targets, first)

    def on_msip_write(self, index: int, value: int) -> None:
        self.msip[index] = value & 1
        if index in self.software:
            self.software[index].set_interrupt(SOFTWARE, bool(value & 1))

    def on_mtimecmp_write(self, index: int, value: int) -> None:
        self.mtimecmp[index] = value
        if index in self.timers:
            self.timers[index].set_timer(value)

    def on_mtime_read(self) -> int:
        return self.system.time

    def on_mtime_write(self, value: int) -> None:
        self.system.time = value

    def reset(self) -> None:
        super().reset()
        for hart in self.software.values():
            hart.set_interrupt(SOFTWARE, False)
        for index, hart in self.timers.items():
            hart.set_timer(self.mtimecmp[index])


def _wired_ids(node: Node) -> Iterator[int]:
    """The hart IDs behind the node's interrupts, those of disabled harts too."""
    for interrupt in node.interrupts():
        cpu = interrupt.node.parent
        if cpu is not None and "reg" in cpu:
            yield cpu.reg()[0].base
