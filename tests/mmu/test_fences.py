"""Memory-management fences really order: change a PTE, fence, observe.

Supervisor chapter, "Supervisor Memory-Management Fence Instruction"; hypervisor chapter,
"Hypervisor Memory-Management Fence Instructions" and "Memory-Management Fences"; Svinval.
What a fence need not invalidate is never tested: over-fencing is always legal.
"""

from __future__ import annotations

import pytest

from mmu.guest import GPA, GVA, Guest
from mmu.rules import FETCH, HLV, LOAD, STORE, Access
from privileged.bench import CODE, DATA, Bench
from privileged.manual import (
    ADUE,
    H_SPVP,
    HS,
    MXR,
    ONES,
    PBMTE,
    PTE_V,
    S_ALL,
    SUM,
    U_ALL,
    VS,
    Field,
    M,
    Mode,
    U,
    flags,
    pbmt,
)
from privileged.pages import SV48, Table, page_size, pte

OLD, NEW = DATA, DATA + 0x1000  # physical pages, told apart by their first word
OLD_INSN, NEW_INSN = 0x0010_0513, 0x0020_0513  # addi a0, x0, 1 and 2
VA = 0x10_0000_0000
ASID, VMID = 0x1234, 0x2345


def fill(bench: Bench) -> None:
    bench.poke(OLD, OLD_INSN, 4)
    bench.poke(NEW, NEW_INSN, 4)


class OneStage:
    """HS-mode on an Sv39 table with an ASID; the code is mapped in the same table."""

    def __init__(self, asid: int = ASID):
        self.bench = Bench()
        fill(self.bench)
        self.table = Table(self.bench)
        self.table.map(CODE, CODE)
        self.bench.set(satp=self.table.atp(asid))

    def see(self, address: int = VA, access: Access = LOAD, mode: Mode = HS) -> int | None:
        """Which page is behind an address: 1 or 2, or None for a fault."""
        return look(self.bench, address, access, mode)

    def fence(self, line: str, mode: Mode, **registers: int) -> None:
        run_fence(self.bench, line, mode, **registers)


def look(bench: Bench, address: int, access: Access, mode: Mode) -> int | None:
    bench.regs(a0=0)
    if access is FETCH:
        trap = bench.step(None, mode, pc=address)
        return None if trap else bench.x("a0")
    if access is STORE:
        before = [bench.peek(page, 4) for page in (OLD, NEW)]
        trap = bench.step("sw a2, (a1)", mode, a1=address, a2=0x77)
        after = [bench.peek(page, 4) for page in (OLD, NEW)]
        fill(bench)
        return None if trap else 1 + (before[0] == after[0])
    trap = bench.step(access.line, mode, a1=address)
    return None if trap else {OLD_INSN: 1, NEW_INSN: 2}[bench.x("a0")]


def run_fence(bench: Bench, line: str, mode: Mode, **registers: int) -> None:
    """A fence, or Svinval's sequence SFENCE.W.INVAL, xINVAL, SFENCE.INVAL.IR."""
    lines = ["sfence.w.inval", line, "sfence.inval.ir"] if "inval" in line else [line]
    for part in lines:
        assert bench.step(part, mode, **registers) is None, part


LEAF, POINTER, GLOBAL = "leaf", "pointer", "global"
#: operands -> the changes that the fence must order ("depends on rs1 and rs2 as follows")
OPERANDS = [
    ("x0, x0", (LEAF, POINTER, GLOBAL)),
    ("x0, a3", (LEAF, POINTER)),
    ("a2, x0", (LEAF, GLOBAL)),
    ("a2, a3", (LEAF,)),
]
CASES = [(operands, change) for operands, changes in OPERANDS for change in changes]


def change_mapping(table: Table, address: int, change: str, bench: Bench) -> None:
    if change == POINTER:
        fresh = bench.pages()
        bench.poke(fresh + 8 * (address >> 12 & 0x1FF), pte(NEW, S_ALL))
        bench.poke(table.slot(address, 1), pte(fresh, PTE_V))
    else:
        table.map(address, NEW, S_ALL | (flags("g") if change == GLOBAL else 0))


