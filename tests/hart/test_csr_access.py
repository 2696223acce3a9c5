"""Which CSRs exist, and who may read and write them.

Privileged spec, "CSR Address Mapping Conventions"; hypervisor chapter, "Trap Cause Codes" (when a
virtual-instruction exception takes the place of an illegal-instruction one).
"""

from __future__ import annotations

import pytest

from privileged.bench import Bench, Trap, open_bench
from privileged.manual import (
    ABSENT,
    ADDRESS,
    CSRS,
    ENVCFG,
    HS,
    MODES,
    ONES,
    SE0,
    STCE,
    VS,
    VS_TWINS,
    VU,
    Cause,
    M,
    Mode,
    U,
    bits,
    lowest_privilege,
    read_only,
)
from rvvm import _core

ILLEGAL, VIRTUAL = Cause.ILLEGAL, Cause.VIRTUAL


def expected(address: int, mode: Mode, write: bool) -> Cause | None:
    """The rules of the address, when nothing is withheld by a control of a higher mode."""
    level = lowest_privilege(address)
    if mode == M:
        return ILLEGAL if write and read_only(address) else None
    if level == 3 or (write and read_only(address)):
        return ILLEGAL  # not HS-qualified
    permitted = {0: (HS, U, VS, VU), 1: (HS, VS), 2: (HS,)}[level]
    if mode in permitted:
        return None
    return VIRTUAL if mode.virtual else ILLEGAL


def read(bench: Bench, csr: int, mode: Mode) -> Trap | None:
    return bench.step(f"csrrs a0, {csr}, x0", mode)


def write(bench: Bench, csr: int, mode: Mode) -> Trap | None:
    return bench.step(f"csrrs a0, {csr}, a1", mode, a1=0)  # a write, of what is there already


def cause(trap: Trap | None) -> int | None:
    return trap.cause if trap else None


def test_names_agree() -> None:
    """The core's table has the manual's CSRs, at the manual's addresses, and no others."""
    table = {csr["name"]: csr["address"] for csr in _core.csrs()}
    assert table == ADDRESS


@pytest.mark.parametrize("name", CSRS)
def test_access_by_mode(name: str) -> None:
    """Each CSR, read and written, from each of the five modes."""
    bench = open_bench()
    address = ADDRESS[name]
    for mode in MODES:
        for access, is_write in ((read, False), (write, True)):
            got = cause(access(bench, address, mode))
            assert got == expected(address, mode, is_write), f"{name} {access.__name__} from {mode}"


@pytest.mark.parametrize("name", ABSENT)
def test_absent_csrs(name: str) -> None:
    """RV32's upper halves and debug mode's CSRs do not exist: illegal from every mode, V=1 too.

    Hypervisor chapter, "Trap Cause Codes": when XLEN > 32, an attempt to access a high-half CSR
    always raises an illegal-instruction exception.
    """
    bench = open_bench()
    for mode in MODES:
        assert cause(read(bench, ABSENT[name], mode)) == ILLEGAL, mode


#: extension -> the extensions to leave out with it (those that imply it)
_NEED_S = "h sstc sscofpmf smstateen ssstateen svade svadu svinval svnapot svpbmt sv39 sv48 sv57"
IMPLIED_BY = {
    "f": "f d zfh zfhmin zfa",
    "zicntr": "zicntr",
    "zihpm": "zihpm sscofpmf",
    "sstc": "sstc",
    "sscofpmf": "sscofpmf",
    "smstateen": "smstateen",
    "ssstateen": "smstateen ssstateen",
    "h": "h",
    "s": f"s {_NEED_S}",
    "u": f"u s {_NEED_S}",
}


@pytest.mark.parametrize("extension", IMPLIED_BY)
def test_existence_by_extension(extension: str) -> None:
    """Without the extension its CSRs are absent, and all others stay."""
    gone = IMPLIED_BY[extension].split()
    bench = Bench(without=gone)
    bench.set(mstatus=1 << 13)
    for name, (address, needs) in CSRS.items():
        absent = any(need in gone for need in needs.split())
        got = cause(read(bench, address, M))
        assert got == (ILLEGAL if absent else None), name
        if absent:
            with pytest.raises(KeyError):
                bench.hart.csr(address)
        else:
            bench.hart.csr(address)


