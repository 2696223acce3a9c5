"""Harts with fewer privilege modes and extensions: what is then read-only zero, absent or illegal.

"Machine Status Registers" and the other sections of the machine chapter, where they say "if S-mode
(U-mode) is not supported"; Smstateen for its absence.
"""

from __future__ import annotations

import pytest

from privileged.bench import CODE, DATA, Bench
from privileged.manual import (
    CBCFE,
    CBIE,
    CBZE,
    HS,
    MIE,
    MPIE,
    MPP,
    MPRV,
    MXR,
    ONES,
    SD,
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
    bits,
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
NO_PAGING = ("svnapot", "svpbmt", "sv39", "sv48", "sv57")
NO_ATOMICS = ("a", "zaamo", "zalrsc", "zacas", "zabha", "zawrs")
NO_FLOAT = ("f", "d", "zfh", "zfa")
NO_HPM = ("zihpm", "sscofpmf")


@pytest.mark.parametrize("field", [SIE, SPIE, SPP, SUM, MXR, TVM, TSR, SXL], ids=str)
def test_supervisor_fields_without_supervisor(field: Field) -> None:
    """Fields of mstatus that are about S-mode are read-only zero without it."""
    bench = Bench(without=NO_S)
    bench.set(mstatus=ONES)
    assert field.of(bench.get("mstatus")) == 0


@pytest.mark.parametrize("field", [SUM, MXR, TVM], ids=str)
@pytest.mark.parametrize("csr", ["mstatus", "sstatus", "vsstatus"])
def test_fields_of_paging_without_paging(csr: str, field: Field) -> None:
    """ "read-only 0 if S-mode is not supported or if satp.MODE is read-only 0"."""
    for without in ((), NO_PAGING):
        bench = Bench(without=without)
        bench.set(**{csr: ONES})
        in_this = csr == "mstatus" or field != TVM
        assert field.of(bench.get(csr)) == (not without and in_this)
        assert field.of(bench.get("mstatus")) == (not without and csr != "vsstatus" and in_this)
    bench.set(satp=ONES, vsatp=ONES, hgatp=ONES)
    assert [bench.get(name) >> 60 for name in ("satp", "vsatp", "hgatp")] == [0, 0, 0]


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


#: extensions left out -> what may be written of CSRs that name what is not there any more
WRITABLE: list[tuple[tuple[str, ...], dict[str, int]]] = [
    # "Machine Trap Delegation Registers": an exception that cannot occur is read-only zero
    ((), {"medeleg": 0xF0_B7FE, "hedeleg": 0xC_B1FF}),
    (("c", "zcb", "zcmop"), {"medeleg": 0xF0_B7FF}),  # IALIGN=32: a jump may be misaligned
    (NO_ATOMICS, {"medeleg": 0xF0_B7AE}),  # other loads and stores may be misaligned
    (("h",), {"medeleg": 0xB3FE}),
    (NO_PAGING, {"medeleg": 0x40_07FE}),
    ((*NO_PAGING, "h"), {"medeleg": 0x03FE}),
    # "Hardware Performance Monitor": counters that are read-only 0 have no bits that govern them
    (
        NO_HPM,
        dict.fromkeys(("mcounteren", "scounteren", "hcounteren"), 7)
        | {"mcountinhibit": 5}
        | {f"mhpm{what}{n}": 0 for what in ("counter", "event") for n in (3, 17, 31)},
    ),
    ((*NO_S, "zihpm"), {"mcounteren": 7, "mcountinhibit": 5, "mhpmcounter3": 0, "mhpmevent3": 0}),
    # "Machine Environment Configuration Register"
    (("zicboz",), {"menvcfg": 0xE000_0000_0000_0071, "senvcfg": 0x71}),
    (("zicbom",), {"menvcfg": 0xE000_0000_0000_0081, "senvcfg": 0x81}),
    (("zicbom", "zicboz"), {"menvcfg": 0xE000_0000_0000_0001, "senvcfg": 1}),
    (("sstc",), {"menvcfg": 0x6000_0000_0000_00F1, "henvcfg": 0x6000_0000_0000_00F1}),
    (("svadu",), {"menvcfg": 0xC000_0000_0000_00F1, "henvcfg": 0xC000_0000_0000_00F1}),
    (("svpbmt",), {"menvcfg": 0xA000_0000_0000_00F1, "henvcfg": 0xA000_0000_0000_00F1}),
    (NO_S, {"menvcfg": 0xF1}),
    # "Machine Interrupt Registers"
    (("sscofpmf",), {"mie": 0x1EEE, "mideleg": 0x1666, "mhpmevent3": 0}),
    (("h",), {"mie": 0x2AAA, "mideleg": 0x2222}),
    (("sstc",), {"mip": 0x2226}),  # STIP is software's: no stimecmp
    # "Extension Context Status": FS may be read-only zero with S-mode; it must be without
    (NO_FLOAT, {"mstatus": 0x80_0000_0000 | 0x40_0000_0000 | 0x7E_19AA}),
    ((*NO_FLOAT, *NO_S), {"mstatus": 0x22_1888}),
    (NO_U, {"mstatus": 0x7888}),
    # Smstateen: "Bits ... that control state that a hart doesn't implement are read-only zeros"
    (("smstateen",), {"hstateen0": 0xC000_0000_0000_0000, "hstateen1": 1 << 63}),
]


@pytest.mark.parametrize(("without", "csrs"), WRITABLE, ids=str)
def test_what_can_be_written(without: tuple[str, ...], csrs: dict[str, int]) -> None:
    """Ones are written to a hart that lacks something: what is read is what the hart still has."""
    bench = Bench(without=without)
    if "h" in bench.extensions:
        bench.set(menvcfg=ONES)
    derived = {"mstatus": SD.mask | SXL.mask | UXL.mask}
    for name, mask in csrs.items():
        bench.set(**{name: ONES})
        assert hex(bench.get(name) & ~derived.get(name, 0)) == hex(mask), name


@pytest.mark.parametrize("without", [NO_HPM, (*NO_S, "zihpm")], ids=len)
def test_programmable_counters_that_read_zero(without: tuple[str, ...]) -> None:
    """mhpmcounter and mhpmevent are mandatory, and may be read-only 0; Zihpm is hpmcounter."""
    bench = Bench(without=without)
    for n in (3, 31):
        for csr in (f"mhpmcounter{n}", f"mhpmevent{n}"):
            assert bench.cause(f"csrrw a0, {csr}, a1", a1=2) is None
            assert bench.cause(f"csrrs a0, {csr}, x0") is None
            assert bench.x("a0") == 0
            assert bench.cause(f"csrrs a0, {csr}, x0", U) == 2
        bench.set(mcounteren=ONES)
        for mode in (M, U):
            assert bench.cause(f"csrrs a0, {0xC00 + n}, x0", mode) == 2


CBO = {
    "cbo.zero (a1)": CBZE(1),
    "cbo.clean (a1)": CBCFE(1),
    "cbo.flush (a1)": CBCFE(1),
    "cbo.inval (a1)": CBIE(3),
}


@pytest.mark.parametrize("line", CBO)
@pytest.mark.usefixtures("accel")
def test_cache_blocks_of_user_mode(line: str) -> None:
    """menvcfg alone governs U-mode where there is no S-mode, and so no senvcfg."""
    for without in ((), NO_S):
        for machine in (0, CBO[line]):
            for supervisor in (0, CBO[line]):
                bench = Bench(without=without)
                bench.set(menvcfg=machine, **({} if without else {"senvcfg": supervisor}))
                bench.regs(a1=DATA, a2=0)
                bench.poke(DATA, ONES)
                bench.load(f"{line}; addi a2, x0, 1; end: j end")
                bench.enter(U, CODE)
                bench.run()
                allowed = bool(machine and (without or supervisor))
                assert bench.x("a2") == allowed, (without, machine, supervisor)
                if not allowed:
                    assert bench.trap().cause == 2
                assert bench.peek(DATA) == (0 if allowed and "zero" in line else ONES)


@pytest.mark.parametrize("number", [1, 5, 9])
def test_wires_of_a_mode_that_is_not_there(number: int) -> None:
    """SEIP, STIP and SSIP of mip are read-only zeros without S-mode, whatever is wired to them."""
    bench = Bench(without=NO_S)
    for wire in (number, 11):
        bench.hart.set_interrupt(wire, True)
    assert bench.step("csrrs a0, mip, x0") is None
    assert bench.x("a0") == bench.get("mip") == bits(11)