@pytest.mark.parametrize(("operands", "change"), CASES)
@pytest.mark.parametrize("mode", [M, HS], ids=str)
@pytest.mark.parametrize("name", ["sfence.vma", "sinval.vma"])
@pytest.mark.parametrize("access", [LOAD, STORE, FETCH], ids=str)
def test_sfence_vma(operands: str, change: str, mode: Mode, name: str, access: Access) -> None:
    """rs1 may be any address in the page; bits of rs2 above the ASID are ignored."""
    bed = OneStage()
    bed.table.map(VA, OLD, S_ALL | (flags("g") if change == GLOBAL else 0))
    assert bed.see(access=access) == 1
    change_mapping(bed.table, VA, change, bed.bench)
    bed.fence(f"{name} {operands}", mode, a2=VA + 0x123, a3=ASID | 5 << 16)
    assert bed.see(access=access) == 2


@pytest.mark.parametrize(("operands", "change"), CASES)
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *[(name, VS) for name in ("sfence.vma", "sinval.vma")],
        *[(name, mode) for name in ("hfence.vvma", "hinval.vvma") for mode in (M, HS)],
    ],
    ids=str,
)
def test_fences_of_the_vs_stage(operands: str, change: str, name: str, mode: Mode) -> None:
    """SFENCE.VMA in VS, HFENCE.VVMA in HS or M: VS-stage translation of the current VMID."""
    guest = Guest(VS)
    fill(guest.bench)
    guest.bench.set(vsatp=guest.vs.atp(ASID), hgatp=guest.g.atp(VMID))
    guest.vs.map(VA, OLD, S_ALL | (flags("g") if change == GLOBAL else 0))
    assert look(guest.bench, VA, LOAD, VS) == 1
    change_mapping(guest.vs, VA, change, guest.bench)
    run_fence(guest.bench, f"{name} {operands}", mode, a2=VA + 0x123, a3=ASID | 5 << 16)
    assert look(guest.bench, VA, LOAD, VS) == 2


@pytest.mark.parametrize("operands", ["x0, x0", "x0, a3", "a2, x0", "a2, a3"])
@pytest.mark.parametrize("name", ["hfence.gvma", "hinval.gvma"])
@pytest.mark.parametrize("mode", [M, HS], ids=str)
@pytest.mark.parametrize("vs", ["bare", "paged"])
def test_hfence_gvma(operands: str, name: str, mode: Mode, vs: str) -> None:
    """G-stage leaves: rs1 is a guest physical address shifted right by 2, rs2 a VMID."""
    guest = Guest(VS)
    fill(guest.bench)
    guest.bench.set(hgatp=guest.g.atp(VMID), vsatp=0 if vs == "bare" else guest.vs.atp(ASID))
    guest.map(GVA, GPA, OLD)
    address = GPA if vs == "bare" else GVA
    assert look(guest.bench, address, LOAD, VS) == 1
    guest.g.map(GPA, NEW)
    run_fence(guest.bench, f"{name} {operands}", mode, a2=GPA + 0x123 >> 2, a3=VMID | 3 << 14)
    assert look(guest.bench, address, LOAD, VS) == 2


@pytest.mark.parametrize("operands", ["x0, x0", "x0, a3"])
def test_hfence_gvma_after_a_pointer(operands: str) -> None:
    """A G-stage pointer changed: rs1=x0 is what orders it."""
    guest = Guest(VS)
    fill(guest.bench)
    guest.map(GVA, GPA, OLD)
    assert look(guest.bench, GVA, LOAD, VS) == 1
    fresh = guest.bench.pages()
    guest.bench.poke(fresh + 8 * (GPA >> 12 & 0x1FF), pte(NEW, U_ALL))
    guest.bench.poke(guest.g.slot(GPA, 1), pte(fresh, PTE_V))
    run_fence(guest.bench, f"hfence.gvma {operands}", HS, a3=0)
    assert look(guest.bench, GVA, LOAD, VS) == 2


