"""Cache-block operations under translation (CMO extensions, "Page-Fault, Guest-Page-Fault, and
Access-Fault Exceptions")."""

from __future__ import annotations

import pytest

from asm import asm
from mmu.guest import GPA, GVA, Guest, transformed
from privileged.bench import DATA, NOWHERE, Bench
from privileged.manual import ADUE, HS, ONES, VS, flags
from privileged.pages import Table

MANAGEMENT = ["cbo.clean (a1)", "cbo.flush (a1)", "cbo.inval (a1)"]
ZERO = "cbo.zero (a1)"
VA = 0x10_0000_0000

#: leaf flags -> (management permitted, zeroing permitted), under Svade
LEAVES = {
    "": (False, False),
    "vrad": (True, False),
    "vrwad": (True, True),
    "vra": (True, False),
    "vrwa": (True, False),
    "vrwd": (False, False),
    "vruad": (False, False),
    "vrwuad": (False, False),
}


def bed(text: str) -> tuple[Bench, int]:
    bench = Bench()
    table = Table(bench)
    slot = table.map(VA, DATA, flags(text))
    bench.set(satp=table.atp(), menvcfg=ONES & ~ADUE.mask)
    bench.look_as(HS)
    return bench, slot


@pytest.mark.parametrize("text", LEAVES)
@pytest.mark.parametrize("line", [*MANAGEMENT, ZERO])
def test_permissions(text: str, line: str) -> None:
    """Management wherever a load or store is permitted, A checked, D not; zeroing as a store.

    Where not: a store/AMO page fault whose tval is rs1 itself.
    """
    bench, _ = bed(text)
    trap = bench.step(line, a1=VA + 77)
    assert (trap is None) == LEAVES[text][line == ZERO]
    assert trap is None or (trap.cause, trap.tval) == (15, VA + 77)


@pytest.mark.parametrize(("line", "after"), [(MANAGEMENT[0], "vrwa"), (ZERO, "vrwad")])
def test_updates(line: str, after: str) -> None:
    """Svadu: management sets A, zeroing A and D."""
    bench, slot = bed("vrw")
    bench.set(menvcfg=ONES)
    assert bench.step(line, a1=VA) is None
    assert bench.peek(slot) & 0xFF == flags(after)


@pytest.mark.parametrize("line", [*MANAGEMENT, ZERO])
@pytest.mark.parametrize("offset", [0, 1, 21, 63])
def test_guest_page_fault(line: str, offset: int) -> None:
    """Cause 23; the guest physical address corresponds to tval, which is rs1; tinst has rs1=0."""
    guest = Guest(VS, menvcfg=ONES & ~ADUE.mask, henvcfg=ONES & ~ADUE.mask)
    guest.map(g=flags("vrwxad"))
    trap = guest.bench.step(line, VS, a1=GVA + 128 + offset)
    assert trap is not None
    assert (trap.cause, trap.tval, trap.gva) == (23, GVA + 128 + offset, True)
    assert trap.tval2 == GPA + 128 + offset >> 2
    assert trap.tinst == transformed(asm(line))


@pytest.mark.parametrize("line", [*MANAGEMENT, ZERO])
def test_no_memory(line: str) -> None:
    """A store access fault, tval the effective address."""
    bench = Bench()
    trap = bench.step(line, a1=NOWHERE + 5)
    assert trap is not None
    assert (trap.cause, trap.tval) == (7, NOWHERE + 5)


@pytest.mark.parametrize("line", ["prefetch.i 0(a1)", "prefetch.r 0(a1)", "prefetch.w 0(a1)"])
def test_prefetch_neither_faults_nor_updates(line: str) -> None:
    """During translation a prefetch does not check A and D and neither raises nor sets."""
    for text in ("", "vrw", "vrwad"):
        bench, slot = bed(text)
        bench.set(menvcfg=ONES)
        before = bench.peek(slot)
        assert bench.step(line, a1=VA) is None
        assert bench.peek(slot) == before
