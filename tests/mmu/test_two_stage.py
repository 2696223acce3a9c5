"""Two-stage translation: which stage stops an access, and what the trap tells.

Hypervisor chapter, "Two-Stage Address Translation", "Guest-Page Faults", "Trap Entry".
"""

from __future__ import annotations

import itertools

import pytest

from asm import asm
from mmu.guest import GPA, GVA, NOP, Guest, transformed
from mmu.rules import ACCESSES, FETCH, GUEST_ACCESSES, HLV, HLVX, HSV, LOAD, Access, View, leaf
from privileged.bench import DATA, NOWHERE, RAM, Trap
from privileged.manual import (
    ADUE,
    H_HU,
    H_SPV,
    H_SPVP,
    HS,
    MPP,
    MPRV,
    MXR,
    ONES,
    SUM,
    U_ALL,
    VS,
    VU,
    Cause,
    M,
    Mode,
    U,
    flags,
)
from privileged.pages import SCHEMES, SV39, Scheme

#: VS-stage and G-stage leaf flags that differ in what they permit
VS_KINDS = [
    "",
    "rad",
    "vwad",
    "vrad",
    "vrwad",
    "vxad",
    "vrxad",
    "vrwxad",
    "vrwxd",
    "vrwxa",
    "vruad",
    "vrwuad",
    "vxuad",
    "vrxuad",
    "vrwxuad",
    "vrwxua",
    "vrwxgad",
]
G_KINDS = [
    "",
    "ruad",
    "vwuad",
    "vrwxad",
    "vruad",
    "vrwuad",
    "vxuad",
    "vrxuad",
    "vrwxuad",
    "vrwxud",
    "vrwxua",
    "vrwxugad",
]
PAIRS = list(itertools.product(range(len(VS_KINDS)), range(len(G_KINDS))))


def lay_out(guest: Guest) -> None:
    """One guest physical page for each G kind, one guest virtual page for each pair of kinds."""
    for j, g in enumerate(G_KINDS):
        guest.g.map(GPA + (j << 12), DATA, flags(g))
    for i, j in PAIRS:
        guest.vs.map(address(i, j), GPA + (j << 12), flags(VS_KINDS[i]))


def address(i: int, j: int) -> int:
    return GVA + (i << 16) + (j << 12)


def judge(guest: Guest, access: Access, view: View, mxr: bool, encoding: int) -> None:
    """Every pair of kinds against the rules: first the VS-stage, then the G-stage as a user."""
    for i, j in PAIRS:
        gva, gpa = address(i, j), GPA + (j << 12)
        trap = guest.access(access, gva)
        where = f"VS={VS_KINDS[i]!r} G={G_KINDS[j]!r}: {trap}"
        if leaf(flags(VS_KINDS[i]), access, view) is None:
            assert trap is not None, where
            assert (trap.cause, trap.tval, trap.tval2) == (access.page, gva, 0), where
            assert trap.tinst in (0, encoding), where
        elif leaf(flags(G_KINDS[j]), access, View(user=True, mxr=mxr)) is None:
            assert trap is not None, where
            assert (trap.cause, trap.tval, trap.tval2) == (access.guest_page, gva, gpa >> 2), where
            assert trap.tinst == encoding, where
        else:
            assert trap is None, where
        assert trap is None or trap.gva, where


def encoding_of(access: Access) -> int:
    return 0 if access is FETCH else transformed(asm(access.line))


@pytest.mark.parametrize("access", ACCESSES, ids=str)
@pytest.mark.parametrize("mode", [VS, VU], ids=str)
@pytest.mark.parametrize(("vs_mxr", "mxr"), [(0, 0), (1, 0), (0, 1)])
def test_every_pair_of_leaves(access: Access, mode: Mode, vs_mxr: int, mxr: int) -> None:
    """vsstatus.MXR counts in the VS-stage only, mstatus.MXR in both; the G-stage needs U."""
    guest = Guest(mode, mstatus=MXR(mxr), vsstatus=MXR(vs_mxr))
    lay_out(guest)
    judge(guest, access, View(mode == VU, mxr=bool(vs_mxr or mxr)), bool(mxr), encoding_of(access))