@pytest.mark.parametrize(
    ("line", "writes"),
    [  # Zicsr, "Conditions determining whether a CSR instruction reads or writes the ... CSR"
        ("csrrw x0, {csr}, a1", True),
        ("csrrw a0, {csr}, x0", True),
        ("csrrs a0, {csr}, x0", False),
        ("csrrs a0, {csr}, a1", True),  # rs1 other than x0 that holds zero is still a write
        ("csrrc a0, {csr}, x0", False),
        ("csrrc a0, {csr}, a1", True),
        ("csrrwi a0, {csr}, 0", True),
        ("csrrsi a0, {csr}, 0", False),
        ("csrrsi a0, {csr}, 1", True),
        ("csrrci a0, {csr}, 0", False),
        ("csrrci a0, {csr}, 1", True),
    ],
)
def test_what_counts_as_a_write(line: str, writes: bool) -> None:
    """Writing a read-only CSR is illegal, and the value of the operand does not matter."""
    bench = Bench()
    assert bench.cause(line.format(csr=ADDRESS["mhartid"]), M, a1=0) == (
        ILLEGAL if writes else None
    )


def test_failed_access_changes_nothing() -> None:
    """A trapping CSR instruction writes neither rd nor the CSR; tval is the instruction."""
    bench = Bench()
    bench.set(mscratch=0x1234)
    code = bench.load(f"csrrw a0, {ADDRESS['mscratch']}, a1").code
    trap = bench.step(code, HS, a0=7, a1=8)
    assert trap is not None
    assert (trap.cause, trap.tval) == (ILLEGAL, int.from_bytes(code, "little"))
    assert (bench.get("mscratch"), bench.x("a0")) == (0x1234, 7)


@pytest.mark.parametrize(
    ("operation", "old", "operand", "new"),
    [
        ("csrrw", 0xF0F0, 0x1234, 0x1234),
        ("csrrs", 0xF0F0, 0x0FF0, 0xFFF0),
        ("csrrc", 0xF0F0, 0x0FF0, 0xF000),
        ("csrrwi", 0xF0F0, 0x1F, 0x1F),
        ("csrrsi", 0xF0F0, 0x1F, 0xF0FF),
        ("csrrci", 0xF0FF, 0x1F, 0xF0E0),
    ],
)
def test_csr_arithmetic(operation: str, old: int, operand: int, new: int) -> None:
    """Unprivileged spec, Zicsr: rd gets the old value, also where rd is rs1."""
    bench = Bench()
    bench.set(mscratch=old)
    source = f"a0, {ADDRESS['mscratch']}, " + (str(operand) if operation.endswith("i") else "a0")
    assert bench.step(f"{operation} {source}", a0=operand) is None
    assert (bench.x("a0"), bench.get("mscratch")) == (old, new)


@pytest.mark.parametrize("name", VS_TWINS)
def test_vs_csrs_substitute(name: str) -> None:
    """With V=1 a supervisor CSR is its VS twin ("Hypervisor and Virtual Supervisor CSRs")."""
    bench = open_bench(hideleg=ONES)
    twin, value = (
        VS_TWINS[name],
        {"sip": 2, "sie": 0x222, "scause": 8, "satp": 8 << 60 | 0x80000}.get(name, 1 << 8),
    )
    bench.set(**{name: 0, twin: 0})
    kept = bench.get(name)
    # satp: MODE=Sv39 would also translate the next fetch, so the read is the debugger's
    assert bench.step(f"csrrw x0, {ADDRESS[name]}, a1", VS, a1=value) is None
    assert bench.get(name) == kept
    assert bench.get(twin) & value == value
    if name != "satp":
        assert bench.step(f"csrrs a0, {ADDRESS[name]}, x0", VS) is None
        assert bench.x("a0") == bench.get(twin)


@pytest.mark.parametrize("name", ["senvcfg", "scounteren"])
def test_csrs_without_twin_stay(name: str) -> None:
    """senvcfg and scounteren keep their function and accessibility when V=1."""
    bench = open_bench()
    bench.set(**{name: 0})
    assert bench.step(f"csrrwi x0, {ADDRESS[name]}, 1", VS) is None
    assert bench.get(name) == 1


# Controls of a higher mode

COUNTERS = {"cycle": 0, "time": 1, "instret": 2, "hpmcounter3": 3, "hpmcounter31": 31}


def counter_rule(mode: Mode, m: bool, h: bool, s: bool) -> Cause | None:
    """mcounteren, hcounteren, scounteren ("Trap Cause Codes": the first three cases)."""
    if mode == M:
        return None
    if not m or (mode == U and not s):
        return ILLEGAL
    if (mode.virtual and not h) or (mode == VU and not s):
        return VIRTUAL
    return None


