"""The legal values of every CSR field: what a write of ones, of zeros and of each value leaves.

Each table names the section of the Privileged spec that it was typed in from.
"""

from __future__ import annotations

import pytest

from privileged.bench import Bench, open_bench
from privileged.manual import (
    ADUE,
    CBCFE,
    CBIE,
    CBZE,
    ENVCFG,
    FIOM,
    FS,
    GVA,
    H_GVA,
    H_HU,
    H_SPV,
    H_SPVP,
    H_VGEIN,
    H_VSXL,
    H_VTSR,
    H_VTVM,
    H_VTW,
    MIE,
    MODE,
    MPIE,
    MPP,
    MPRV,
    MPV,
    MXR,
    ONES,
    PBMTE,
    SD,
    SE0,
    SIE,
    SPIE,
    SPP,
    STCE,
    SUM,
    SXL,
    TSR,
    TVM,
    TW,
    UXL,
    VEC,
    VS,
    Field,
    bits,
)


def masks(*fields: Field) -> int:
    return sum(field.mask for field in fields)


SSTATUS = masks(SIE, SPIE, SPP, FS, SUM, MXR)
MSTATUS = SSTATUS | masks(MIE, MPIE, MPP, MPRV, TVM, TW, TSR, GVA, MPV)
CBO = masks(CBIE, CBCFE, CBZE)
#: exceptions that can be delegated to HS: all of "Trap Cause Codes" but 11 (from M) and 16, and but
#: what cannot occur: 0 with IALIGN=16; 18 and 19 belong to extensions that are not there
TO_HS = bits(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 15, 20, 21, 22, 23)
TO_VS = bits(1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 15, 18, 19)

#: CSR -> (bits that must hold what is written, bits that are free to be anything legal).
#: All other bits are read-only: as READ_ONLY_ONES says, or zero.
WRITABLE: dict[str, tuple[int, int]] = {
    # "Machine Status Registers", hypervisor chapter "Machine Status Registers"; little-endian only,
    # XLEN 64 only; VS may be read-only zero or not without V
    "mstatus": (MSTATUS, masks(VEC, SD)),
    "sstatus": (SSTATUS, masks(VEC, SD)),
    "vsstatus": (SSTATUS, masks(VEC, SD)),
    "hstatus": (masks(H_GVA, H_SPV, H_SPVP, H_HU, H_VTVM, H_VTW, H_VTSR), H_VGEIN.mask),
    # "Machine Trap Delegation Registers", "Hypervisor Trap Delegation Registers"
    "medeleg": (TO_HS, 0),
    "hedeleg": (TO_VS, bits(0)),
    "mideleg": (bits(1, 5, 9, 13), 0),
    "hideleg": (bits(2, 6, 10), 0),
    # "Machine Interrupt Registers", "Hypervisor Interrupt Registers"
    "mie": (bits(1, 2, 3, 5, 6, 7, 9, 10, 11, 12, 13), 0),
    "hie": (bits(2, 6, 10, 12), 0),
    "hvip": (bits(2, 6, 10), 0),
    "hgeie": (bits(1, 2, 3, 4, 5), 0),  # GEILEN is 5
    # "Counter-Enable Registers", Shcounterenw and Sscounterenw; "Machine Counter-Inhibit Register"
    "mcounteren": ((1 << 32) - 1, 0),
    "hcounteren": ((1 << 32) - 1, 0),
    "scounteren": ((1 << 32) - 1, 0),
    "mcountinhibit": ((1 << 32) - 1 & ~2, 0),
    # "Machine/Hypervisor/Supervisor Environment Configuration Registers"
    "menvcfg": (masks(FIOM, ADUE, PBMTE, STCE) | CBO, 0),
    "senvcfg": (FIOM.mask | CBO, 0),
    # Smstateen: only state that the hart has; bit 63 always, as there is a hypervisor
    "mstateen0": (masks(SE0, ENVCFG), 0),
    "hstateen0": (masks(SE0, ENVCFG), 0),
    **{f"{m}stateen{n}": (SE0.mask, 0) for n in (1, 2, 3) for m in "mh"},
    **{f"sstateen{n}": (0, 0) for n in range(4)},
    # plain registers; epc bit 0 is zero, vectors keep a 4-byte aligned base
    **dict.fromkeys(
        [
            "mscratch",
            "sscratch",
            "vsscratch",
            "mtval",
            "stval",
            "vstval",
            "htimedelta",
            "stimecmp",
            "vstimecmp",
            "mcycle",
            "minstret",
            "mhpmcounter3",
            "mhpmcounter31",
        ],
        (ONES, 0),
    ),
    **dict.fromkeys(("mepc", "sepc", "vsepc"), (ONES & ~1, 0)),
    **dict.fromkeys(("mtvec", "stvec", "vstvec"), (ONES & ~3, 3)),
    # "Hypervisor Trap Value Register": a guest physical address of Sv57x4 shifted right by 2
    **dict.fromkeys(("htval", "mtval2"), ((1 << 57) - 1, ONES ^ (1 << 57) - 1)),
    # "Hypervisor Trap Instruction Register": every 32-bit transformed instruction
    **dict.fromkeys(("htinst", "mtinst"), ((1 << 32) - 1, ONES ^ (1 << 32) - 1)),
    # Sscofpmf: OF and the five inhibit bits; the event field is the implementation's
    **{f"mhpmevent{n}": (bits(58, 59, 60, 61, 62, 63), (1 << 56) - 1) for n in (3, 17, 31)},
    # "Physical Memory Protection CSRs": bits 55:2 of an address; 16 entries, 64 readable
    **{f"pmpaddr{n}": ((1 << 54) - 1, 0) for n in (0, 7, 15)},
    **{f"pmpaddr{n}": (0, 0) for n in (16, 40, 63)},
    **{f"pmpcfg{n}": (0, 0) for n in (4, 14)},
    "fcsr": (0xFF, 0),
    "frm": (7, 0),
    "fflags": (0x1F, 0),
}