@pytest.mark.parametrize("access", ACCESSES, ids=str)
@pytest.mark.parametrize(("vs_sum", "hs_sum"), [(1, 0), (0, 1)])
def test_sum_is_of_vsstatus(access: Access, vs_sum: int, hs_sum: int) -> None:
    """In VS-mode vsstatus.SUM applies, not the HS-level SUM."""
    guest = Guest(VS, mstatus=SUM(hs_sum), vsstatus=SUM(vs_sum))
    lay_out(guest)
    judge(guest, access, View(False, sum=bool(vs_sum)), False, encoding_of(access))


@pytest.mark.parametrize("access", GUEST_ACCESSES, ids=str)
@pytest.mark.parametrize("spvp", [0, 1])
@pytest.mark.parametrize(
    ("vs_sum", "hs_sum", "vs_mxr", "mxr"),
    [
        (0, 0, 0, 0),
        (1, 0, 0, 0),
        (0, 1, 0, 0),
        (0, 0, 1, 0),
        (0, 0, 0, 1),
    ],
)
def test_hypervisor_loads_and_stores(
    access: Access, spvp: int, vs_sum: int, hs_sum: int, vs_mxr: int, mxr: int
) -> None:
    """HLV, HLVX, HSV: as VU or VS by SPVP; sstatus.SUM is ignored; HLVX needs X."""
    guest = Guest(
        VS, mstatus=SUM(hs_sum) | MXR(mxr), vsstatus=SUM(vs_sum) | MXR(vs_mxr), hstatus=H_SPVP(spvp)
    )
    lay_out(guest)
    judge(
        guest,
        access,
        View(not spvp, bool(vs_sum), bool(vs_mxr or mxr)),
        bool(mxr),
        encoding_of(access),
    )


@pytest.mark.parametrize("mode", [M, HS, U], ids=str)
@pytest.mark.parametrize("spvp", [0, 1])
@pytest.mark.parametrize("access", GUEST_ACCESSES, ids=str)
def test_hypervisor_access_ignores_its_own_mode(mode: Mode, spvp: int, access: Access) -> None:
    """SPVP decides, in M, HS and (HU=1) U alike, and MPRV does not matter."""
    for mprv in (0, 1) if mode == M else (0,):
        guest = Guest(VS, hstatus=H_SPVP(spvp) | H_HU(1), mstatus=MPRV(mprv) | MPP(3))
        guest.map(GVA, vs=flags("vrwxad"))
        guest.map(GVA + 0x1000, vs=flags("vrwxuad"))
        for page, permitted in ((0, spvp == 1), (1, spvp == 0)):
            trap = guest.bench.step(access.line, mode, a1=GVA + page * 0x1000, a2=NOP)
            assert (trap is None) == permitted
            assert trap is None or (trap.cause, trap.gva) == (access.page, True)


HLV_VALUES = {
    "hlv.b": 0xFFFF_FFFF_FFFF_FF88,
    "hlv.bu": 0x88,
    "hlv.h": 0xFFFF_FFFF_FFFF_8788,
    "hlv.hu": 0x8788,
    "hlv.w": 0xFFFF_FFFF_8586_8788,
    "hlv.wu": 0x8586_8788,
    "hlv.d": 0x8182_8384_8586_8788,
    "hlvx.hu": 0x8788,
    "hlvx.wu": 0x8586_8788,
}


@pytest.mark.parametrize("name", HLV_VALUES)
def test_hypervisor_load_values(name: str) -> None:
    """For every RV64I load there is a virtual-machine load, of the same width and extension."""
    guest = Guest(hstatus=H_SPVP(1))
    guest.map()
    guest.bench.poke(DATA, 0x8182_8384_8586_8788)
    assert guest.bench.step(f"{name} a0, (a1)", HS, a1=GVA) is None
    assert guest.bench.x("a0") == HLV_VALUES[name]


@pytest.mark.parametrize(("name", "size"), [("hsv.b", 1), ("hsv.h", 2), ("hsv.w", 4), ("hsv.d", 8)])
def test_hypervisor_store_values(name: str, size: int) -> None:
    guest = Guest(hstatus=H_SPVP(1))
    guest.map()
    guest.bench.poke(DATA, 0)
    assert guest.bench.step(f"{name} a0, (a1)", HS, a1=GVA, a0=0x8182_8384_8586_8788) is None
    assert guest.bench.peek(DATA) == 0x8182_8384_8586_8788 & (1 << 8 * size) - 1


