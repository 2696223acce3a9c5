"""Trap entry and return: what each writes, from every mode to every mode.

"Privilege and Global Interrupt-Enable Stack in mstatus", hypervisor chapter "Trap Entry" and
"Trap Return".
"""

from __future__ import annotations

import itertools

import pytest

from privileged.bench import CODE, DATA, Bench, delegate_to, handler_of, open_bench
from privileged.manual import (
    GVA,
    H_GVA,
    H_SPV,
    H_SPVP,
    HS,
    MIE,
    MODES,
    MPIE,
    MPP,
    MPRV,
    MPV,
    ONES,
    SIE,
    SPIE,
    SPP,
    TSR,
    VS,
    VU,
    Cause,
    M,
    Mode,
    U,
)

#: (mode before, mode that takes the trap): never to a less privileged mode
ENTRIES = [(m, M) for m in MODES] + [(m, HS) for m in (HS, U, VS, VU)] + [(VS, VS), (VU, VS)]
FROM = pytest.mark.parametrize(("source", "target"), ENTRIES, ids=str)


def prepared(source: Mode, target: Mode, pattern: int) -> Bench:
    """A bench whose status registers hold `pattern`, so that what a trap leaves alone shows."""
    bench = Bench()
    delegate_to(bench, target)
    bench.set(mstatus=pattern & ~MPRV.mask, hstatus=pattern & 0x3C0, vsstatus=pattern)
    for name in ("mtval", "stval", "vstval", "mtval2", "htval", "mtinst", "htinst"):
        bench.set(**{name: 0x55})
    return bench


@FROM
@pytest.mark.parametrize("pattern", [0, ONES], ids=["zeros", "ones"])
def test_entry(source: Mode, target: Mode, pattern: int) -> None:
    """An illegal instruction from `source` taken in `target`: all status fields and trap CSRs."""
    bench = prepared(source, target, pattern)
    before = {name: bench.get(name) for name in ("mstatus", "hstatus", "vsstatus")}
    trap = bench.step(0, source)  # the all-zero parcel is illegal ("Expanded Instruction-Length")
    assert trap is not None
    assert (trap.cause, trap.interrupt, trap.epc, trap.to) == (2, False, CODE, target.name)
    assert bench.hart.pc == handler_of(target)
    assert bench.mode() == (target.privilege, target.virtual)
    check = {M: check_m_entry, HS: check_hs_entry, VS: check_vs_entry}[target]
    check(bench, source, before)


def check_m_entry(bench: Bench, source: Mode, before: dict[str, int]) -> None:
    """MPV, MPP by "Value of mstatus fields MPV and MPP after a trap into M-mode"."""
    status = before["mstatus"] & ~(MPV.mask | MPP.mask | MPIE.mask | MIE.mask | GVA.mask)
    status |= MPV(source.virtual) | MPP(source.privilege) | MPIE(MIE.of(before["mstatus"]))
    assert bench.get("mstatus") == status
    assert bench.get("hstatus") == before["hstatus"]
    assert bench.get("vsstatus") == before["vsstatus"]
    assert [bench.get(n) for n in ("mcause", "mepc", "mtval", "mtval2", "mtinst")] == [
        2,
        CODE,
        0,
        0,
        0,
    ]
    assert [bench.get(n) for n in ("stval", "vstval", "htval", "htinst")] == [0x55] * 4


def check_hs_entry(bench: Bench, source: Mode, before: dict[str, int]) -> None:
    """SPV, SPP by "Value of hstatus field SPV and sstatus field SPP"; SPVP only if V was 1."""
    status = before["mstatus"] & ~(SPP.mask | SPIE.mask | SIE.mask)
    status |= SPP(source.privilege) | SPIE(SIE.of(before["mstatus"]))
    assert bench.get("mstatus") == status
    hypervisor = before["hstatus"] & ~(H_SPV.mask | H_GVA.mask) | H_SPV(source.virtual)
    if source.virtual:
        hypervisor = hypervisor & ~H_SPVP.mask | H_SPVP(source.privilege)
    assert bench.get("hstatus") == hypervisor
    assert bench.get("vsstatus") == before["vsstatus"]
    assert [bench.get(n) for n in ("scause", "sepc", "stval", "htval", "htinst")] == [
        2,
        CODE,
        0,
        0,
        0,
    ]
    assert [bench.get(n) for n in ("mtval", "vstval", "mtval2", "mtinst")] == [0x55] * 4


