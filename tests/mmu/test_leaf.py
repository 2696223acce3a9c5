"""One-stage translation: every combination of the flags of a leaf PTE, for every access.

Supervisor chapter, "Virtual Address Translation Process" and "Sv39".
"""

from __future__ import annotations

import itertools

import pytest

from mmu.rules import ACCESSES, AMO, FETCH, LOAD, LR, STORE, Access, View, leaf
from privileged.bench import CODE, DATA, Bench, Trap
from privileged.manual import ADUE, HS, MXR, PTE_U, SUM, M, Mode, U, flags
from privileged.pages import SCHEMES, SV39, Scheme, Table, pte

NOP = 0x0000_0013
AREA = 0x10_0000_0000  # virtual addresses under test: a 4 GiB boundary, far from the code


class Bed:
    """A hart on Sv39, its code mapped for one mode, and one virtual page for each PTE on trial."""

    def __init__(self, mode: Mode, scheme: Scheme = SV39, **csrs: int):
        self.bench, self.mode = Bench(), mode
        self.table = Table(self.bench, scheme)
        code = flags("vrxad") | (PTE_U if mode == U else 0)
        self.table.map(CODE, CODE, code)
        self.bench.poke(DATA, NOP, 4)
        self.lines = {LOAD: CODE, STORE: CODE + 4, AMO: CODE + 8, LR: CODE + 12}
        for access, address in self.lines.items():
            self.bench.load(access.line, address)
        self.bench.set(satp=self.table.atp(), **csrs)

    def access(self, access: Access, address: int) -> Trap | None:
        if access is FETCH:
            return self.bench.step(None, self.mode, pc=address)
        return self.bench.step(None, self.mode, pc=self.lines[access], a1=address, a2=NOP)


@pytest.mark.parametrize("access", ACCESSES, ids=str)
@pytest.mark.parametrize("mode", [HS, U], ids=str)
@pytest.mark.parametrize(("sum_", "mxr", "update"), list(itertools.product((0, 1), repeat=3)))
def test_every_flag_combination(
    access: Access, mode: Mode, sum_: int, mxr: int, update: int
) -> None:
    """All 256 values of PTE bits 7:0, with SUM, MXR and the A/D scheme (Svade, Svadu)."""
    bed = Bed(mode, mstatus=SUM(sum_) | MXR(mxr), menvcfg=ADUE(update))
    view = View(mode == U, bool(sum_), bool(mxr), bool(update))
    slots = [bed.table.map(AREA + (n << 12), DATA, n) for n in range(256)]
    for n, slot in enumerate(slots):
        address = AREA + (n << 12)
        expected = leaf(n, access, view)
        trap = bed.access(access, address)
        got = trap and (trap.cause, trap.tval, trap.tval2, trap.gva)
        assert got == (None if expected is not None else (access.page, address, 0, False)), bin(n)
        after = bed.bench.peek(slot)
        assert after == pte(DATA, n if expected is None else expected), f"{n:#b}: PTE afterwards"


@pytest.mark.parametrize("access", [LOAD, STORE, AMO, LR], ids=str)
@pytest.mark.parametrize("mode", [HS, U], ids=str)
def test_every_flag_combination_by_mprv(access: Access, mode: Mode) -> None:
    """MPRV=1 in M-mode: as though in MPP, for all 256 values; fetches are not affected."""
    bench = Bench()
    table = Table(bench)
    bench.poke(DATA, NOP, 4)
    bench.set(satp=table.atp(), mstatus=SUM(1))
    bench.look_as(mode)
    bench.load(access.line)
    for n in range(256):
        table.map(AREA + (n << 12), DATA, n)
        trap = bench.step(None, M, a1=AREA + (n << 12), a2=NOP)
        expected = leaf(n, access, View(mode == U, True))
        assert (trap.cause if trap else None) == (None if expected is not None else access.page), (
            bin(n)
        )


@pytest.mark.parametrize("access", ACCESSES, ids=str)
def test_mprv_to_m_is_untranslated(access: Access) -> None:
    """MPRV=1 with MPP=3 is M-level access with no translation."""
    bench = Bench()
    bench.set(satp=Table(bench).atp())
    bench.look_as(M)
    bench.poke(DATA, NOP, 4)
    if access is FETCH:
        assert bench.step(None, M, pc=DATA) is None
    else:
        assert bench.step(access.line, M, a1=DATA, a2=NOP) is None


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
@pytest.mark.parametrize("access", ACCESSES, ids=str)
@pytest.mark.parametrize("mode", [HS, U], ids=str)
def test_flags_in_every_scheme(scheme: Scheme, access: Access, mode: Mode) -> None:
    """The same meaning of bits 9:0 in Sv48 and Sv57 (a sample), and RSW and G are ignored."""
    bed = Bed(mode, scheme)
    for n, text in enumerate(
        ["vrad", "vrwad", "vxad", "vrwxuad", "vruad", "vrwxad", "rwxad", "vwad", "vrwx", "vrwxa"]
    ):
        for m, extra in enumerate((0, flags("g"), 0x100, 0x200, 0x300)):
            address = AREA + (n << 16) + (m << 12)
            low = flags(text) | extra
            bed.table.map(address, DATA, low)
            trap = bed.access(access, address)
            expected = leaf(low, access, View(mode == U))
            assert (trap.cause if trap else None) == (
                None if expected is not None else access.page
            ), (text, extra)