READ_ONLY_ONES = {
    "mstatus": UXL(2) | SXL(2),
    "sstatus": UXL(2),
    "vsstatus": UXL(2),
    "hstatus": H_VSXL(2),
    # hypervisor chapter, "Machine Interrupt Delegation Register"
    "mideleg": bits(2, 6, 10, 12),
}

#: what must be set first for the write to be able to reach every bit
PREPARE = {
    "hie": {"mideleg": ONES},
    "hedeleg": {"medeleg": ONES},
    "hideleg": {"mideleg": ONES},
    "henvcfg": {"menvcfg": ONES},
}


@pytest.mark.parametrize("name", WRITABLE)
@pytest.mark.parametrize(
    "pattern", [ONES, 0, 0x5555_5555_5555_5555, 0xAAAA_AAAA_AAAA_AAAA], ids=hex
)
def test_writable_bits(name: str, pattern: int) -> None:
    """Exactly the bits of the table can be written; only WARL fields may refuse a pattern."""
    bench = Bench()
    bench.set(**PREPARE.get(name, {}))
    bench.set(**{name: ~pattern})
    bench.set(**{name: pattern})
    writable, free = WRITABLE[name]
    free |= sum(field.mask for field in MULTI_BIT_WARL.get(name, ()))
    value = bench.get(name)
    assert value & writable & ~free == pattern & writable & ~free
    assert value & ~writable & ~free == READ_ONLY_ONES.get(name, 0)


#: fields of several bits in which not every value is legal: looked at one by one below
MULTI_BIT_WARL = {
    "mstatus": (MPP,),
    "menvcfg": (CBIE,),
    "senvcfg": (CBIE,),
    "henvcfg": (CBIE,),
}

#: (CSR, field, legal values); the manual leaves open which legal value an illegal write leaves
FIELDS = [
    ("mstatus", MPP, {0, 1, 3}),  # "Privilege and Global Interrupt-Enable Stack": 2 is reserved
    ("mstatus", FS, {0, 1, 2, 3}),
    ("vsstatus", FS, {0, 1, 2, 3}),
    ("mstatus", UXL, {2}),
    ("mstatus", SXL, {2}),
    ("hstatus", H_VSXL, {2}),
    ("vsstatus", UXL, {2}),
    ("menvcfg", CBIE, {0, 1, 3}),  # 0b10 is reserved
    ("senvcfg", CBIE, {0, 1, 3}),
    ("henvcfg", CBIE, {0, 1, 3}),
    *[(name, Field(1, 0), {0, 1}) for name in ("mtvec", "stvec", "vstvec")],
    *[(name, Field(33, 32), {0}) for name in ("menvcfg", "senvcfg", "henvcfg")],  # PMM: no Smnpm
    ("satp", MODE, {0, 8, 9, 10}),
    ("vsatp", MODE, {0, 8, 9, 10}),
    ("hgatp", MODE, {0, 8, 9, 10}),
]


