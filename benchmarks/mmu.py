"""Nanoseconds that address translation costs, by what is at hand: ``python -m benchmarks.mmu``.

A bare S-mode program touches one address after another. They are so far apart that all share one
place of the largest table, so every touch is a miss; and page tables that map much to one page are
small. The time of the same loop where every touch hits is taken off.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import click

from benchmarks import bare, loops
from benchmarks.side_by_side import Report, Spread, alternate
from rvvm import _core

PAGE = 1 << 12
APART = 65536 * PAGE
EXTENSIONS = (*bare.EXTENSIONS, "h", "s", "u", "sv57")
SV57, POINTER, LEAF, USER = 10, 1, 0xCF, 0x10
SATP, VSATP, HGATP, PMPCFG0, PMPADDR0 = 0x180, 0x280, 0x680, 0x3A0, 0x3B0
BASE = 1 << 52
"""Of the addresses touched: nothing else is mapped near."""


@dataclass(frozen=True)
class Case:
    """What is touched: so many addresses, through leaves of a level, through one stage or two."""

    loop: str = "touch_data"
    count: int = 4
    level: int = 0
    guest: bool = False


CASES = {
    "load": Case(),
    "load, 2 MB leaf": Case(level=1),
    "load, table not at hand": Case(count=16384),
    "load, two stages": Case(guest=True),
    "load, two stages, table not at hand": Case(count=16384, guest=True),
    "jump": Case("touch_code"),
    "jump, two stages": Case("touch_code", guest=True),
}


class Tables:
    """Page tables at the end of RAM; their entries are what refers to them."""

    def __init__(self, system: Any, user: int = 0) -> None:
        self.system = system
        self.user = user
        self.next = bare.RAM + bare.RAM_SIZE

    def leaf(self, target: int) -> int:
        """An entry that maps an address."""
        return target >> 2 | LEAF | self.user

    def table(self, entries: Mapping[int, int], pages: int = 1) -> int:
        """An entry for a new table."""
        self.next = (self.next - pages * PAGE) & -pages * PAGE
        for index, entry in entries.items():
            self.system.write(self.next + 8 * index, entry.to_bytes(8, "little"))
        return self.next >> 2 | POINTER

    def everywhere(self, entry: int, level: int) -> int:
        """An entry of a root: below it, all addresses lead to one of a level."""
        for _ in range(level, 4):
            entry = self.table(dict.fromkeys(range(512), entry))
        return entry

    def ram(self) -> int:
        """An entry of a root: RAM where it is, in small pages."""
        pages = range(0, bare.RAM_SIZE, PAGE)
        entry = self.table({at // PAGE: self.leaf(bare.RAM + at) for at in pages})
        for level in (1, 2, 3):
            entry = self.table({bare.RAM >> 12 + 9 * level & 511: entry})
        return entry

    def root(self, entries: Mapping[int, int], pages: int = 1) -> int:
        """The value of satp, vsatp or hgatp."""
        return SV57 << 60 | self.table(entries, pages) >> 10


def prepare(image: bytes, pc: int, case: Case, hits: bool, accel: str) -> Any:
    """A system that is about to run the loop."""
    system = _core.System(accel=accel)
    system.add_ram(bare.RAM, bare.RAM_SIZE)
    system.write(bare.RAM, image)
    hart = system.add_hart(0, EXTENSIONS)
    hart.set_csr(PMPADDR0, (1 << 64) - 1)
    hart.set_csr(PMPCFG0, 0x1F)
    tables = Tables(system)
    touched = tables.leaf(bare.RAM if case.level else pc & -PAGE)
    atp = tables.root({0: tables.ram(), BASE >> 48: tables.everywhere(touched, case.level)})
    hart.set_csr(VSATP if case.guest else SATP, atp)
    if case.guest:
        tables.user = USER
        hart.set_csr(HGATP, tables.root({0: tables.ram()}, pages=4))
    hart.privilege = 1
    hart.virtual = case.guest
    hart.pc = pc
    hart.set_x(10, BASE)
    hart.set_x(11, 0 if hits else APART)
    hart.set_x(12, case.count * APART - 1)
    return system


def timed(image: bytes, pc: int, case: Case, accel: str, touches: int) -> float:
    """Nanoseconds that a miss takes more than a hit."""

    def seconds(hits: bool) -> float:
        system = prepare(image, pc, case, hits, accel)
        length = 5 if case.loop == "touch_data" else 4
        system.run(100_000)
        began = time.process_time()
        stop = system.run(touches * length)
        assert stop.reason == "budget" and not system.harts[0].traps, system.harts[0].last_trap
        return time.process_time() - began

    return (seconds(hits=False) - seconds(hits=True)) / touches * 1e9


@click.command(help=__doc__)
@click.option("--runs", default=5, show_default=True, help="Runs of each case, by turns.")
@click.option("--touches", default=500_000, show_default=True, help="Misses a run.")
@click.option("--json", "json_file", metavar="FILE", help="The figures as JSON; - for stdout.")
def main(runs: int, touches: int, json_file: str | None) -> None:
    built = loops.build()
    engines = ("interp", "jit")
    contestants: dict[str, Callable[[], float]] = {
        f"{name}/{accel}": partial(
            timed, built.image, built.touches[case.loop], case, accel, touches
        )
        for name, case in CASES.items()
        for accel in engines
    }
    results = alternate(contestants, runs)
    report = Report(f"A miss of the translation caches, ns: {runs} runs by turns", "", *engines)
    for name in CASES:
        report.add(name, *(Spread.of(results[f"{name}/{accel}"]) for accel in engines))
    report.show(json_file)


if __name__ == "__main__":
    main()
