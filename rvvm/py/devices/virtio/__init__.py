"""Virtio 1.2: rings and devices, each once, and the transports that carry them.

Importing the package makes the transports known to the board; a kind of device is imported when
there is one. Section numbers are those of "Virtual I/O Device (VIRTIO) Version 1.2".
"""

from __future__ import annotations

from rvvm.py.devices.virtio import mmio as mmio
