"""PCI Express: the host bridge that a tree names, and what every function has."""

from __future__ import annotations

from rvvm.py.devices.pci import host as host
