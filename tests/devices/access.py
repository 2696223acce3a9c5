"""A device as the guest reaches it."""

from __future__ import annotations

import threading

from rvvm.py.devices.device import Device


class Guest:
    """Loads and stores by register offset; four bytes wide unless said otherwise."""

    def __init__(self, device: Device, width: int = 4) -> None:
        self.width = width
        self.read, self.write = device.window().locked(threading.RLock())

    def load(self, offset: int, width: int | None = None) -> int:
        return self.read(offset, width or self.width)

    def store(self, offset: int, value: int, width: int | None = None) -> None:
        self.write(offset, width or self.width, value)


def levels(device: Device) -> dict[str, bool]:
    return {line.name: line.level for line in device.lines}