@pytest.mark.parametrize(("name", "field", "legal"), FIELDS, ids=str)
def test_warl_field(name: str, field: Field, legal: set[int]) -> None:
    """Every legal value is held, every other one leaves a legal one."""
    bench = Bench()
    for value in range(1 << field.high - field.low + 1):
        for before in sorted(legal):
            bench.set(**{name: field(before)})
            bench.set(**{name: field(value)})
            got = field.of(bench.get(name))
            assert got in legal, f"wrote {value}"
            if value in legal:
                assert got == value


@pytest.mark.parametrize("name", ["mstatus", "sstatus", "vsstatus"])
@pytest.mark.parametrize("fs", range(4))
def test_sd_summarizes(name: str, fs: int) -> None:
    """SD is set exactly when FS (or VS, XS) is Dirty; it cannot be written."""
    bench = Bench()
    bench.set(**{name: FS(fs) | (0 if fs == 3 else SD(1))})
    assert SD.of(bench.get(name)) == (fs == 3)


def test_vsstatus_is_not_part_of_mstatus() -> None:
    """The mstatus register is a superset of sstatus but not of vsstatus."""
    bench = Bench()
    bench.set(mstatus=0, vsstatus=SSTATUS)
    assert bench.get("mstatus") & SSTATUS == 0
    bench.set(mstatus=SSTATUS, vsstatus=0)
    assert bench.get("vsstatus") & SSTATUS == 0


@pytest.mark.parametrize("field", [SIE, SPIE, SPP, SUM, MXR], ids=str)
def test_sstatus_is_a_view(field: Field) -> None:
    """Reading or writing a field of sstatus does so in mstatus; it reaches no other field."""
    bench = Bench()
    bench.set(mstatus=MIE(1) | TVM(1), sstatus=field.mask | TW(1))
    assert bench.get("mstatus") & ~masks(UXL, SXL) == field.mask | MIE(1) | TVM(1)
    bench.set(mstatus=0)
    assert bench.get("sstatus") & field.mask == 0


@pytest.mark.parametrize("vgein", range(6))
def test_vgein_holds_0_to_geilen(vgein: int) -> None:
    """hstatus.VGEIN holds zero to GEILEN, which is 5 here."""
    bench = Bench()
    bench.set(hstatus=H_VGEIN(vgein))
    assert H_VGEIN.of(bench.get("hstatus")) == vgein


@pytest.mark.parametrize("name", ["mepc", "sepc", "vsepc"])
def test_epc_without_compressed(name: str) -> None:
    """With IALIGN=32 the two low bits of epc are zero."""
    bench = Bench(without=("c", "zcb", "zcmop"))
    bench.set(**{name: ONES})
    assert bench.get(name) == ONES & ~3


@pytest.mark.parametrize("name", ["mcause", "scause", "vscause"])
def test_cause_holds_every_code(name: str) -> None:
    """The Exception Code is WLRL: it holds every supported code, with and without Interrupt."""
    bench = Bench()
    codes = [n for n in range(24) if TO_HS >> n & 1] + [0, 11]
    interrupts = [n | 1 << 63 for n in (1, 2, 3, 5, 6, 7, 9, 10, 11, 12, 13)]
    for code in codes + interrupts:
        bench.set(**{name: code})
        assert bench.get(name) == code


@pytest.mark.parametrize("name", ["satp", "vsatp"])
@pytest.mark.parametrize("mode", range(16))
def test_satp_write(name: str, mode: int) -> None:
    """ASIDLEN is 16, PPN has 44 bits; an unsupported MODE leaves the register unchanged.

    "Supervisor Address Translation and Protection Register".  For vsatp written while V=0 the
    hypervisor chapter also allows ordinary WARL fields; unchanged is the choice that suits both.
    """
    bench = Bench()
    before = MODE(9) | 0x1234 << 44 | 0x56789
    bench.set(**{name: before})
    wanted = MODE(mode) | (ONES & ~MODE.mask if mode else 0)
    bench.set(**{name: wanted})
    assert bench.get(name) == (wanted if mode in (0, 8, 9, 10) else before)


@pytest.mark.parametrize("mode", range(16))
def test_satp_write_with_v1(mode: int) -> None:
    """When V=1, a write to satp with an unsupported MODE is ignored: no write to vsatp."""
    bench = open_bench()
    before = MODE(0)
    bench.set(vsatp=before)
    assert bench.step("csrrw x0, satp, a1", VS, a1=MODE(mode)) is None
    assert bench.get("vsatp") == (MODE(mode) if mode in (0, 8, 9, 10) else before)