def test_hfence_gvma_moves_the_guests_tables() -> None:
    """The page of a VS-level table moves in the G-stage: translations through it change as well."""
    guest = Guest(VS)
    fill(guest.bench)
    guest.vs.map(VA, OLD)
    assert look(guest.bench, VA, LOAD, VS) == 1
    page, fresh = guest.vs.slot(VA) & ~0xFFF, guest.bench.pages()
    guest.bench.poke(fresh + 8 * (VA >> 12 & 0x1FF), pte(NEW, S_ALL))
    guest.g.map(page, fresh)
    run_fence(guest.bench, "hfence.gvma x0, x0", HS)
    assert look(guest.bench, VA, LOAD, VS) == 2


@pytest.mark.parametrize("access", [LOAD, STORE, FETCH], ids=str)
@pytest.mark.parametrize("level", [1, 2])
def test_sfence_of_any_address_in_a_superpage(access: Access, level: int) -> None:
    """rs1 names the leaf PTE: every address that the superpage maps is ordered with it."""
    bed = OneStage()
    base = 4 * page_size(2)
    bed.table.map(base, 0x8000_0000, S_ALL, level)
    inside = base + OLD - 0x8000_0000
    assert bed.see(inside, access) == 1
    bed.bench.poke(bed.table.slot(base, level), 0)
    bed.fence("sfence.vma a2, x0", HS, a2=base + page_size(level) - 0x1000)
    assert bed.see(inside, access) is None


def test_hfence_gvma_of_any_address_in_a_superpage() -> None:
    guest = Guest(VS)
    fill(guest.bench)
    base = GPA + page_size(2)
    guest.g.map(base, 0x8000_0000, U_ALL, 1)
    guest.vs.map(GVA, base + OLD - 0x8000_0000)
    assert look(guest.bench, GVA, LOAD, VS) == 1
    guest.bench.poke(guest.g.slot(base, 1), 0)
    run_fence(guest.bench, "hfence.gvma a2, x0", HS, a2=base + page_size(1) - 0x1000 >> 2)
    assert look(guest.bench, GVA, LOAD, VS) is None


@pytest.mark.parametrize(
    ("before", "after"), [("vrwxad", "vrad"), ("vrad", "vrwad"), ("vrwxad", ""), ("", "vrwxad")]
)
def test_permissions_after_a_fence(before: str, after: str) -> None:
    bed = OneStage()
    bed.table.map(VA, OLD, flags(before))
    for text in (before, after):
        bed.table.map(VA, OLD, flags(text))
        bed.fence("sfence.vma a2, x0", HS, a2=VA)
        assert bed.see(access=LOAD) == (1 if "r" in text else None)
        assert bed.see(access=STORE) == (1 if "w" in text else None)
        assert bed.see(access=FETCH) == (1 if "x" in text else None)


# Without any fence


def test_asids_keep_address_spaces_apart() -> None:
    """Changes to satp.ASID take effect immediately; each space keeps its own translations."""
    bed = OneStage(asid=1)
    bed.table.map(VA, OLD)
    other = Table(bed.bench)
    other.map(CODE, CODE)
    other.map(VA, NEW)
    first, second = bed.table.atp(1), other.atp(2)
    for satp, page in ((first, 1), (second, 2), (first, 1), (second, 2)):
        bed.bench.set(satp=satp)
        for access in (LOAD, STORE, FETCH):
            assert bed.see(access=access) == page


def test_vmids_and_guest_asids_keep_address_spaces_apart() -> None:
    """The effective ASID of a guest is its VMID with its own ASID."""
    guest = Guest(VS)
    fill(guest.bench)
    other_vs, other_g = Table(guest.bench), Table(guest.bench, gstage=True)
    other_vs.map(CODE, CODE)
    guest.map(GVA, GPA, OLD)
    other_vs.map(GVA, GPA + 0x1000)
    guest.g.map(GPA + 0x1000, NEW)
    other_g.identity(0x8000_0000, 16 << 20)
    other_g.map(GPA, NEW)
    other_g.map(GPA + 0x1000, OLD)
    for _ in range(2):
        for vs, asid, g, vmid, page in (
            (guest.vs, 1, guest.g, 1, 1),
            (other_vs, 2, guest.g, 1, 2),
            (guest.vs, 1, other_g, 2, 2),
            (other_vs, 2, other_g, 2, 1),
        ):
            guest.bench.set(vsatp=0, hgatp=g.atp(vmid))
            guest.bench.set(vsatp=vs.atp(asid))
            for access in (LOAD, STORE, FETCH):
                assert look(guest.bench, GVA, access, VS) == page


