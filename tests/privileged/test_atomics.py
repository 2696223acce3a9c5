"""LR/SC reservations and compare-and-swap (unprivileged spec, Zalrsc and Zacas)."""

from __future__ import annotations

import pytest

from privileged.bench import CODE, DATA, Bench
from privileged.manual import M

OTHER_PAGE = DATA + 0x2000


def run(bench: Bench, *lines: str, **registers: int) -> None:
    bench.regs(**registers)
    for line in lines:
        assert bench.step(line, M) is None, line


@pytest.mark.parametrize("size", ["w", "d"])
@pytest.mark.parametrize("order", ["", ".aq", ".rl", ".aqrl"])
def test_sc_after_lr(size: str, order: str) -> None:
    """An SC paired with its LR writes zero to rd and stores."""
    bench = Bench()
    bench.poke(DATA, 0x1122_3344_8877_6655)
    run(
        bench,
        f"lr.{size}{order} a0, (a1)",
        f"sc.{size}{order} a2, a3, (a1)",
        a1=DATA,
        a3=0xABCD,
        a2=9,
    )
    assert bench.x("a0") == (0xFFFF_FFFF_8877_6655 if size == "w" else 0x1122_3344_8877_6655)
    assert bench.x("a2") == 0
    assert bench.peek(DATA, 4) == 0xABCD


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("no LR at all", ["sc.d a2, a3, (a1)"]),
        ("an SC consumed it", ["lr.d a0, (a1)", "sc.d x0, x0, (a1)", "sc.d a2, a3, (a1)"]),
        ("a failing SC consumed it", ["lr.d a0, (a1)", "sc.d x0, x0, (a4)", "sc.d a2, a3, (a1)"]),
        ("another page was reserved", ["lr.d a0, (a4)", "sc.d a2, a3, (a1)"]),
        ("a later LR replaced it", ["lr.d a0, (a1)", "lr.d a0, (a4)", "sc.d a2, a3, (a1)"]),
    ],
)
def test_sc_fails(name: str, lines: list[str]) -> None:
    """A failing SC writes a nonzero code and does not store."""
    bench = Bench()
    bench.poke(DATA, 5)
    run(bench, *lines, a1=DATA, a3=77, a2=0, a4=OTHER_PAGE)
    assert bench.x("a2") != 0, name
    assert bench.peek(DATA) in (5, 0)  # the SC before may have stored x0, this one nothing
    assert bench.peek(DATA) != 77


@pytest.mark.parametrize(
    ("store", "fails"),
    [
        ("sd a5, (a1)", True),
        ("sb a5, 7(a1)", True),
        ("sd a5, (a4)", False),
        ("lw a5, (a1)", False),
        ("amoswap.w x0, a5, (a1)", True),
        ("cbo.zero (a1)", True),
    ],
)
def test_another_hart_stores(store: str, fails: bool) -> None:
    """SC must fail if another hart's store to the reservation set came between."""
    bench = Bench()
    other = bench.system.add_hart(1, bench.extensions, CODE + 0x100)
    bench.load(store, CODE + 0x100)
    bench.poke(DATA, 0x5555_5555_5555_5555)
    run(bench, "lr.d a0, (a1)", a1=DATA, a3=77, a2=9)
    for register, value in ((11, DATA), (14, OTHER_PAGE), (15, 1)):
        other.set_x(register, value)
    other.pc = CODE + 0x100
    other.step(1)
    assert other.traps == 0
    run(bench, "sc.d a2, a3, (a1)")
    assert (bench.x("a2") != 0) == fails
    assert (bench.peek(DATA) == 77) != fails


@pytest.mark.parametrize("store", ["sd a5, (a1)", "amoswap.d x0, a5, (a1)", "cbo.zero (a1)"])
def test_two_harts_reserve_on_one_page(store: str) -> None:
    """The first keeps its entries for stores to the page until the second reserves there, too."""
    bench = Bench()
    other = bench.system.add_hart(1, bench.extensions, CODE + 0x100)
    bench.load("lr.d a0, (a1); sc.d a2, a3, (a1)", CODE + 0x100)
    run(bench, "sd x0, 64(a1)", "lr.d a0, (a4)", a1=DATA, a4=DATA + 128, a5=1)
    other.set_x(11, DATA)
    other.pc = CODE + 0x100
    other.step(1)
    run(bench, store)
    other.step(1)
    assert other.x(12) == 1
    run(bench, "sc.d a2, a3, (a4)", a2=9)
    assert bench.x("a2") == 0  # its own stores do not break its own


