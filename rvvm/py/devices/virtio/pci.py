"""Virtio over PCI (section 4.1): a function whose BAR holds the structures of 4.1.4.

Interrupts are INTx: there is no MSI-X capability, so every vector reads as none (4.1.5.1.2).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import Any

from rvvm.py.devices.device import Device
from rvvm.py.devices.pci.function import CAPABILITIES, PciFunction, constant
from rvvm.py.devices.virtio.function import Function
from rvvm.py.devices.virtio.queue import Queue, with_half
from rvvm.py.register import Place, Register, Registers, Window

LOW = 0xFFFF_FFFF
DESCRIPTOR_AREA, DRIVER_AREA, DEVICE_AREA = range(3)
NO_VECTOR = 0xFFFF
VENDOR_SPECIFIC = 0x09  # capability ID

# Where in the BAR the structures are, and their types (4.1.4)
COMMON, ISR, DEVICE, NOTIFY = 0x0000, 0x1000, 0x2000, 0x3000
COMMON_CFG, NOTIFY_CFG, ISR_CFG, DEVICE_CFG, PCI_CFG = 1, 2, 3, 4, 5
NOTIFY_STRIDE = 4
STRUCTURES = (
    (COMMON_CFG, COMMON, 0x3C),
    (ISR_CFG, ISR, 1),
    (DEVICE_CFG, DEVICE, 0x1000),
    (NOTIFY_CFG, NOTIFY, 0x1000),
    (PCI_CFG, 0, 0),
)
CAPABILITY_SIZE = 20  # the longest, of the notifications and of the access through PCI_CFG

# 4.1.2.1: device IDs; PCI Code and ID Assignment: classes, where there is one
DEVICE_ID = 0x1040
CLASSES = {1: 0x0200, 2: 0x0180, 3: 0x0780}
OTHER_CLASS = 0xFF00


def _capabilities() -> bytes:
    """4.1.4: one after the other; the last is completed by registers."""
    text = b""
    for number, (kind, offset, size) in enumerate(STRUCTURES, 1):
        here = CAPABILITIES + CAPABILITY_SIZE * number
        following = here if number < len(STRUCTURES) else 0
        head = (VENDOR_SPECIFIC, following, CAPABILITY_SIZE, kind, 0, 0, offset, size)
        text += struct.pack("<BBBBBBxxIII", *head, NOTIFY_STRIDE if kind == NOTIFY_CFG else 0)
    return text


CAPABILITY_LIST = _capabilities()
ACCESS = CAPABILITIES + CAPABILITY_SIZE * (len(STRUCTURES) - 1)  # PCI_CFG's


class Structures(Device):
    """4.1.4.3 to 4.1.4.6: common configuration, notifications, ISR."""

    device_feature_select = Register(COMMON + 0x00)
    device_feature = Register(COMMON + 0x04, access="r", stored=False)
    driver_feature_select = Register(COMMON + 0x08)
    driver_feature = Register(COMMON + 0x0C, stored=False)
    config_msix_vector = Register(COMMON + 0x10, width=2, reset=NO_VECTOR, writable=0)
    num_queues = Register(COMMON + 0x12, width=2, access="r", stored=False)
    device_status = Register(COMMON + 0x14, width=1, stored=False)
    config_generation = Register(COMMON + 0x15, width=1, access="r", stored=False)
    queue_select = Register(COMMON + 0x16, width=2)
    queue_size = Register(COMMON + 0x18, width=2, stored=False)
    queue_msix_vector = Register(COMMON + 0x1A, width=2, reset=NO_VECTOR, writable=0)
    queue_enable = Register(COMMON + 0x1C, width=2, stored=False)
    queue_notify_off = Register(COMMON + 0x1E, width=2, access="r", stored=False)
    queue_desc = Register(COMMON + 0x20, width=8, stored=False)
    queue_driver = Register(COMMON + 0x28, width=8, stored=False)
    queue_device = Register(COMMON + 0x30, width=8, stored=False)
    queue_reset = Register(COMMON + 0x3A, width=2, stored=False)
    isr_status = Register(ISR, width=1, access="r", stored=False)
    notify = Registers(
        NOTIFY, count="queue_count", stride=NOTIFY_STRIDE, width=2, access="w", stored=False
    )

    def __init__(self, function: Function) -> None:
        self.function = function
        self.queue_count = len(function.queues)
        super().__init__()

    # The device

    def on_device_feature_read(self) -> int:
        half = self.device_feature_select
        return self.function.features >> 32 * half & LOW if half < 2 else 0

    def on_driver_feature_read(self) -> int:
        half = self.driver_feature_select
        return self.function.accepted >> 32 * half & LOW if half < 2 else 0

    def on_driver_feature_write(self, value: int) -> None:
        if self.driver_feature_select < 2:
            accepted = self.function.accepted
            self.function.accept(with_half(accepted, self.driver_feature_select, value))

    def on_num_queues_read(self) -> int:
        return self.queue_count

    def on_device_status_read(self) -> int:
        return self.function.status

    def on_device_status_write(self, value: int) -> None:
        self.function.set_status(value)

    def on_config_generation_read(self) -> int:
        return self.function.generation & 0xFF

    def on_isr_status_read(self) -> int:
        """4.1.4.5: reading it acknowledges."""
        pending = self.function.pending
        self.function.acknowledge(pending)
        return pending

    # Its queues

    @property
    def _queue(self) -> Queue | None:
        return (
            self.function.queues[self.queue_select]
            if self.queue_select < self.queue_count
            else None
        )

    def on_queue_size_read(self) -> int:
        return self._queue.size if self._queue else 0  # 4.1.4.3: 0 where there is no queue

    def on_queue_size_write(self, value: int) -> None:
        if self._queue and not self._queue.ready:
            self._queue.size = value

    def on_queue_enable_read(self) -> int:
        return int(self._queue is not None and self._queue.ready)

    def on_queue_enable_write(self, value: int) -> None:
        if self._queue and value == 1:  # 4.1.4.3.2: never 0
            self.function.enable(self._queue, True)

    def on_queue_reset_read(self) -> int:
        return 0  # it was done at once

    def on_queue_reset_write(self, value: int) -> None:
        if self._queue and value == 1:
            self.function.reset_queue(self._queue)

    def on_queue_notify_off_read(self) -> int:
        return self.queue_select

    def on_notify_write(self, index: int, value: int) -> None:
        self.function.kick(index)

    def _place(self, area: int) -> int:
        return self._queue.places[area] if self._queue else 0

    def _set_place(self, area: int, value: int) -> None:
        if self._queue and not self._queue.ready:
            self._queue.places[area] = value

    def on_queue_desc_read(self) -> int:
        return self._place(DESCRIPTOR_AREA)

    def on_queue_desc_write(self, value: int) -> None:
        self._set_place(DESCRIPTOR_AREA, value)

    def on_queue_driver_read(self) -> int:
        return self._place(DRIVER_AREA)

    def on_queue_driver_write(self, value: int) -> None:
        self._set_place(DRIVER_AREA, value)

    def on_queue_device_read(self) -> int:
        return self._place(DEVICE_AREA)

    def on_queue_device_write(self, value: int) -> None:
        self._set_place(DEVICE_AREA, value)


class VirtioPci(PciFunction):
    """The configuration space of a virtio device; its BAR leads to ``structures`` and to the
    device's own configuration."""

    vendor = 0x1AF4

    # 4.1.4.9: an access to the BAR for those who cannot map it
    access_bar = Register(ACCESS + 4, width=1)
    access_offset = Register(ACCESS + 8)
    access_length = Register(ACCESS + 12)
    access_data = Register(ACCESS + 16, stored=False)

    def __init__(self, function: Function) -> None:
        self.function = function
        self.structures = Structures(function)
        super().__init__()
        function.interrupt = self.update
        self._read, self._write = Window(self.bar_places()).locked(nullcontext())

    def identity(self) -> tuple[int, int]:
        kind = self.function.kind
        return DEVICE_ID + kind, CLASSES.get(kind, OTHER_CLASS)

    def places(self) -> Iterator[Place]:
        own = list(super().places())
        yield from own
        taken = {place.offset & ~3 for place in own}
        listed = constant(CAPABILITIES, CAPABILITY_LIST)
        yield from (place for place in listed if place.offset not in taken)

    def bar_places(self) -> Iterator[Place]:
        yield from self.structures.places()
        for place in self.function.places():
            yield place._replace(offset=DEVICE + place.offset)

    def update(self) -> None:
        """The reasons to interrupt have changed."""
        self.asserted = self.function.pending != 0
        self.interrupt()

    # 4.1.4.9.1: an aligned access of one, two or four bytes within the BAR

    @property
    def _access(self) -> tuple[int, int] | None:
        offset, length = self.access_offset, self.access_length
        fits = length in (1, 2, 4) and offset % length == 0 and offset < self.bar_size
        return (offset, length) if fits and self.access_bar == 0 else None

    def on_access_data_read(self) -> int:
        return self._read(*self._access) if self._access else 0

    def on_access_data_write(self, value: int) -> None:
        if self._access:
            offset, length = self._access
            self._write(offset, length, value & (1 << 8 * length) - 1)

    # State

    def reset(self) -> None:
        super().reset()
        self.structures.reset()
        self.function.reset()

    def state(self) -> dict[str, Any]:
        own = {"structures": self.structures.state(), "function": self.function.state()}
        return super().state() | own

    def load_state(self, state: Mapping[str, Any]) -> None:
        super().load_state(state)
        self.structures.load_state(state["structures"])
        self.function.load_state(state["function"])
        self.asserted = self.function.pending != 0

    def show(self) -> list[str]:
        return super().show() + self.structures.show() + self.function.show()
