"""A Debian package: which version, and where its file is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rvvm.py.images import cache


@dataclass(frozen=True)
class Package:
    """One version of one package, as the signed package list describes it."""

    name: str
    version: str
    architecture: str
    size: int
    sha256: str
    depends: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Where the package is, or will be, in the cache."""
        version = self.version.replace(":", "%3a")  # as apt names files
        return cache.root() / "debs" / f"{self.name}_{version}_{self.architecture}.deb"
