"""Faults of the implicit accesses to VS-level page tables.

Hypervisor chapter, "Two-Stage Address Translation" (G-stage checks of a page-table access are those
of an implicit load or store, the exception is that of the original access), "Special
pseudoinstruction values for guest-page faults".
"""

from __future__ import annotations

import pytest

from mmu.guest import GPA, GVA, Guest
from mmu.rules import ACCESSES, FETCH, Access
from privileged.bench import DATA, NOWHERE, Trap
from privileged.manual import ADUE, HS, MXR, ONES, PTE_V, U_ALL, VS, VU, Mode, flags
from privileged.pages import SCHEMES, SV39, SV48, Scheme, pte

READ, WRITE = 0x3000, 0x3020  # RV64: 64-bit read and write for VS-stage address translation
PAGE = ~0xFFF


@pytest.mark.parametrize("access", ACCESSES, ids=str)
@pytest.mark.parametrize("mode", [VS, VU], ids=str)
@pytest.mark.parametrize("level", range(3))
@pytest.mark.parametrize("permissions", ["", "vrwxad", "vxuad", "vrwxud", "vwuad"])
def test_table_page_unreadable(access: Access, mode: Mode, level: int, permissions: str) -> None:
    """A VS-level PTE that the G-stage does not let be read, at each level of the walk.

    U clear, R clear (MXR is for explicit loads only), A clear: each is a guest-page fault with the
    cause of the original access, tval2 the PTE's guest physical address, tinst 0x3000.
    """
    guest = Guest(mode, mstatus=MXR(1), vsstatus=MXR(1))
    guest.map()
    slot = guest.vs.slot(GVA, level)
    guest.g.map(slot & PAGE, slot & PAGE, flags(permissions))
    trap = only(guest, access)
    assert trap is not None
    assert (trap.cause, trap.tval, trap.tval2) == (access.guest_page, GVA, slot >> 2)
    assert (trap.tinst, trap.gva) == (READ, True)


def only(guest: Guest, access: Access) -> Trap | None:
    """Make the access from M-mode by MPRV, so that no code is fetched through the broken tables."""
    if access is FETCH:
        return guest.access(access)
    guest.bench.look_as(guest.mode)
    return guest.bench.step(access.line, a1=GVA)


@pytest.mark.parametrize("permissions", ["vruad", "vrwuad", "vrwxua", "vrua"])
@pytest.mark.parametrize("access", ACCESSES, ids=str)
def test_reading_needs_no_write_permission(permissions: str, access: Access) -> None:
    """Also for a store, the table page is only read: no W, no D and no X is needed."""
    guest = Guest()
    guest.map()
    for level in range(3):
        page = guest.vs.slot(GVA, level) & PAGE
        guest.g.map(page, page, flags(permissions))
    assert only(guest, access) is None


@pytest.mark.parametrize("line", ["lw a0, (a1)", "sw a0, (a1)"])
@pytest.mark.parametrize("permissions", ["vruad", "vrua", "vrxuad", "vrwxua"])
def test_update_of_a_guest_pte_needs_write(line: str, permissions: str) -> None:
    """With henvcfg.ADUE the update of A or D is a write: 0x3020 where the G-stage forbids it.

    Under Svade in the G-stage D must be set; menvcfg.ADUE=0 would switch henvcfg's off, so D=0 is
    updated by the hart in the G-stage PTE instead.
    """
    guest = Guest(menvcfg=ADUE(1), henvcfg=ADUE(1))
    guest.map(vs=flags("vrw"))
    slot = guest.vs.slot(GVA)
    guest.g.map(slot & PAGE, slot & PAGE, flags(permissions))
    trap = guest.bench.step(line, VS, a1=GVA + 4)
    if "w" in permissions:
        assert trap is None
        assert guest.bench.peek(guest.g.slot(slot)) & 0xFF == flags(permissions + "d")
        return
    assert trap is not None
    assert (trap.cause, trap.tval, trap.tval2) == (
        23 if line.startswith("s") else 21,
        GVA + 4,
        slot >> 2,
    )
    assert (trap.tinst, trap.gva) == (WRITE, True)
    assert guest.bench.peek(slot) & 0xFF == flags("vrw")


def test_no_update_no_write() -> None:
    """With A and D already set the VS-level PTE is only read."""
    guest = Guest(menvcfg=ADUE(1), henvcfg=ADUE(1))
    guest.map()
    slot = guest.vs.slot(GVA)
    guest.g.map(slot & PAGE, slot & PAGE, flags("vruad"))
    assert guest.bench.step("sw a0, (a1)", VS, a1=GVA) is None


