"""Hart.translate shows the walk as the manual's algorithm goes through it."""

from __future__ import annotations

from mmu.guest import GPA, GVA, Guest
from privileged.bench import DATA, Bench
from privileged.manual import HS, flags
from privileged.pages import SV48, Table


def test_one_stage() -> None:
    """One step a level, from the root down, each the PTE at a + va.vpn[i] x 8."""
    bench = Bench()
    table = Table(bench, SV48)
    table.map(GVA, DATA)
    bench.set(satp=table.atp())
    found = bench.hart.translate(GVA + 5, "load", HS.privilege, HS.virtual)
    assert (found.ok, found.physical, found.cause) == (True, DATA + 5, None)
    assert [(s.stage, s.level, s.pte_address, s.pte) for s in found.steps] == [
        ("S", level, table.slot(GVA, level), bench.peek(table.slot(GVA, level)))
        for level in (3, 2, 1, 0)
    ]


def test_two_stages() -> None:
    """Each VS-stage PTE is reached through a G-stage walk, and so is the page itself."""
    guest = Guest()
    guest.map()
    found = guest.bench.hart.translate(GVA + 8, "store", 1, True)
    assert (found.ok, found.physical) == (True, DATA + 8)
    stages = "".join(s.stage[0] for s in found.steps)
    assert stages == "GGGV" * 3 + "GGG"  # Sv39 over Sv39x4, in 4 KiB pages of the guest's tables
    guest_steps = [s for s in found.steps if s.stage == "VS"]
    assert [s.pte_address for s in guest_steps] == [guest.vs.slot(GVA, n) for n in (2, 1, 0)]
    assert [s.pte_physical for s in guest_steps] == [guest.vs.slot(GVA, n) for n in (2, 1, 0)]
    assert guest.bench.peek(guest.g.slot(GPA)) == found.steps[-1].pte


def test_a_fault_ends_the_walk() -> None:
    guest = Guest()
    guest.map(g=flags("vruad"))
    found = guest.bench.hart.translate(GVA, "store", 1, True)
    assert (found.ok, found.cause, found.tval2) == (False, 23, GPA >> 2)
    assert found.reason
    assert found.steps[-1].pte == guest.bench.peek(guest.g.slot(GPA))


def test_no_side_effects() -> None:
    """A and D stay clear, also where hardware would set them, and no trap is counted."""
    bench = Bench()
    table = Table(bench)
    slot = table.map(GVA, DATA, flags("vrw"))
    bench.set(satp=table.atp(), menvcfg=1 << 61)
    before = bench.hart.registers()
    assert bench.hart.translate(GVA, "store", 1, False).ok
    assert bench.peek(slot) & 0xFF == flags("vrw")
    assert bench.hart.registers() == before