def test_hs_and_vs_translations_do_not_mix() -> None:
    """The same virtual address and ASID in HS and in VS are two translations."""
    guest = Guest(VS)
    fill(guest.bench)
    hs = Table(guest.bench)
    hs.map(CODE, CODE)
    hs.map(GVA, NEW)
    guest.map(GVA, GPA, OLD)
    guest.bench.set(satp=hs.atp())
    for _ in range(2):
        assert look(guest.bench, GVA, LOAD, VS) == 1
        assert look(guest.bench, GVA, LOAD, HS) == 2
        guest.bench.set(hstatus=H_SPVP(1))
        assert look(guest.bench, GVA, HLV, HS) == 1


def test_bare_and_paged_take_effect_at_once() -> None:
    """Changing satp.MODE from Bare to other modes and vice versa needs no fence."""
    bed = OneStage()
    bed.table.map(OLD, NEW)
    paged = bed.bench.get("satp")
    for satp, page in ((paged, 2), (0, 1), (paged, 2), (0, 1)):
        bed.bench.set(satp=satp)
        for access in (LOAD, STORE, FETCH):
            assert bed.see(OLD, access) == page


@pytest.mark.parametrize(
    ("control", "text", "access"),
    [
        (SUM, "vrwuad", LOAD),
        (SUM, "vrwuad", STORE),
        (MXR, "vxad", LOAD),
    ],
)
def test_sum_and_mxr_take_effect_at_once(control: Field, text: str, access: Access) -> None:
    """Changes to SUM and MXR take effect immediately, without an SFENCE.VMA."""
    bed = OneStage()
    bed.table.map(VA, OLD, flags(text))
    for on in (0, 1, 0, 1):
        bed.bench.set(mstatus=control(on))
        assert bed.see(access=access) == (1 if on else None)


@pytest.mark.parametrize(
    ("csr", "control", "vs", "g"),
    [
        ("vsstatus", SUM, "vruad", "vruad"),
        ("vsstatus", MXR, "vxad", "vruad"),
        ("mstatus", MXR, "vxad", "vruad"),
        ("mstatus", MXR, "vrad", "vxuad"),
    ],
)
def test_guest_sum_and_mxr_take_effect_at_once(csr: str, control: Field, vs: str, g: str) -> None:
    guest = Guest(VS, hstatus=H_SPVP(1))
    fill(guest.bench)
    guest.map(GVA, GPA, OLD, vs=flags(vs), g=flags(g))
    for on in (0, 1, 0, 1):
        guest.bench.set(**{csr: control(on)})
        assert look(guest.bench, GVA, LOAD, VS) == (1 if on else None)
        assert look(guest.bench, GVA, HLV, HS) == (1 if on else None)


def test_privilege_takes_effect_at_once() -> None:
    """A translation used by S-mode is not one for U-mode, and the reverse (MPRV shows it)."""
    bed = OneStage()
    bed.table.map(VA, OLD, flags("vrwad"))
    bed.table.map(VA + 0x1000, OLD, flags("vrwuad"))
    for privilege in (1, 0, 1, 0):
        bed.bench.look_as(HS if privilege else U)
        assert (bed.see(mode=M) == 1) == (privilege == 1)
        assert (bed.see(VA + 0x1000, mode=M) == 1) == (privilege == 0)


def test_spvp_takes_effect_at_once() -> None:
    guest = Guest(VS)
    fill(guest.bench)
    guest.map(GVA, GPA, OLD, vs=flags("vrad"))
    for spvp in (1, 0, 1):
        guest.bench.set(hstatus=H_SPVP(spvp))
        assert look(guest.bench, GVA, HLV, HS) == (1 if spvp else None)