def test_gstage_updates_for_table_reads() -> None:
    """menvcfg.ADUE: reading a VS-level PTE sets A, not D, in the G-stage PTE of its page."""
    guest = Guest(menvcfg=ADUE(1))
    guest.map()
    page = guest.vs.slot(GVA) & PAGE
    slot = guest.g.map(page, page, flags("vrwxu"))
    assert guest.bench.step("lw a0, (a1)", VS, a1=GVA) is None
    assert guest.bench.peek(slot) & 0xFF == flags("vrwxua")


@pytest.mark.parametrize("access", ACCESSES, ids=str)
@pytest.mark.parametrize("g", [SV39, SV48], ids=str)
def test_table_address_too_wide(access: Access, g: Scheme) -> None:
    """A VS-level pointer beyond the G-stage's width is an implicit access's guest-page fault."""
    guest = Guest(g=g)
    gpa = 1 << g.width + 2
    guest.vs.map(GVA, GPA)
    guest.bench.poke(guest.vs.slot(GVA, 1), pte(gpa, PTE_V))
    trap = only(guest, access)
    assert trap is not None
    assert (trap.cause, trap.tval, trap.tinst) == (access.guest_page, GVA, READ)
    assert trap.tval2 == gpa + 8 * (GVA >> 12 & 0x1FF) >> 2


@pytest.mark.parametrize("access", ACCESSES, ids=str)
def test_table_in_no_memory(access: Access) -> None:
    """The G-stage maps the table's page, but to nothing: an access fault, tval2 zero."""
    guest = Guest()
    guest.map()
    page = guest.vs.slot(GVA) & PAGE
    guest.g.map(page, NOWHERE, U_ALL)
    trap = only(guest, access)
    assert trap is not None
    assert (trap.cause, trap.tval, trap.tval2, trap.gva) == (access.fault, GVA, 0, True)


@pytest.mark.parametrize("access", ACCESSES, ids=str)
def test_gstage_table_in_no_memory(access: Access) -> None:
    """A G-stage PTE that cannot be read is an access fault of the original access."""
    guest = Guest()
    guest.vs.map(GVA, GPA)
    guest.bench.poke(guest.g.slot(GPA, 1), pte(NOWHERE, PTE_V))
    trap = only(guest, access)
    assert trap is not None
    assert (trap.cause, trap.tval, trap.tval2, trap.gva) == (access.fault, GVA, 0, True)


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_root_address_of_each_scheme(scheme: Scheme) -> None:
    """tval2 for the first PTE read: the root's own guest physical address, at the right index."""
    guest = Guest(vs=scheme)
    guest.map()
    root = 0x20_0000
    guest.bench.set(vsatp=scheme.mode << 60 | root >> 12)
    guest.bench.look_as(VS)
    trap = guest.bench.step("lw a0, (a1)", a1=GVA)
    assert trap is not None
    index = GVA >> 12 + 9 * (scheme.levels - 1) & 0x1FF
    assert (trap.cause, trap.tval2, trap.tinst) == (21, root + 8 * index >> 2, READ)


@pytest.mark.parametrize(
    ("line", "cause"), [("hlv.w a0, (a1)", 21), ("hlvx.wu a0, (a1)", 21), ("hsv.w a0, (a1)", 23)]
)
def test_implicit_fault_of_hypervisor_access(line: str, cause: int) -> None:
    """The pseudoinstruction also when the original access is an HLV, HLVX or HSV from HS-mode."""
    guest = Guest(hstatus=0x100, medeleg=ONES)
    guest.map()
    slot = guest.vs.slot(GVA)
    guest.g.map(slot & PAGE, slot & PAGE, flags("vrwad"))
    trap = guest.bench.step(line, HS, a1=GVA)
    assert trap is not None
    assert (trap.to, trap.cause, trap.tval, trap.tval2, trap.tinst) == (
        "HS",
        cause,
        GVA,
        slot >> 2,
        READ,
    )


def test_misaligned_access_with_implicit_fault_on_its_second_page() -> None:
    """tval is the portion whose translation failed."""
    guest = Guest()
    first, second = GVA + 0x1F_F000, GVA + 0x20_0000  # in different tables of the last level
    guest.map(first)
    guest.map(second, GPA + 0x1000)
    slot = guest.vs.slot(second)
    guest.g.map(slot & PAGE, slot & PAGE, 0)
    trap = guest.bench.step("ld a0, (a1)", VS, a1=second - 3)
    assert trap is not None
    assert (trap.cause, trap.tval, trap.tval2, trap.tinst) == (21, second, slot >> 2, READ)


def test_explicit_fault_with_readable_tables_is_no_pseudoinstruction() -> None:
    guest = Guest()
    guest.map(g=flags("vrwxad"), target=DATA)
    trap = guest.bench.step("lw a0, (a1)", VS, a1=GVA)
    assert trap is not None
    assert trap.tinst & 3 == 3
