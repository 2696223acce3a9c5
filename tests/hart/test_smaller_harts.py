"""Harts with fewer privilege modes and extensions: what is then read-only zero, absent or illegal.

"Machine Status Registers" and the other sections of the machine chapter, where they say "if S-mode
(U-mode) is not supported"; Smstateen for its absence.
"""

from __future__ import annotations

import pytest

from privileged.bench import CODE, DATA, Bench
from privileged.manual import (
    HS,
    MIE,
    MPIE,
    MPP,
    MPRV,
    MXR,
    ONES,
    SIE,
    SPIE,
    SPP,
    SUM,
    SXL,
    TSR,
    TVM,
    TW,
    UXL,
    VS,
    Field,
    M,
    U,
)

NEEDS_S = [
    "s",
    "h",
    "sstc",
    "sscofpmf",
    "smstateen",
    "ssstateen",
    "svade",
    "svadu",
    "svinval",
    "svnapot",
    "svpbmt",
    "sv39",
    "sv48",
    "sv57",
]
NO_S = tuple(NEEDS_S)
NO_U = (*NO_S, "u")


@pytest.mark.parametrize("field", [SIE, SPIE, SPP, SUM, MXR, TVM, TSR, SXL], ids=str)
def test_supervisor_fields_without_supervisor(field: Field) -> None:
    """Fields of mstatus that are about S-mode are read-only zero without it."""
    bench = Bench(without=NO_S)
    bench.set(mstatus=ONES)
    assert field.of(bench.get("mstatus")) == 0


@pytest.mark.parametrize("field", [MPRV, TW, UXL], ids=str)
def test_user_fields_without_user(field: Field) -> None:
    """MPRV, TW and UXL are read-only zero in a hart of M-mode alone."""
    bench = Bench(without=NO_U)
    bench.set(mstatus=ONES)
    assert field.of(bench.get("mstatus")) == 0


@pytest.mark.parametrize(("without", "legal"), [(NO_S, {0, 3}), (NO_U, {3})])
def test_mpp_holds_the_modes_there_are(without: tuple[str, ...], legal: set[int]) -> None:
    """MPP and, after an MRET, its least-privileged supported mode."""
    bench = Bench(without=without)
    for value in range(4):
        bench.set(mstatus=MPP(value))
        got = MPP.of(bench.get("mstatus"))
        assert got in legal
        if value in legal:
            assert got == value
    bench.set(mstatus=MPP(3) | MPIE(1), mepc=DATA)
    assert bench.step("mret") is None
    assert MPP.of(bench.get("mstatus")) == min(legal)
    assert MIE.of(bench.get("mstatus")) == 1


@pytest.mark.parametrize(
    "line", ["sret", "sfence.vma x0, x0", "hfence.gvma x0, x0", "hlv.w a0, (a1)"]
)
def test_instructions_without_their_mode(line: str) -> None:
    """SRET must raise an illegal-instruction exception where S-mode is not supported."""
    bench = Bench(without=NO_S)
    for mode in (M, U):
        assert bench.cause(line, mode, a1=DATA) == 2


def test_supervisor_interrupt_bits_without_supervisor() -> None:
    """SEIP, STIP, SSIP and their enables are read-only zeros; there is no delegation."""
    bench = Bench(without=NO_S)
    bench.set(mip=ONES, mie=ONES)
    assert bench.get("mip") == 0
    assert bench.get("mie") == 0x888
    for name in ("medeleg", "mideleg"):
        with pytest.raises(KeyError):
            bench.get(name)


def test_traps_of_user_mode_without_supervisor() -> None:
    """Every trap goes to M."""
    bench = Bench(without=NO_S)
    trap = bench.step("ecall", U)
    assert trap is not None
    assert (trap.cause, trap.to) == (8, "M")
    assert MPP.of(bench.get("mstatus")) == 0


def test_counters_of_user_mode_without_supervisor() -> None:
    """mcounteren alone governs U-mode where there is no S-mode."""
    bench = Bench(without=NO_S)
    for allowed in (0, 1):
        bench.set(mcounteren=allowed)
        assert bench.cause("csrrs a0, cycle, x0", U) == (None if allowed else 2)


def test_wfi_in_machine_mode_alone() -> None:
    assert Bench(without=NO_U).cause("wfi") is None


@pytest.mark.parametrize("csr", ["henvcfg", "senvcfg"])
def test_without_smstateen_nothing_is_withheld(csr: str) -> None:
    """When Smstateen is not implemented, all state is accessible as its extension defines."""
    bench = Bench(without=("smstateen", "ssstateen"))
    assert bench.cause(f"csrrs a0, {csr}, x0", HS) is None
    assert bench.cause(f"csrrs a0, {csr}, x0", VS) == (22 if csr == "henvcfg" else None)


def test_ssstateen_alone() -> None:
    """hstateen0 and sstateen0 without mstateen: HS may use them, and withholds from VS."""
    bench = Bench(without=("smstateen",))
    for n, csr in ((63, "sstateen0"), (62, "senvcfg")):
        for on in (0, 1):
            bench.set(hstateen0=on << n)
            assert bench.cause(f"csrrs a0, {csr}, x0", HS) is None
            assert bench.cause(f"csrrs a0, {csr}, x0", VS) == (None if on else 22)


def test_hart_without_hypervisor_traps_as_ever() -> None:
    """Without H a trap from S writes MPP and no MPV, and there are no virtual instructions."""
    bench = Bench(without=("h",))
    trap = bench.step("ecall", HS)
    assert trap is not None
    assert (trap.cause, trap.tval2, trap.tinst) == (9, 0, 0)
    assert bench.get("mstatus") >> 38 & 3 == 0
    assert bench.step("hlv.w a0, (a1)", HS, a1=DATA) is not None
    assert bench.trap().cause == 2
    assert bench.trap().epc == CODE
