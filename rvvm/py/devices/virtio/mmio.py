"""Virtio over MMIO (section 4.2): one slot, with the device that was put into it, or empty."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from rvvm.py.devices.device import Device, Wiring
from rvvm.py.devices.virtio.function import FEATURES_OK, Function
from rvvm.py.devices.virtio.queue import Queue, with_half
from rvvm.py.register import Place, Register, State

if TYPE_CHECKING:
    from rvvm.py.tree import Node

MAGIC = int.from_bytes(b"virt", "little")
VENDOR = int.from_bytes(b"QEMU", "little")  # drivers look for it, though 4.2.2 has them ignore it
CONFIG = 0x100  # 4.2.2: where the device's own configuration begins
LOW = 0xFFFF_FFFF
DESCRIPTOR_AREA, DRIVER_AREA, DEVICE_AREA = range(3)


class VirtioMmio(Device, compatible="virtio,mmio"):
    """Version 2. An empty slot has device ID 0, which drivers pass over (4.2.2)."""

    magic_value = Register(0x000, access="r", reset=MAGIC)
    version = Register(0x004, access="r", reset=2)
    device_id = Register(0x008, access="r", stored=False)
    vendor_id = Register(0x00C, access="r", reset=VENDOR)
    device_features = Register(0x010, access="r", stored=False)
    device_features_sel = Register(0x014, access="w")
    driver_features = Register(0x020, access="w", stored=False)
    driver_features_sel = Register(0x024, access="w")
    queue_sel = Register(0x030, access="w")
    queue_size_max = Register(0x034, access="r", stored=False)
    queue_size = Register(0x038, access="w", stored=False)
    queue_ready = Register(0x044, stored=False)
    queue_notify = Register(0x050, access="w", stored=False)
    interrupt_status = Register(0x060, access="r", stored=False)
    interrupt_ack = Register(0x064, access="w", stored=False)
    status = Register(0x070, stored=False)
    queue_desc_low = Register(0x080, access="w", stored=False)
    queue_desc_high = Register(0x084, access="w", stored=False)
    queue_driver_low = Register(0x090, access="w", stored=False)
    queue_driver_high = Register(0x094, access="w", stored=False)
    queue_device_low = Register(0x0A0, access="w", stored=False)
    queue_device_high = Register(0x0A4, access="w", stored=False)
    # 4.2.2: a shared memory region that is not there has length and base -1
    shm_len = Register(0x0B0, width=8, access="r", reset=(1 << 64) - 1)
    shm_base = Register(0x0B8, width=8, access="r", reset=(1 << 64) - 1)
    queue_reset = Register(0x0C0, stored=False)
    config_generation = Register(0x0FC, access="r", stored=False)

    wanted = State(0)  # features, by the driver

    def __init__(self, function: Function | None = None) -> None:
        self.function = function or Function(queues=0)
        super().__init__()
        self.irq = self.line()
        self.function.interrupt = self.update

    @classmethod
    def from_node(cls, node: Node, wiring: Wiring) -> Self:
        return cls(*wiring.cards(node, "mmio", room=1))

    def places(self) -> Iterator[Place]:
        yield from super().places()
        for place in self.function.places():
            yield place._replace(offset=CONFIG + place.offset)

    def update(self) -> None:
        """Drive the interrupt line."""
        self.irq.set(self.function.pending != 0)

    # The device

    def on_device_id_read(self) -> int:
        return self.function.kind

    def on_device_features_read(self) -> int:
        half = self.device_features_sel
        return self.function.features >> 32 * half & LOW if half < 2 else 0

    def on_driver_features_write(self, value: int) -> None:
        if self.driver_features_sel < 2:
            self.wanted = with_half(self.wanted, self.driver_features_sel, value)

    def on_status_read(self) -> int:
        return self.function.status

    def on_status_write(self, value: int) -> None:
        """Features count from FEATURES_OK on; a driver that never sets it has none, as on QEMU."""
        if value & FEATURES_OK:
            self.function.accept(self.wanted)
        if value & 0xFF == 0:
            self.wanted = 0
        self.function.set_status(value & 0xFF)

    def on_interrupt_status_read(self) -> int:
        return self.function.pending

    def on_interrupt_ack_write(self, value: int) -> None:
        self.function.acknowledge(value)

    def on_config_generation_read(self) -> int:
        return self.function.generation

    # Its queues

    @property
    def _queue(self) -> Queue | None:
        queues = self.function.queues
        return queues[self.queue_sel] if self.queue_sel < len(queues) else None

    def on_queue_size_max_read(self) -> int:
        return self._queue.max_size if self._queue else 0

    def on_queue_size_write(self, value: int) -> None:
        if self._queue and not self._queue.ready:
            self._queue.size = value

    def on_queue_ready_read(self) -> int:
        return int(self._queue is not None and self._queue.ready)

    def on_queue_ready_write(self, value: int) -> None:
        if self._queue:
            self.function.enable(self._queue, bool(value & 1))

    def on_queue_reset_read(self) -> int:
        return 0  # it was done at once

    def on_queue_reset_write(self, value: int) -> None:
        if self._queue and value == 1:
            self.function.reset_queue(self._queue)

    def on_queue_notify_write(self, value: int) -> None:
        self.function.kick(value)

    def _set_place(self, area: int, low: bool, value: int) -> None:
        if self._queue:
            self._queue.set_place(area, low, value)

    def on_queue_desc_low_write(self, value: int) -> None:
        self._set_place(DESCRIPTOR_AREA, True, value)

    def on_queue_desc_high_write(self, value: int) -> None:
        self._set_place(DESCRIPTOR_AREA, False, value)

    def on_queue_driver_low_write(self, value: int) -> None:
        self._set_place(DRIVER_AREA, True, value)

    def on_queue_driver_high_write(self, value: int) -> None:
        self._set_place(DRIVER_AREA, False, value)

    def on_queue_device_low_write(self, value: int) -> None:
        self._set_place(DEVICE_AREA, True, value)

    def on_queue_device_high_write(self, value: int) -> None:
        self._set_place(DEVICE_AREA, False, value)

    # State

    def reset(self) -> None:
        super().reset()
        self.function.reset()

    def state(self) -> dict[str, Any]:
        return super().state() | {"function": self.function.state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        super().load_state(state)
        self.function.load_state(state["function"])

    def show(self) -> list[str]:
        return super().show() + self.function.show()