@pytest.mark.parametrize("mode", [VS, VU, HS, U], ids=str)
@pytest.mark.parametrize("access", [LOAD, HLV], ids=str)
def test_mprv_with_mpv(mode: Mode, access: Access) -> None:
    """MPRV=1: accesses act as though V were MPV and the privilege MPP ("Effect of MPRV")."""
    guest = Guest(VS, hstatus=H_SPVP(1))
    guest.map(GVA, vs=flags("vrwad"))
    guest.map(GVA + 0x1000, vs=flags("vrwuad"))
    bench = guest.bench
    bench.look_as(mode)
    for page in (0, 1):
        trap = bench.step(access.line, M, a1=GVA + page * 0x1000)
        if access is HLV:  # unaffected: as VS by SPVP
            assert (trap is None) == (page == 0)
        elif mode.virtual:
            assert (trap is None) == (page == (1 if mode == VU else 0))
            assert trap is None or (trap.cause, trap.gva) == (Cause.LOAD_PAGE, True)
        else:  # satp is Bare: GVA is a physical address without memory
            assert trap is not None and (trap.cause, trap.gva) == (Cause.LOAD_ACCESS, False)


@pytest.mark.parametrize("mode", [VS, VU], ids=str)
@pytest.mark.parametrize(("vs_mxr", "mxr"), [(0, 0), (1, 0), (0, 1)])
def test_mprv_with_mpv_and_mxr(mode: Mode, vs_mxr: int, mxr: int) -> None:
    """ "Effect of MPRV", MPV=1: HS-level MXR for both stages, vsstatus.MXR for its own."""
    guest = Guest(mode, vsstatus=MXR(vs_mxr))
    user = flags("u") if mode == VU else 0
    guest.map(GVA, vs=flags("vxad") | user, g=flags("vruad"))
    guest.map(GVA + 0x1000, GPA + 0x1000, vs=flags("vrad") | user, g=flags("vxuad"))
    guest.bench.set(mstatus=MXR(mxr))
    guest.bench.look_as(mode)
    first = guest.bench.step(LOAD.line, M, a1=GVA)
    second = guest.bench.step(LOAD.line, M, a1=GVA + 0x1000)
    assert (first is None) == bool(vs_mxr or mxr)
    assert (second is None) == bool(mxr)
    assert first is None or first.cause == Cause.LOAD_PAGE
    assert second is None or (second.cause, second.tval2) == (
        Cause.LOAD_GUEST_PAGE,
        GPA + 0x1000 >> 2,
    )


# Each scheme with each


@pytest.mark.parametrize("vs", [None, *SCHEMES], ids=str)
@pytest.mark.parametrize("g", [None, *SCHEMES], ids=str)
def test_schemes_combine(vs: Scheme | None, g: Scheme | None) -> None:
    """vsatp and hgatp choose their schemes (or Bare) independently."""
    guest = Guest(VS, vs or SV39, g or SV39)
    gpa = DATA if g is None else GPA + 0x5000
    guest.vs.map(GVA, gpa)
    if g is not None:
        guest.g.map(gpa, DATA)
    if vs is None:
        guest.bench.set(vsatp=0)
    if g is None:
        guest.bench.set(hgatp=0)
    guest.bench.poke(DATA + 8, 0x66, 4)
    assert guest.access(LOAD, gpa + 8 if vs is None else GVA + 8) is None
    assert guest.bench.x("a0") == 0x66


@pytest.mark.parametrize(
    "g", SCHEMES[:2], ids=str
)  # a PTE's ppn gives 56 bits, which fit in Sv57x4
@pytest.mark.parametrize("access", ACCESSES, ids=str)
def test_guest_physical_address_too_wide(g: Scheme, access: Access) -> None:
    """Bits above the scheme's 41, 50 or 59 must be zero, or else a guest-page fault."""
    guest = Guest(VS, g=g)
    gpa = 1 << g.width + 2
    guest.vs.map(GVA, gpa)
    trap = guest.access(access, GVA + 0x10)
    assert trap is not None
    assert (trap.cause, trap.tval, trap.tval2) == (access.guest_page, GVA + 0x10, gpa + 0x10 >> 2)
    assert trap.tinst == encoding_of(access)