def test_dirty_bit_is_set_by_the_first_store() -> None:
    """A load that set A must not hide that a later store has to set D."""
    bed = OneStage()
    bed.bench.set(menvcfg=ADUE(1))
    slot = bed.table.map(VA, OLD, flags("vrwx"))
    for access, expected in ((FETCH, "a"), (LOAD, "a"), (STORE, "ad")):
        assert bed.see(access=access) == 1
        assert bed.bench.peek(slot) & 0xC0 == flags(expected)


def test_dirty_bits_of_both_stages_are_set_by_the_first_store() -> None:
    guest = Guest(VS, menvcfg=ADUE(1), henvcfg=ADUE(1))
    fill(guest.bench)
    guest.map(GVA, GPA, OLD, vs=flags("vrw"), g=flags("vrwu"))
    for access, expected in ((LOAD, "a"), (STORE, "ad")):
        assert look(guest.bench, GVA, access, VS) == 1
        assert guest.bench.peek(guest.vs.slot(GVA)) & 0xC0 == flags(expected)
        assert guest.bench.peek(guest.g.slot(GPA)) & 0xC0 == flags(expected)


# Configuration that a fence synchronizes


def test_envcfg_after_a_fence() -> None:
    """After changing menvcfg.ADUE or PBMTE an SFENCE.VMA x0, x0 suffices."""
    bed = OneStage()
    bed.table.map(VA, OLD, flags("vrwx"))
    bed.table.map(VA + 0x1000, OLD, S_ALL | pbmt(1))
    for adue, pbmte in ((0, 0), (1, 1), (0, 0)):
        bed.table.map(VA, OLD, flags("vrwx"))
        bed.bench.set(menvcfg=ADUE(adue) | PBMTE(pbmte))
        bed.fence("sfence.vma x0, x0", M)
        assert bed.see() == (1 if adue else None)
        assert bed.see(VA + 0x1000) == (1 if pbmte else None)


def test_pmp_after_a_fence() -> None:
    """After PMP writes SFENCE.VMA x0, x0 orders HS-level translations, HFENCE.GVMA guests'."""
    guest = Guest(VS)
    fill(guest.bench)
    hs = Table(guest.bench)
    hs.map(CODE, CODE)
    hs.map(VA, OLD)
    guest.map(GVA, GPA, OLD)
    guest.bench.set(satp=hs.atp())
    for config in (0x1F, 0x18, 0x19, 0x1F):
        guest.bench.set(pmpaddr0=OLD >> 2 | 0x1FF, pmpaddr1=ONES, pmpcfg0=0x1F00 | config)
        run_fence(guest.bench, "sfence.vma x0, x0", M)
        run_fence(guest.bench, "hfence.gvma x0, x0", M)
        assert look(guest.bench, VA, LOAD, HS) == (1 if config & 1 else None)
        assert look(guest.bench, GVA, LOAD, VS) == (1 if config & 1 else None)
        assert look(guest.bench, VA, STORE, HS) == (1 if config & 2 else None)
        assert look(guest.bench, GVA, STORE, VS) == (1 if config & 2 else None)


def test_hgatp_mode_after_a_fence() -> None:
    """A changed hgatp.MODE for a VMID is ordered by HFENCE.GVMA with rs1=x0."""
    guest = Guest(VS)
    fill(guest.bench)
    guest.vs.map(GVA, OLD)
    wide = Table(guest.bench, SV48, gstage=True)
    wide.identity(0x8000_0000, 16 << 20)
    wide.bench.poke(wide.slot(OLD, 1), 0)
    wide.fill(OLD & ~0x1F_FFFF, U_ALL)
    wide.map(OLD, NEW)
    for hgatp, page in ((guest.g.atp(), 1), (wide.atp(), 2), (0, 1), (guest.g.atp(), 1)):
        guest.bench.set(hgatp=hgatp)
        run_fence(guest.bench, "hfence.gvma x0, x0", HS)
        assert look(guest.bench, GVA, LOAD, VS) == page


def test_fence_of_an_invalid_address_does_nothing() -> None:
    """If rs1 holds no valid virtual address, SFENCE.VMA has no effect and raises nothing."""
    bed = OneStage()
    bed.table.map(VA, OLD)
    for address in (1 << 63, 1 << 40, ONES):
        bed.fence("sfence.vma a2, x0", HS, a2=address)
        assert bed.see() == 1
