"""Page tables for the tests, with PTE bits that may be as wrong as a test wants them.

One class builds the tables of every scheme and of both stages: a G-stage table has a root of four
pages and takes two more address bits (hypervisor chapter, "Guest Physical Address Translation").
"""

from __future__ import annotations

from typing import NamedTuple

from privileged.bench import Bench, atp
from privileged.manual import PTE_V, S_ALL, U_ALL


class Scheme(NamedTuple):
    """A paged virtual-memory scheme: its satp and hgatp MODE and how many levels it has."""

    name: str
    mode: int
    levels: int

    @property
    def width(self) -> int:
        return 12 + 9 * self.levels

    def __str__(self) -> str:
        return self.name


SV39, SV48, SV57 = Scheme("Sv39", 8, 3), Scheme("Sv48", 9, 4), Scheme("Sv57", 10, 5)
SCHEMES = (SV39, SV48, SV57)


def pte(address: int, flags: int) -> int:
    """A PTE that points at a physical address."""
    return address >> 12 << 10 | flags


def page_size(level: int) -> int:
    return 1 << 12 + 9 * level


class Table:
    """A radix page table in the bench's RAM, for satp, vsatp (gstage=False) or hgatp (True)."""

    def __init__(self, bench: Bench, scheme: Scheme = SV39, gstage: bool = False):
        self.bench, self.scheme, self.gstage = bench, scheme, gstage
        self.root = bench.pages(4, align=4) if gstage else bench.pages()

    def atp(self, asid: int = 0) -> int:
        """The value of satp, vsatp or hgatp that selects this table."""
        return atp(self.scheme.mode, self.root, asid)

    def slot(self, address: int, level: int = 0) -> int:
        """The physical address of the PTE for `address` at `level`, tables made on the way."""
        table = self.root
        for at in range(self.scheme.levels - 1, level, -1):
            slot = table + 8 * self._index(address, at)
            entry = self.bench.peek(slot)
            if not entry & PTE_V:
                entry = pte(self.bench.pages(), PTE_V)
                self.bench.poke(slot, entry)
            table = entry >> 10 << 12
        return table + 8 * self._index(address, level)

    def _index(self, address: int, level: int) -> int:
        top = self.gstage and level == self.scheme.levels - 1
        return address >> 12 + 9 * level & (0x7FF if top else 0x1FF)

    def map(self, address: int, target: int, flags: int | None = None, level: int = 0) -> int:
        """Map one page of `level`; returns the physical address of its PTE."""
        if flags is None:
            flags = U_ALL if self.gstage else S_ALL
        slot = self.slot(address, level)
        self.bench.poke(slot, pte(target, flags))
        return slot

    def fill(self, address: int, flags: int) -> None:
        """Map 2 MiB onto themselves in 4 KiB pages, so that a test can change one of them."""
        entries = (pte(address + (n << 12), flags) for n in range(512))
        self.bench.system.write(
            self.slot(address), b"".join(e.to_bytes(8, "little") for e in entries)
        )

    def identity(self, address: int, size: int, flags: int | None = None) -> None:
        """Map a range onto itself with the largest pages that fit, up to 2 MiB."""
        end = address + size
        while address < end:
            level = 1 if address % page_size(1) == 0 and end - address >= page_size(1) else 0
            self.map(address, address, flags, level)
            address += page_size(level)