@pytest.mark.parametrize("access", ACCESSES, ids=str)
def test_guest_physical_memory_that_is_not_there(access: Access) -> None:
    """Both stages succeed, the physical address leads nowhere: an access fault, with GVA=1."""
    guest = Guest()
    guest.map(target=NOWHERE)
    trap = guest.access(access, GVA + 0x10)
    assert trap is not None
    assert (trap.cause, trap.tval, trap.tval2, trap.gva) == (access.fault, GVA + 0x10, 0, True)
    assert trap.tinst in (0, encoding_of(access))


@pytest.mark.parametrize(
    ("target", "tval2", "tinst"), [(HS, "htval", "htinst"), (M, "mtval2", "mtinst")], ids=str
)
@pytest.mark.parametrize("access", ACCESSES, ids=str)
def test_guest_page_fault_in_each_handler(
    target: Mode, tval2: str, tinst: str, access: Access
) -> None:
    """Taken in M or, by medeleg, in HS; never further (hedeleg is read-only zero)."""
    guest = Guest(VU, medeleg=ONES if target == HS else 0, hedeleg=ONES)
    guest.map(g=flags("vrwxad"))
    trap = guest.access(access, GVA + 0x18)
    assert trap is not None
    assert (trap.to, trap.cause) == (target.name, access.guest_page)
    assert guest.bench.get(tval2) == GPA + 0x18 >> 2
    assert guest.bench.get(tinst) == encoding_of(access)
    if target == HS:
        assert guest.bench.get("hstatus") & 0x1C0 == 0x0C0  # GVA and SPV set, SPVP the guest's U


@pytest.mark.parametrize("access", ACCESSES, ids=str)
def test_guest_handles_its_own_page_fault(access: Access) -> None:
    """A VS-stage fault goes to the guest by hedeleg, with vstval, and V stays 1."""
    guest = Guest(VU, medeleg=ONES, hedeleg=ONES)
    guest.map(vs=flags("v"))
    trap = guest.access(access, GVA + 0x18)
    assert trap is not None
    assert (trap.to, trap.cause) == ("VS", access.page)
    assert (guest.bench.get("vstval"), guest.bench.get("vscause")) == (GVA + 0x18, access.page)


# Accesses across pages ("Guest-Page Faults": the faulting portion)


@pytest.mark.parametrize(("line", "cause"), [("ld a0, (a1)", 21), ("sd a0, (a1)", 23)])
@pytest.mark.parametrize("offset", range(1, 8))
@pytest.mark.parametrize("faulty", ["first", "second"])
def test_misaligned_guest_page_fault(line: str, cause: int, offset: int, faulty: str) -> None:
    """tval, the guest physical address and the Addr. Offset all name the faulting portion."""
    guest = Guest()
    guest.map(GVA, GPA, g=flags("vrwxad" if faulty == "first" else "vrwxuad"))
    guest.map(GVA + 0x1000, GPA + 0x7000, g=flags("vrwxad" if faulty == "second" else "vrwxuad"))
    start = GVA + 0x1000 - offset
    trap = guest.bench.step(line, VS, a1=start)
    assert trap is not None and trap.cause == cause
    if faulty == "first":
        assert (trap.tval, trap.tval2) == (start, GPA + 0x1000 - offset >> 2)
        assert trap.tinst == transformed(asm(line))
    else:
        assert (trap.tval, trap.tval2) == (GVA + 0x1000, GPA + 0x7000 >> 2)
        assert trap.tinst == transformed(asm(line), offset)


@pytest.mark.parametrize("faulty", ["first", "second"])
def test_instruction_across_guest_pages(faulty: str) -> None:
    """A nonzero htval is that of the portion of the instruction that tval names."""
    guest = Guest()
    guest.map(GVA, GPA, g=flags("vrwuad" if faulty == "first" else "vrwxuad"))
    guest.map(GVA + 0x1000, GPA + 0x7000, g=flags("vrwuad" if faulty == "second" else "vrwxuad"))
    guest.bench.poke(DATA + 0xFFE, 0x0013, 2)
    trap = guest.bench.step(None, VS, pc=GVA + 0xFFE)
    where, gpa = (GVA + 0xFFE, GPA + 0xFFE) if faulty == "first" else (GVA + 0x1000, GPA + 0x7000)
    assert trap == Trap(20, False, GVA + 0xFFE, where, gpa >> 2, 0, "M", True)