def test_external_write_breaks_the_reservation() -> None:
    """A write by another agent (a device) to the reserved bytes makes the SC fail."""
    bench = Bench()
    run(bench, "lr.d a0, (a1)", a1=DATA, a3=77, a2=0)
    bench.poke(DATA, 6)
    run(bench, "sc.d a2, a3, (a1)")
    assert bench.x("a2") != 0
    assert bench.peek(DATA) == 6


def test_sc_needs_write_permission_even_to_x0() -> None:
    """A misaligned SC raises whether or not there is a reservation."""
    assert Bench().cause("sc.d a2, a3, (a1)", a1=DATA + 4) == 6


CAS = [  # line, memory before, rd, rs2 -> memory after, rd after
    ("amocas.w", 0x8000_0001, 0x8000_0001, 0x1234, 0x1234, 0xFFFF_FFFF_8000_0001),
    ("amocas.w", 0x8000_0001, 0x1_8000_0001, 0x1234, 0x1234, 0xFFFF_FFFF_8000_0001),
    ("amocas.w", 0x8000_0001, 0x8000_0000, 0x1234, 0x8000_0001, 0xFFFF_FFFF_8000_0001),
    ("amocas.d", 1 << 63, 1 << 63, 5, 5, 1 << 63),
    ("amocas.d", 1 << 63, 1, 5, 1 << 63, 1 << 63),
    ("amocas.b", 0x80, 0x180, 0x77, 0x77, 0xFFFF_FFFF_FFFF_FF80),
    ("amocas.h", 0x8001, 0x8001, 0x77, 0x77, 0xFFFF_FFFF_FFFF_8001),
]


@pytest.mark.parametrize(("name", "memory", "rd", "rs2", "after", "result"), CAS)
def test_compare_and_swap(
    name: str, memory: int, rd: int, rs2: int, after: int, result: int
) -> None:
    bench = Bench()
    bench.poke(DATA, memory)
    run(bench, f"{name} a0, a2, (a1)", a0=rd, a1=DATA, a2=rs2)
    assert (bench.peek(DATA), bench.x("a0")) == (after, result)


@pytest.mark.parametrize("equal", [True, False])
def test_compare_and_swap_pair(equal: bool) -> None:
    """amocas.q compares and swaps the pairs rd:rd+1 and rs2:rs2+1."""
    bench = Bench()
    bench.poke(DATA, 0x1111)
    bench.poke(DATA + 8, 0x2222)
    run(bench, "amocas.q a0, a2, (a4)", a0=0x1111, a1=0x2222 if equal else 0, a2=3, a3=4, a4=DATA)
    assert (bench.x("a0"), bench.x("a1")) == (0x1111, 0x2222)
    assert (bench.peek(DATA), bench.peek(DATA + 8)) == ((3, 4) if equal else (0x1111, 0x2222))


def test_compare_and_swap_pair_of_x0() -> None:
    """A pair that starts with x0 reads as zeros and discards the result: x1 is not touched."""
    bench = Bench()
    run(bench, "amocas.q x0, x0, (a4)", ra=7, a4=DATA)
    assert bench.x("ra") == 7
    bench.poke(DATA, 1)
    run(bench, "amocas.q x0, a2, (a4)", a2=5, a3=6)
    assert bench.peek(DATA) == 1


@pytest.mark.parametrize("line", ["amocas.q a1, a2, (a4)", "amocas.q a0, a3, (a4)"])
def test_compare_and_swap_pair_wants_even_registers(line: str) -> None:
    """Odd registers in rd or rs2 are reserved encodings, which are illegal here."""
    assert Bench().cause(line, a4=DATA) == 2
