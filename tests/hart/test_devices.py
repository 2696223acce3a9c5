"""Accesses to memory-mapped devices, as the hart makes them ("Physical Memory Attributes").

A device window supports naturally aligned loads and stores of 1 to 8 bytes and nothing else:
fetches, atomics, page tables and misaligned accesses raise access faults or misaligned exceptions.
"""

from __future__ import annotations

import pytest

from privileged.bench import Bench
from privileged.manual import HS, PTE_V, VS
from privileged.pages import Table, pte

WINDOW = 0x1000_0000


class Recorder:
    """A device that remembers what reached it."""

    def __init__(self, bench: Bench):
        self.seen: list[tuple[int, ...]] = []
        bench.system.add_device("recorder", WINDOW, 0x1000, self.read, self.write)

    def read(self, offset: int, width: int) -> int:
        self.seen.append((offset, width))
        return 0x8182_8384_8586_8788 & (1 << 8 * width) - 1

    def write(self, offset: int, width: int, value: int) -> None:
        self.seen.append((offset, width, value))


VALUES = {
    "lb": (1, 0xFFFF_FFFF_FFFF_FF88),
    "lbu": (1, 0x88),
    "lh": (2, 0xFFFF_FFFF_FFFF_8788),
    "lhu": (2, 0x8788),
    "lw": (4, 0xFFFF_FFFF_8586_8788),
    "lwu": (4, 0x8586_8788),
    "ld": (8, 0x8182_8384_8586_8788),
}


@pytest.mark.parametrize("name", VALUES)
def test_load(name: str) -> None:
    bench = Bench()
    device = Recorder(bench)
    width, value = VALUES[name]
    assert bench.step(f"{name} a0, 16(a1)", a1=WINDOW) is None
    assert bench.x("a0") == value
    assert device.seen == [(16, width)]


@pytest.mark.parametrize(("name", "width"), [("sb", 1), ("sh", 2), ("sw", 4), ("sd", 8)])
def test_store(name: str, width: int) -> None:
    bench = Bench()
    device = Recorder(bench)
    assert bench.step(f"{name} a0, 24(a1)", a1=WINDOW, a0=0x1122_3344_5566_7788) is None
    assert device.seen == [(24, width, 0x1122_3344_5566_7788 & (1 << 8 * width) - 1)]


@pytest.mark.parametrize(
    ("line", "legal"),
    [
        ("lw a0, 2(a1)", {4, 5}),
        ("ld a0, 4(a1)", {4, 5}),
        ("sh a0, 1(a1)", {6, 7}),
        ("sd a0, 0xffc(a1)", {6, 7}),
        ("lr.w a0, (a1)", {5}),
        ("amoadd.w a0, a2, (a1)", {7}),
        ("amocas.d a0, a2, (a1)", {7}),
        ("cbo.zero (a1)", {7}),
    ],
)
def test_what_a_device_does_not_support(line: str, legal: set[int]) -> None:
    """An exception, and the device has seen nothing."""
    bench = Bench()
    device = Recorder(bench)
    line = line.replace("0xffc(a1)", "-4(a1)")
    bench.regs(a1=WINDOW + (0x1000 if "-4" in line else 0))
    assert bench.cause(line) in legal
    assert device.seen == []


def test_fetch() -> None:
    bench = Bench()
    device = Recorder(bench)
    trap = bench.step(pc=WINDOW)
    assert trap is not None
    assert (trap.cause, trap.tval) == (1, WINDOW)
    assert device.seen == []


def test_beyond_the_window() -> None:
    bench = Bench()
    Recorder(bench)
    assert bench.cause("lw a0, (a1)", a1=WINDOW + 0x1000) == 5
    assert bench.cause("sw a0, (a1)", a1=WINDOW - 4) == 7


def test_through_translation() -> None:
    """The same through satp, and in a guest through vsatp and hgatp; cached translations too."""
    bench = Bench()
    device = Recorder(bench)
    stage, guest = Table(bench), Table(bench, gstage=True)
    stage.map(0x5000, 0x9000)
    guest.map(0x9000, WINDOW)
    guest.identity(0x8000_0000, 16 << 20)
    plain = Table(bench)
    plain.map(0x5000, WINDOW)
    bench.set(satp=plain.atp(), vsatp=stage.atp(), hgatp=guest.atp())
    for mode in (HS, VS, HS, VS):
        bench.look_as(mode)
        assert bench.step("lw a0, 8(a1)", a1=0x5000) is None
        assert bench.step("sw a0, 12(a1)", a1=0x5000) is None
    assert device.seen == [(8, 4), (12, 4, 0x8586_8788)] * 4


def test_page_table_in_a_device() -> None:
    """Hardware page-table reads are not supported there: an access fault."""
    bench = Bench()
    device = Recorder(bench)
    table = Table(bench)
    bench.poke(table.slot(0, 1), pte(WINDOW, PTE_V))
    bench.set(satp=table.atp())
    bench.look_as(HS)
    assert bench.cause("lw a0, (a1)", a1=0) == 5
    assert device.seen == []


def test_exception_in_a_device_reaches_python() -> None:
    """What a device raises stops the step and propagates."""
    bench = Bench()

    def broken(*_: int) -> int:
        raise RuntimeError("no such register")

    bench.system.add_device("broken", WINDOW, 0x1000, broken, broken)
    with pytest.raises(RuntimeError, match="no such register"):
        bench.step("lw a0, (a1)", a1=WINDOW)