# A and D bits of both stages


@pytest.mark.parametrize("line", ["lw a0, (a1)", "sw a0, (a1)"])
@pytest.mark.parametrize(("m", "h"), [(0, 0), (1, 0), (1, 1)])
@pytest.mark.parametrize(("vs_bits", "g_bits"), list(itertools.product(("", "a", "ad"), repeat=2)))
def test_ad_bits_of_both_stages(line: str, m: int, h: int, vs_bits: str, g_bits: str) -> None:
    """Each stage follows its own ADUE; the VS-stage decides first."""
    guest = Guest(VS, menvcfg=ADUE(m), henvcfg=ADUE(h))
    vs, g = flags("vrw" + vs_bits), flags("vrwxu" + g_bits)
    guest.map(vs=vs, g=g)
    need = flags("ad") if line.startswith("s") else flags("a")
    trap = guest.bench.step(line, VS, a1=GVA)
    page, guest_page = (15, 23) if line.startswith("s") else (13, 21)
    if vs & need != need and not h:
        assert trap is not None and trap.cause == page
        return
    assert guest.bench.peek(guest.vs.slot(GVA)) & 0xFF == vs | need
    if g & need != need and not m:
        assert trap is not None and (trap.cause, trap.tval2) == (guest_page, GPA >> 2)
    else:
        assert trap is None
        assert guest.bench.peek(guest.g.slot(GPA)) & 0xFF == g | need


# HS-level translation stays out of it


def test_hs_translation_does_not_apply_to_the_guest() -> None:
    """While V=1 the HS-level satp retains its value but does not affect translation."""
    guest = Guest()
    guest.map()
    guest.bench.set(satp=8 << 60 | NOWHERE >> 12)
    assert guest.access(LOAD) is None


def test_guest_translation_does_not_apply_to_hs() -> None:
    """vsatp and hgatp do not affect HS, U and M (unless by HLV, HSV or MPRV)."""
    guest = Guest()
    guest.bench.set(vsatp=8 << 60 | NOWHERE >> 12, hgatp=8 << 60 | NOWHERE >> 12)
    for mode in (M, HS, U):
        assert guest.bench.step("lw a0, (a1)", mode, a1=RAM) is None


@pytest.mark.parametrize("access", [HLV, HLVX, HSV], ids=str)
def test_hlv_fault_details(access: Access) -> None:
    """A guest-page fault of an HLV: to HS with SPV=0, GVA=1, htval and htinst as for the guest."""
    guest = Guest(VS, medeleg=ONES, hstatus=H_SPVP(1) | H_SPV(1))
    guest.map(g=U_ALL & ~flags("u"))
    trap = guest.access(access, GVA + 4)
    assert trap is not None
    assert (trap.to, trap.cause, trap.tval, trap.tval2) == (
        "HS",
        access.guest_page,
        GVA + 4,
        GPA + 4 >> 2,
    )
    assert trap.tinst == encoding_of(access)
    status = guest.bench.get("hstatus")
    assert (H_SPV.of(status), status >> 6 & 1, H_SPVP.of(status)) == (0, 1, 1)


@pytest.mark.parametrize("access", ACCESSES, ids=str)
def test_translate_agrees(access: Access) -> None:
    """Hart.translate, which has no side effects, says what the access then does."""
    guest = Guest(VS)
    lay_out(guest)
    kind = {"amo": "store", "lr": "load"}.get(access.name, access.name)
    for i, j in PAIRS:
        gva = address(i, j)
        told = guest.bench.hart.translate(gva, kind, 1, True)
        trap = guest.access(access, gva)
        assert told.ok == (trap is None)
        assert told.physical == (DATA if trap is None else None)
        assert told.cause == (None if trap is None else trap.cause)
        assert told.tval2 == (0 if trap is None else trap.tval2)
