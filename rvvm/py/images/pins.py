"""Which version of each package this cache uses.

The first use of a package pins its newest version, so that images made at different times fit
each other (modules and kernel!) and a cache that is full needs no network. `refresh` moves on.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from rvvm.py.images import cache
from rvvm.py.images.packages import Package

META_PACKAGES = {"linux-image-riscv64": "linux-image-"}
"""Packages that only depend on what is meant: name -> prefix of the dependency to take."""


def resolve(name: str, refresh: bool = False) -> Package:
    """The pinned version of a package; the newest when there is no pin, or on `refresh`."""
    with cache.lock("pins"):
        pins = _read()
        if refresh or name not in pins:
            pins[name] = _newest(name)
            _write(pins)
        return pins[name]


def pinned(name: str) -> Package | None:
    """The pinned version, if there is one; never asks the mirror."""
    return _read().get(name)


def _newest(name: str) -> Package:
    from rvvm.py.images import apt

    package = apt.find(name)
    for other in package.depends:
        if name in META_PACKAGES and other.startswith(META_PACKAGES[name]):
            return apt.find(other)
    return package


def _path() -> Path:
    return cache.root() / "packages.json"


def _read() -> dict[str, Package]:
    try:
        rows = json.loads(_path().read_text())
        return {name: Package(**row) for name, row in rows.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # none yet, or another rvvm's format: pin anew


def _write(pins: dict[str, Package]) -> None:
    rows = {name: asdict(package) for name, package in pins.items()}
    cache.write(_path(), json.dumps(rows, indent=1).encode())