def check_vs_entry(bench: Bench, source: Mode, before: dict[str, int]) -> None:
    """Only vsstatus changes: hstatus and the HS-level sstatus are not modified."""
    status = before["vsstatus"] & ~(SPP.mask | SPIE.mask | SIE.mask)
    status |= SPP(source.privilege) | SPIE(SIE.of(before["vsstatus"]))
    assert bench.get("vsstatus") == status
    assert bench.get("mstatus") == before["mstatus"]
    assert bench.get("hstatus") == before["hstatus"]
    assert [bench.get(n) for n in ("vscause", "vsepc", "vstval")] == [2, CODE, 0]
    assert [bench.get(n) for n in ("mtval", "stval", "mtval2", "htval", "mtinst", "htinst")] == [
        0x55
    ] * 6


@FROM
@pytest.mark.parametrize("line", ["lw a0, (a1)", "sw a0, (a1)"])
def test_gva(source: Mode, target: Mode, line: str) -> None:
    """GVA is set by traps that write a guest virtual address to tval, and only by those.

    An access fault from VS or VU writes one; the same fault from U, HS or M does not.
    """
    bench = open_bench()
    delegate_to(bench, target)
    bench.change(
        mstatus=0 if source.virtual else GVA.mask, hstatus=0 if source.virtual else H_GVA.mask
    )
    trap = bench.step(line, source, a1=0x4000_0000)
    assert trap is not None
    assert (trap.to, trap.tval) == (target.name, 0x4000_0000)
    if target == M:
        assert GVA.of(bench.get("mstatus")) == source.virtual
        assert trap.gva == source.virtual
    if target == HS:
        assert H_GVA.of(bench.get("hstatus")) == source.virtual
        assert trap.gva == source.virtual


@pytest.mark.parametrize("hu", [0, 1])
def test_gva_of_hypervisor_loads(hu: int) -> None:
    """An HLV that faults sets GVA=1 with SPV=0 (note under "hstatus", field GVA)."""
    bench = open_bench()
    delegate_to(bench, HS)
    bench.change(hstatus=hu << 9)
    trap = bench.step("hlv.w a0, (a1)", U if hu else HS, a1=0x4000_0000)
    assert trap is not None and trap.cause == Cause.LOAD_ACCESS
    assert (H_GVA.of(bench.get("hstatus")), H_SPV.of(bench.get("hstatus"))) == (1, 0)


# Returns

RETURN_TO_M = [(mpp, mpv) for mpp in (0, 1, 3) for mpv in (0, 1)]


@pytest.mark.parametrize(("mpp", "mpv"), RETURN_TO_M)
@pytest.mark.parametrize(("mie", "mpie", "mprv"), list(itertools.product((0, 1), repeat=3)))
def test_mret(mpp: int, mpv: int, mie: int, mpie: int, mprv: int) -> None:
    """MRET: mode from MPP and MPV (ignored for M), MPV=0, MPP=0, MIE=MPIE, MPIE=1.

    MPRV is cleared by a return to a mode below M ("Memory Privilege in mstatus").
    """
    bench = Bench()
    status = MPP(mpp) | MPV(mpv) | MIE(mie) | MPIE(mpie) | MPRV(mprv) | SIE(1) | SPP(1)
    bench.set(mstatus=status, mepc=DATA)
    assert bench.step("mret", M) is None
    assert bench.hart.pc == DATA
    assert bench.mode() == (mpp, bool(mpv) and mpp != 3)
    expected = MIE(mpie) | MPIE(1) | MPRV(mprv if mpp == 3 else 0) | SIE(1) | SPP(1)
    fixed = 0xA << 32  # SXL and UXL
    assert bench.get("mstatus") == expected | fixed


@pytest.mark.parametrize("mode", [M, HS], ids=str)
@pytest.mark.parametrize(("spp", "spv"), list(itertools.product((0, 1), repeat=2)))
@pytest.mark.parametrize(("sie", "spie"), list(itertools.product((0, 1), repeat=2)))
def test_sret_with_v0(mode: Mode, spp: int, spv: int, sie: int, spie: int) -> None:
    """SRET in M or HS: mode from SPV and SPP, then SPV=0, SPP=0, SIE=SPIE, SPIE=1."""
    bench = Bench()
    bench.set(mstatus=SPP(spp) | SIE(sie) | SPIE(spie) | MPRV(1) | MPP(3) | MIE(0), sepc=DATA)
    bench.set(hstatus=H_SPV(spv) | H_SPVP(1) | H_GVA(1), vsstatus=SPIE(1), vsepc=CODE)
    assert bench.step("sret", mode) is None
    assert (bench.hart.pc, bench.mode()) == (DATA, (spp, bool(spv)))
    # MPRV is 0 after an SRET to a mode less privileged than M, which it always is
    expected = SIE(spie) | SPIE(1) | MPP(3)
    assert bench.get("mstatus") & ~(0xA << 32) == expected
    assert bench.get("hstatus") & 0x3C0 == H_SPVP(1) | H_GVA(1)
    assert bench.get("vsstatus") & SPIE.mask


