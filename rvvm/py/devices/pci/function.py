"""A PCI function: its configuration space and one memory region (PCI Local Bus 3.0, chapter 6)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import ClassVar

from rvvm.py.devices.device import Device
from rvvm.py.register import Place, Register

CAPABILITIES = 0x40  # where the list of them begins
INTA = 1  # of the interrupt pin register


def _nobody() -> None:
    pass


class PciFunction(Device):
    """Type 0 header with one 32-bit memory BAR. The host bridge sets ``moved`` and ``interrupt``.

    A subclass has the registers behind the BAR as ``bar_places``, sets ``asserted`` while it wants
    an interrupt, and calls ``interrupt`` when that changes.
    """

    vendor_id = Register(0x00, width=2, access="r", stored=False)
    device_id = Register(0x02, width=2, access="r", stored=False)
    command = Register(0x04, width=2, writable=0x0406, MEMORY=1, MASTER=2, INTX_DISABLE=10)
    status = Register(0x06, width=2, access="r", stored=False, INTERRUPT=3, CAPABILITIES=4)
    revision_id = Register(0x08, width=1, access="r", reset=1)
    prog_if = Register(0x09, width=1, access="r")
    class_code = Register(0x0A, width=2, access="r", stored=False)
    cache_line_size = Register(0x0C, width=1)
    bar0 = Register(0x10)
    subsystem_vendor_id = Register(0x2C, width=2, access="r", stored=False)
    subsystem_id = Register(0x2E, width=2, access="r", stored=False)
    capabilities = Register(0x34, width=1, access="r", reset=CAPABILITIES)
    interrupt_line = Register(0x3C, width=1)
    interrupt_pin = Register(0x3D, width=1, access="r", reset=INTA)

    vendor: ClassVar[int] = 0
    bar_size: ClassVar[int] = 0x4000
    asserted = False

    def __init__(self) -> None:
        self.moved: Callable[[], None] = _nobody
        self.interrupt: Callable[[], None] = _nobody
        super().__init__()

    def bar_places(self) -> Iterator[Place]:
        """The registers behind the BAR."""
        raise NotImplementedError

    def identity(self) -> tuple[int, int]:
        """Device ID and class code."""
        raise NotImplementedError

    @property
    def base(self) -> int | None:
        """Where the BAR is, while memory accesses are enabled."""
        return self.bar0 if self.command & PciFunction.command.MEMORY else None

    @property
    def level(self) -> bool:
        """What INTA carries."""
        return self.asserted and not self.command & PciFunction.command.INTX_DISABLE

    def on_vendor_id_read(self) -> int:
        return self.vendor

    def on_device_id_read(self) -> int:
        return self.identity()[0]

    def on_class_code_read(self) -> int:
        return self.identity()[1]

    def on_subsystem_vendor_id_read(self) -> int:
        return self.vendor

    def on_subsystem_id_read(self) -> int:
        return self.identity()[0]

    def on_status_read(self) -> int:
        pending = PciFunction.status.INTERRUPT if self.asserted else 0
        return PciFunction.status.CAPABILITIES | pending

    def on_command_write(self, value: int) -> None:
        self.command = value & PciFunction.command.writable
        self.moved()
        self.interrupt()

    def on_bar0_write(self, value: int) -> None:
        self.bar0 = value & 0xFFFF_FFFF & -self.bar_size  # 6.2.5.1: so its size is found
        self.moved()

    def restored(self) -> None:
        self.bar0 &= -self.bar_size
        self.moved()


def constant(offset: int, data: bytes) -> Iterator[Place]:
    """Read-only bytes of the configuration space, as registers of four bytes."""
    for index, (word,) in enumerate(struct.iter_unpack("<I", data)):

        def read(word: int = word) -> int:
            return word

        yield Place(offset + 4 * index, 4, read, None, read)