@pytest.mark.parametrize("mode", range(16))
def test_hgatp_write(mode: int) -> None:
    """hgatp is WARL by field: VMIDLEN 14, PPN[1:0] zero, and no write is ignored as a whole."""
    bench = Bench()
    bench.set(hgatp=MODE(8))
    bench.set(hgatp=MODE(mode) | (ONES & ~MODE.mask if mode else 0))
    got = bench.get("hgatp")
    assert MODE.of(got) == mode if mode in (0, 8, 9, 10) else MODE.of(got) in (0, 8, 9, 10)
    if MODE.of(got):
        assert got & ~MODE.mask == ((1 << 14) - 1 << 44) | (1 << 44) - 4
    else:
        assert mode == 0 or got & 3 << 58 == 0


@pytest.mark.parametrize(
    ("without", "fields"),
    [
        (("sv57",), {"satp": {0, 8, 9}, "vsatp": {0, 8, 9}, "hgatp": {0, 8, 9}}),
        (("sv57", "sv48"), {"satp": {0, 8}, "vsatp": {0, 8}, "hgatp": {0, 8}}),
    ],
)
def test_schemes_by_extension(without: tuple[str, ...], fields: dict[str, set[int]]) -> None:
    """Shvsatpa and Shgatpa: the modes of vsatp and hgatp follow those of satp."""
    bench = Bench(without=without)
    for name, legal in fields.items():
        for mode in range(16):
            bench.set(**{name: 0})
            bench.set(**{name: MODE(mode)})
            assert MODE.of(bench.get(name)) == mode if mode in legal else True
            assert MODE.of(bench.get(name)) in legal


ENVCFG_GATES = [
    ("svadu", ADUE),
    ("svpbmt", PBMTE),
    ("sstc", STCE),
    ("zicboz", CBZE),
    ("zicbom", CBCFE),
    ("zicbom", CBIE),
]


@pytest.mark.parametrize(("extension", "field"), ENVCFG_GATES, ids=str)
def test_envcfg_by_extension(extension: str, field: Field) -> None:
    """Each field of the envcfg registers is read-only zero without its extension."""
    bench = Bench(without=(extension,))
    for name in ("menvcfg", "henvcfg", "senvcfg"):
        bench.set(**{name: ONES})
        assert bench.get(name) & field.mask == 0


@pytest.mark.parametrize(
    ("without", "at_reset"),
    [(("svade",), 1), (("svadu",), 0), ((), 0), (("svade", "svadu"), 0)],
    ids=str,
)
def test_adue_at_reset(without: tuple[str, ...], at_reset: int) -> None:
    """Linux, riscv/extensions.yaml: Svadu alone updates from the start; with both, Svade holds.

    henvcfg is left to the hypervisor: QEMU's reset clears it.
    """
    bench = Bench(without=without)
    for _ in range(2):
        assert (bench.get("menvcfg"), bench.get("henvcfg")) == (ADUE(at_reset), 0)
        bench.set(menvcfg=ONES & ~ADUE.mask if at_reset else ONES)
        bench.system.reset()


@pytest.mark.parametrize("field", [ADUE, PBMTE, STCE], ids=str)
def test_henvcfg_depends_on_menvcfg(field: Field) -> None:
    """henvcfg.PBMTE, ADUE and STCE are read-only zero while the same bit of menvcfg is zero."""
    bench = Bench()
    bench.set(menvcfg=ONES & ~field.mask, henvcfg=ONES)
    assert bench.get("henvcfg") == bench.get("menvcfg")
    bench.set(menvcfg=ONES)
    bench.set(henvcfg=ONES)
    assert bench.get("henvcfg") & field.mask
    bench.set(menvcfg=ONES & ~field.mask)
    assert bench.get("henvcfg") & field.mask == 0


@pytest.mark.parametrize("field", [FIOM, CBZE, CBCFE, CBIE], ids=str)
def test_cbo_fields_are_independent(field: Field) -> None:
    """CMO: the fields of one envcfg register do not affect how those of another read and write."""
    bench = Bench()
    bench.set(menvcfg=0, henvcfg=field.mask, senvcfg=field.mask)
    assert bench.get("henvcfg") == field.mask
    assert bench.get("senvcfg") == field.mask


@pytest.mark.parametrize("bit", [SE0, ENVCFG], ids=str)
def test_hstateen_depends_on_mstateen(bit: Field) -> None:
    """For every zero bit of mstateen the same bit of hstateen appears as read-only zero."""
    bench = Bench()
    bench.set(mstateen0=bit.mask, hstateen0=ONES)
    assert bench.get("hstateen0") == bit.mask
    bench.set(mstateen0=ONES, hstateen0=0)
    bench.set(hstateen0=bit.mask)
    assert bench.get("hstateen0") == bit.mask