@pytest.mark.parametrize("name", COUNTERS)
def test_counter_enables(name: str) -> None:
    """Every combination of the three counter-enable bits from every mode."""
    bench = open_bench()
    bit = 1 << COUNTERS[name]
    for combination in range(8):
        m, h, s = (bool(combination >> n & 1) for n in range(3))
        # the other counters' bits are the opposite: only the counter's own must count
        values = [bit if on else ~bit for on in (m, h, s)]
        bench.set(mcounteren=values[0], hcounteren=values[1], scounteren=values[2])
        for mode in MODES:
            got = cause(read(bench, ADDRESS[name], mode))
            assert got == counter_rule(mode, m, h, s), f"{name} from {mode}, m={m} h={h} s={s}"


STIMECMP, VSTIMECMP = ADDRESS["stimecmp"], ADDRESS["vstimecmp"]


@pytest.mark.parametrize(
    ("mode", "closed", "result"),
    [
        # mcounteren.TM=0: illegal below M ("Machine Counter-Enable Register")
        *[(mode, "mcounteren", ILLEGAL) for mode in (HS, U, VS, VU)],
        # menvcfg.STCE=0: illegal in every mode other than M
        *[(mode, "menvcfg", ILLEGAL) for mode in (HS, U, VS, VU)],
        # hcounteren.TM=0, henvcfg.STCE=0: virtual instruction when V=1
        *[(HS, closed, None) for closed in ("hcounteren", "henvcfg", "scounteren")],
        *[(VS, closed, VIRTUAL) for closed in ("hcounteren", "henvcfg")],
        *[(VU, closed, VIRTUAL) for closed in ("hcounteren", "henvcfg", "scounteren")],
        (VS, "scounteren", None),
        (M, "mcounteren", None),
        (M, "menvcfg", None),
    ],
    ids=str,
)
def test_stimecmp_controls(mode: Mode, closed: str, result: Cause | None) -> None:
    """Who may use stimecmp (in VS: vstimecmp), by counteren.TM and envcfg.STCE."""
    bench = open_bench()
    bench.clear(**{closed: bits(1) if closed.endswith("counteren") else STCE.mask})
    assert cause(read(bench, STIMECMP, mode)) == result
    assert cause(write(bench, STIMECMP, mode)) == result


@pytest.mark.parametrize(
    ("mode", "result"), [(M, None), (HS, ILLEGAL), (U, ILLEGAL), (VS, ILLEGAL)], ids=str
)
def test_vstimecmp_needs_mcounteren(mode: Mode, result: Cause | None) -> None:
    """mcounteren.TM governs vstimecmp by its own address as well."""
    bench = open_bench(mcounteren=ONES & ~2)
    assert cause(read(bench, VSTIMECMP, mode)) == result


@pytest.mark.parametrize(
    ("csr", "mode", "control", "result"),
    [
        # mstatus.TVM: satp and hgatp from HS ("Virtualization Support in mstatus"); nothing in VS
        ("satp", HS, "TVM", ILLEGAL),
        ("hgatp", HS, "TVM", ILLEGAL),
        ("vsatp", HS, "TVM", None),
        ("satp", M, "TVM", None),
        ("hgatp", M, "TVM", None),
        ("satp", VS, "TVM", None),
        ("hgatp", VS, "TVM", VIRTUAL),
        ("vsatp", VS, "TVM", VIRTUAL),
        ("satp", U, "TVM", ILLEGAL),
        ("satp", VU, "TVM", VIRTUAL),
        # hstatus.VTVM: satp from VS
        ("satp", HS, "VTVM", None),
        ("hgatp", HS, "VTVM", None),
        ("satp", VS, "VTVM", VIRTUAL),
        ("satp", VU, "VTVM", VIRTUAL),
        ("satp", M, "VTVM", None),
        # neither touches other CSRs
        ("sstatus", HS, "TVM", None),
        ("sstatus", VS, "VTVM", None),
    ],
    ids=str,
)
def test_virtual_memory_traps(csr: str, mode: Mode, control: str, result: Cause | None) -> None:
    """TVM and VTVM, on reads and on writes."""
    bench = open_bench()
    bench.change(**{"mstatus" if control == "TVM" else "hstatus": bits(20)})
    assert cause(read(bench, ADDRESS[csr], mode)) == result
    assert cause(write(bench, ADDRESS[csr], mode)) == result