@pytest.mark.parametrize(("spp", "sie", "spie"), list(itertools.product((0, 1), repeat=3)))
def test_sret_with_v1(spp: int, sie: int, spie: int) -> None:
    """SRET in VS: only vsstatus changes; V stays 1."""
    bench = Bench()
    bench.set(mstatus=SPP(1) | SPIE(0) | SIE(1), hstatus=H_SPV(0), sepc=CODE)
    before = bench.get("mstatus"), bench.get("hstatus")
    bench.set(vsstatus=SPP(spp) | SIE(sie) | SPIE(spie), vsepc=DATA)
    assert bench.step("sret", VS) is None
    assert (bench.hart.pc, bench.mode()) == (DATA, (spp, True))
    assert bench.get("vsstatus") & 0x122 == SIE(spie) | SPIE(1)
    assert (bench.get("mstatus"), bench.get("hstatus")) == before


@pytest.mark.parametrize(
    ("line", "mode", "control", "result"),
    [
        # "Trap-Return Instructions": in mode x or higher; hypervisor chapter, "Trap Cause Codes"
        ("mret", HS, "", 2),
        ("mret", U, "", 2),
        ("mret", VS, "", 2),
        ("mret", VU, "", 2),
        ("sret", U, "", 2),
        ("sret", VU, "", 22),
        ("sret", HS, "TSR", 2),
        ("sret", M, "TSR", None),
        ("sret", VS, "TSR", None),
        ("sret", VU, "TSR", 22),
        ("sret", U, "TSR", 2),
        ("sret", VS, "VTSR", 22),
        ("sret", HS, "VTSR", None),
        ("sret", M, "VTSR", None),
    ],
    ids=str,
)
def test_who_may_return(line: str, mode: Mode, control: str, result: int | None) -> None:
    bench = Bench()
    bench.set(mstatus=TSR.mask if control == "TSR" else 0, sepc=DATA, vsepc=DATA)
    bench.set(hstatus=1 << 22 if control == "VTSR" else 0)
    assert bench.cause(line, mode) == result


@pytest.mark.parametrize(
    ("line", "epc", "mode"),
    [
        ("mret", "mepc", M),
        ("sret", "sepc", HS),
        ("sret", "vsepc", VS),
    ],
    ids=str,
)
def test_return_without_compressed_is_aligned(line: str, epc: str, mode: Mode) -> None:
    """epc[1] is masked where IALIGN is 32, also for the implicit read of the return."""
    bench = Bench(without=("c", "zcb", "zcmop"))
    bench.set(**{epc: DATA | 2})
    assert bench.step(line, mode) is None
    assert bench.hart.pc == DATA


@pytest.mark.parametrize(
    ("line", "epc", "mode"), [("mret", "mepc", M), ("sret", "sepc", HS)], ids=str
)
def test_return_to_halfword(line: str, epc: str, mode: Mode) -> None:
    bench = Bench()
    bench.set(**{epc: DATA | 2})
    assert bench.step(line, mode) is None
    assert bench.hart.pc == DATA | 2


# ECALL and EBREAK


@pytest.mark.parametrize(
    ("mode", "cause"),
    [
        (U, Cause.ECALL_U),
        (VU, Cause.ECALL_U),
        (HS, Cause.ECALL_HS),
        (VS, Cause.ECALL_VS),
        (M, Cause.ECALL_M),
    ],
    ids=str,
)
def test_ecall(mode: Mode, cause: Cause) -> None:
    """Each mode has its own cause ("Trap Cause Codes"); tval is zero; it does not retire."""
    bench = Bench()
    retired = bench.get("minstret")
    trap = bench.step("ecall", mode)
    assert trap is not None
    assert (trap.cause, trap.epc, trap.tval, trap.tval2, trap.tinst) == (cause, CODE, 0, 0, 0)
    assert bench.get("minstret") == retired


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("code", [0x0010_0073, 0x9002], ids=["ebreak", "c.ebreak"])
def test_ebreak(mode: Mode, code: int) -> None:
    """tval is the pc (or zero, which the manual allows too); GVA tells whose address it is."""
    bench = Bench()
    trap = bench.step(code, mode)
    assert trap is not None
    assert (trap.cause, trap.epc, trap.tval, trap.tinst) == (Cause.BREAKPOINT, CODE, CODE, 0)
    assert trap.gva == mode.virtual