@pytest.mark.parametrize("number", [1, 5, 9, 13])
def test_mideleg_gates_sie(number: int) -> None:
    """Bits of sie and sip for interrupts that are not delegated are read-only zero."""
    bench = Bench()
    bench.set(mideleg=0, mie=ONES, sie=ONES)
    assert bench.get("sie") == 0
    bench.set(mideleg=1 << number)
    assert bench.get("sie") == 1 << number
    bench.set(sie=0)
    assert bench.get("mie") >> number & 1 == 0


def test_interrupts_of_the_hypervisor_stay_out_of_sie() -> None:
    """For each writable bit in sie the bit is read-only zero in hip and hie, and the reverse."""
    bench = Bench()
    bench.set(mideleg=ONES, mie=ONES)
    assert bench.get("sie") & bench.get("hie") == 0
    assert bench.get("sie") | bench.get("hie") == bits(1, 2, 5, 6, 9, 10, 12, 13)


def test_without_hypervisor() -> None:
    """Fields that the H extension adds are read-only zero without it."""
    bench = Bench(without=("h",))
    bench.set(mstatus=ONES, mideleg=ONES, medeleg=ONES, mie=ONES, misa=ONES)
    assert bench.get("mstatus") & masks(MPV, GVA) == 0
    assert bench.get("mideleg") == bits(1, 5, 9, 13)
    assert bench.get("mie") == bits(1, 3, 5, 7, 9, 11, 13)
    assert bench.get("medeleg") & bits(10, 20, 21, 22, 23) == 0
    assert bench.get("misa") >> 7 & 1 == 0


def test_without_sscofpmf() -> None:
    """LCOFIP and LCOFIE are read-only zeros without Sscofpmf."""
    bench = Bench(without=("sscofpmf",))
    bench.set(mideleg=ONES, mie=ONES, mip=ONES)
    for name in ("mie", "mip", "sie", "sip", "mideleg"):
        assert bench.get(name) >> 13 & 1 == 0, name


@pytest.mark.parametrize(
    ("without", "gone"),
    [
        ((), ""),
        (("h",), "H"),
        (("c", "zcb", "zcmop"), "C"),
        (("b", "zbs"), "B"),
        (("d", "f", "zfh", "zfa"), "FD"),
        (("d",), "D"),
        (("a", "zacas", "zabha", "zawrs"), "A"),
        (("m",), "M"),
    ],
)
def test_misa(without: tuple[str, ...], gone: str) -> None:
    """misa: MXL is 2 and read-only, one bit a letter, nothing reserved ("Machine ISA Register")."""
    bench = Bench(without=without)
    letters = {letter for letter in "IMAFDCBHSU" if letter not in gone}
    expected = 2 << 62 | bits(*(ord(letter) - ord("A") for letter in letters))
    assert bench.get("misa") == expected
    bench.set(misa=ONES)
    assert bench.get("misa") == expected  # nothing that the hart does not have can be switched on
    bench.set(misa=0)
    assert bench.get("misa") >> 62 == 2
    assert bench.get("misa") >> 8 & 1  # I and E are complementary, and there is no E


@pytest.mark.parametrize(
    "name", ["mvendorid", "marchid", "mimpid", "mhartid", "mconfigptr", "hgeip"]
)
def test_read_only_registers(name: str) -> None:
    """A debugger's write to a read-only register changes nothing."""
    bench = Bench()
    before = bench.get(name)
    bench.set(**{name: ONES})
    assert bench.get(name) == before


def test_hart_id() -> None:
    """mhartid is the integer ID of the hart."""
    bench = Bench()
    other = bench.system.add_hart(7, bench.extensions, 0x8000_0000)
    assert (bench.get("mhartid"), other.csr(0xF14), other.id) == (0, 7, 7)


def test_reset_state() -> None:
    """ "Reset": M-mode, MIE and MPRV clear, translation off, PMP off, mstateen zero, cause 0."""
    bench = Bench()
    everything = dict.fromkeys(
        ["mstatus", "hgatp", "vsatp", "mstateen0", "pmpaddr3", "medeleg"], ONES
    )
    bench.set(**everything, mcause=2, pmpcfg0=0x9F9F9F9F)
    bench.enter(VS)
    bench.system.reset()
    assert bench.mode() == (3, False)
    assert bench.get("mstatus") & masks(MIE, MPRV) == 0
    assert MODE.of(bench.get("hgatp")) == MODE.of(bench.get("vsatp")) == 0
    assert bench.get("pmpcfg0") & 0x9898_9898_9898_9898 == 0
    assert [bench.get(f"mstateen{n}") for n in range(4)] == [0] * 4
    assert bench.get("mcause") == 0