#: (CSR, mode, mstateen bit, hstateen bit) -> result; Smstateen chapter, SE0 and ENVCFG
STATEEN = [
    *[
        (csr, M, m, h, None)
        for csr in ("hstateen0", "sstateen0", "henvcfg", "senvcfg")
        for m in (0, 1)
        for h in (0, 1)
    ],
    *[
        (csr, HS, m, h, None if m else ILLEGAL)
        for csr in ("hstateen0", "sstateen0", "henvcfg", "senvcfg")
        for m in (0, 1)
        for h in (0, 1)
    ],
    *[
        (csr, VS, 0, h, ILLEGAL)
        for csr in ("hstateen0", "sstateen0", "henvcfg", "senvcfg")
        for h in (0, 1)
    ],
    *[
        (csr, VU, 0, h, ILLEGAL)
        for csr in ("hstateen0", "sstateen0", "henvcfg", "senvcfg")
        for h in (0, 1)
    ],
    *[(csr, VS, 1, h, VIRTUAL) for csr in ("hstateen0", "henvcfg") for h in (0, 1)],
    *[(csr, VS, 1, h, None if h else VIRTUAL) for csr in ("sstateen0", "senvcfg") for h in (0, 1)],
    *[(csr, VU, 1, h, VIRTUAL) for csr in ("sstateen0", "senvcfg") for h in (0, 1)],
]


@pytest.mark.parametrize(("csr", "mode", "m", "h", "result"), STATEEN, ids=str)
def test_state_enables(csr: str, mode: Mode, m: int, h: int, result: Cause | None) -> None:
    """mstateen0 and hstateen0, bits SE0 (the stateen CSRs) and ENVCFG (the envcfg CSRs)."""
    own = SE0 if "stateen" in csr else ENVCFG
    bench = open_bench()
    bench.set(mstateen0=own.mask if m else ONES & ~own.mask)
    bench.set(hstateen0=own.mask if h else ONES & ~own.mask)
    assert cause(read(bench, ADDRESS[csr], mode)) == result
    assert cause(write(bench, ADDRESS[csr], mode)) == result


@pytest.mark.parametrize("n", [1, 2, 3])
def test_state_enables_1_to_3(n: int) -> None:
    """Bit 63 of mstateen1..3 and hstateen1..3 controls the matching sstateen and hstateen."""
    bench = open_bench()
    sstateen, hstateen = ADDRESS[f"sstateen{n}"], ADDRESS[f"hstateen{n}"]
    bench.set(**{f"hstateen{n}": 0})
    assert cause(read(bench, sstateen, VS)) == VIRTUAL
    bench.set(**{f"hstateen{n}": ONES})
    assert cause(read(bench, sstateen, VS)) is None
    bench.set(**{f"mstateen{n}": 0})
    for csr in (sstateen, hstateen):
        assert cause(read(bench, csr, HS)) == ILLEGAL
        assert cause(read(bench, csr, VS)) == ILLEGAL


@pytest.mark.parametrize("csr", ["fflags", "frm", "fcsr"])
@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("hs", [0, 1, 2, 3])
@pytest.mark.parametrize("vs", [0, 3])
def test_fcsr_needs_fs(csr: str, mode: Mode, hs: int, vs: int) -> None:
    """FS=Off in mstatus, or in vsstatus when V=1: always illegal."""
    bench = open_bench()
    bench.set(mstatus=hs << 13, vsstatus=vs << 13)
    off = hs == 0 or (mode.virtual and vs == 0)
    assert cause(read(bench, ADDRESS[csr], mode)) == (ILLEGAL if off else None)


@pytest.mark.parametrize("mode", [HS, U, VS, VU], ids=str)
def test_writing_fcsr_makes_fs_dirty(mode: Mode) -> None:
    """Modifying floating-point state with V=1 sets both FS fields to 3 (Dirty)."""
    bench = open_bench()
    bench.set(mstatus=1 << 13, vsstatus=1 << 13)
    assert bench.step(f"csrrwi x0, {ADDRESS['fflags']}, 1", mode) is None
    assert bench.get("mstatus") >> 13 & 3 == 3
    assert bench.get("mstatus") >> 63 == 1
    assert bench.get("vsstatus") >> 13 & 3 == (3 if mode.virtual else 1)
    assert bench.get("vsstatus") >> 63 == (1 if mode.virtual else 0)
