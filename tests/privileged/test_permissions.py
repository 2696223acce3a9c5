"""Which instruction may execute in which mode, and what it raises elsewhere.

Hypervisor chapter "Trap Cause Codes" and "Hypervisor Instructions", "Virtualization Support in
mstatus", Svinval, Zawrs and the CMO extensions.
"""

from __future__ import annotations

import itertools

import pytest

from privileged.bench import DATA, Bench, open_bench
from privileged.manual import BELOW_M, CBCFE, CBIE, CBZE, HS, MODES, ONES, VS, VU, Field, M, Mode, U

ILL, VIRT = 2, 22  # illegal instruction, virtual instruction
TVM, TW, VTVM, VTW, HU = "TVM", "TW", "VTVM", "VTW", "HU"
CONTROLS = {
    TVM: ("mstatus", 20),
    TW: ("mstatus", 21),
    VTVM: ("hstatus", 20),
    VTW: ("hstatus", 21),
    HU: ("hstatus", 9),
}

#: instructions -> {control that is set: causes in (M, HS, U, VS, VU)}
Row = tuple[tuple[str, ...], dict[str, tuple[int | None, ...]]]
TABLE: dict[str, Row] = {
    # "Virtualization Support in mstatus"; hstatus.VTVM; Svinval: as SFENCE.VMA
    "sfence.vma": (
        ("sfence.vma x0, x0", "sfence.vma a1, x0", "sfence.vma x0, a1", "sinval.vma x0, x0"),
        {
            "": (None, None, ILL, None, VIRT),
            TVM: (None, ILL, ILL, None, VIRT),
            VTVM: (None, None, ILL, VIRT, VIRT),
        },
    ),
    # Svinval: unaffected by TVM and VTVM
    "sfence.w.inval": (
        ("sfence.w.inval", "sfence.inval.ir"),
        {
            "": (None, None, ILL, None, VIRT),
            TVM: (None, None, ILL, None, VIRT),
            VTVM: (None, None, ILL, None, VIRT),
        },
    ),
    # "Hypervisor Memory-Management Fence Instructions"
    "hfence.vvma": (
        ("hfence.vvma x0, x0", "hfence.vvma a1, a1", "hinval.vvma x0, x0"),
        {
            "": (None, None, ILL, VIRT, VIRT),
            TVM: (None, None, ILL, VIRT, VIRT),
            VTVM: (None, None, ILL, VIRT, VIRT),
        },
    ),
    "hfence.gvma": (
        ("hfence.gvma x0, x0", "hfence.gvma a1, a1", "hinval.gvma x0, x0"),
        {
            "": (None, None, ILL, VIRT, VIRT),
            TVM: (None, ILL, ILL, VIRT, VIRT),
            VTVM: (None, None, ILL, VIRT, VIRT),
        },
    ),
    # "Hypervisor Virtual-Machine Load and Store Instructions": M, HS, or U with hstatus.HU
    "hlv": (
        tuple(f"hlv.{x} a0, (a1)" for x in ["b", "bu", "h", "hu", "w", "wu", "d"])
        + tuple(f"hlvx.{x} a0, (a1)" for x in ("hu", "wu"))
        + tuple(f"hsv.{x} a0, (a1)" for x in "bhwd"),
        {"": (None, None, ILL, VIRT, VIRT), HU: (None, None, None, VIRT, VIRT)},
    ),
    # WFI; U-mode: illegal whatever TW, as S-mode is there
    "wfi": (
        ("wfi",),
        {
            "": (None, None, ILL, None, VIRT),
            TW: (None, ILL, ILL, ILL, ILL),
            VTW: (None, None, ILL, VIRT, VIRT),
        },
    ),
    # available everywhere
    "everywhere": (
        ("fence", "fence.i", "fence.tso", "nop", "wrs.sto", "prefetch.r 0(a1)", "pause"),
        {"": (None,) * 5, TW: (None,) * 5, VTW: (None,) * 5},
    ),
}
CASES = [
    (line, control, mode, causes[n])
    for lines, settings in TABLE.values()
    for line in lines
    for control, causes in settings.items()
    for n, mode in enumerate(MODES)
]


@pytest.mark.parametrize(("line", "control", "mode", "cause"), CASES, ids=str)
def test_permission(line: str, control: str, mode: Mode, cause: int | None) -> None:
    bench = Bench()
    if control:
        csr, bit = CONTROLS[control]
        bench.set(**{csr: 1 << bit})
    assert bench.cause(line, mode, a1=DATA) == cause


@pytest.mark.parametrize(
    ("mode", "tw", "vtw", "legal"),
    [
        # Zawrs: WRS.NTO may end for any reason, so what TW and VTW demand is only allowed
        *[(mode, 0, 0, {None}) for mode in MODES],
        (M, 1, 1, {None}),
        *[(mode, 1, 0, {None, ILL}) for mode in BELOW_M],
        *[(mode, 1, 1, {None, ILL}) for mode in BELOW_M],
        *[(mode, 0, 1, {None, VIRT}) for mode in (VS, VU)],
        *[(mode, 0, 1, {None}) for mode in (HS, U)],
    ],
    ids=str,
)
def test_wrs_nto(mode: Mode, tw: int, vtw: int, legal: set[int | None]) -> None:
    bench = Bench()
    bench.set(mstatus=tw << 21, hstatus=vtw << 21)
    assert bench.cause("wrs.nto", mode) in legal


def test_wrs_nto_goes_on_when_nothing_is_reserved() -> None:
    """Without a valid reservation there is nothing to wait for, so nothing times out either."""
    bench = Bench()
    bench.set(mstatus=1 << 21)
    assert bench.cause("wrs.nto", HS) is None


# Cache-block operations


#: the pseudo-code of "CSR controls for CMO instructions"
def cbo_rule(mode: Mode, m: int, h: int, s: int) -> int | None:
    if mode == M:
        return None
    if not m or (mode == U and not s):
        return ILL
    if (mode.virtual and not h) or (mode == VU and not s):
        return VIRT
    return None


CBO = [
    ("cbo.zero", CBZE, (0, 1)),
    ("cbo.clean", CBCFE, (0, 1)),
    ("cbo.flush", CBCFE, (0, 1)),
    ("cbo.inval", CBIE, (0, 1, 3)),
]


@pytest.mark.parametrize(("name", "field", "values"), CBO, ids=str)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_cbo_controls(name: str, field: Field, values: tuple[int, ...], mode: Mode) -> None:
    """Every combination of the field in the three envcfg registers; no other field counts."""
    bench = open_bench()
    others = ONES & ~field.mask
    for m, h, s in itertools.product(values, repeat=3):
        bench.set(menvcfg=others | field(m), henvcfg=others | field(h), senvcfg=others | field(s))
        bench.poke(DATA, 1)
        assert bench.cause(f"{name} (a1)", mode, a1=DATA) == cbo_rule(mode, m, h, s), (m, h, s)


@pytest.mark.parametrize("offset", [0, 1, 7, 63])
def test_cbo_zero_clears_its_block(offset: int) -> None:
    """Zic64b: blocks have 64 bytes; any address in the block names it, and none is misaligned."""
    bench = Bench()
    bench.system.write(DATA, bytes([0xAA]) * 192)
    assert bench.step("cbo.zero (a1)", a1=DATA + 64 + offset) is None
    assert bench.system.read(DATA, 192) == bytes([0xAA]) * 64 + bytes(64) + bytes([0xAA]) * 64


@pytest.mark.parametrize("name", ["cbo.clean", "cbo.flush", "cbo.inval"])
def test_cbo_management_keeps_memory(name: str) -> None:
    """With coherent memory a clean, flush or invalidate changes no byte."""
    bench = Bench()
    bench.system.write(DATA, bytes(range(64)))
    assert bench.step(f"{name} (a1)", a1=DATA + 3) is None
    assert bench.system.read(DATA, 64) == bytes(range(64))


@pytest.mark.parametrize("line", ["prefetch.i 0(a1)", "prefetch.r 32(a1)", "prefetch.w -32(a1)"])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_prefetch_never_raises(line: str, mode: Mode) -> None:
    """Zicbop: no illegal-instruction, virtual-instruction, page-fault or access-fault exception."""
    assert Bench().cause(line, mode, a1=0x4000_0000) is None


# WFI


def test_wfi_goes_on_with_a_locally_enabled_interrupt() -> None:
    """WFI resumes for a pending interrupt that is locally enabled, whatever the global enables."""
    bench = Bench()
    bench.set(mie=8, mstatus=0)
    bench.hart.set_interrupt(3, True)
    program = bench.load("wfi; addi a0, x0, 7; end: j end")
    bench.enter(M, program.base)
    exit_ = bench.system.run(instructions=8)
    assert exit_.reason == "budget"
    assert (bench.x("a0"), bench.hart.pc) == (7, program["end"])


def test_wfi_wakes_into_the_handler() -> None:
    """The interrupt is taken on the instruction after WFI: epc is pc + 4."""
    bench = Bench(clock="host")
    bench.set(mie=0x80, mstatus=8)
    program = bench.load("wfi; end: j end")
    bench.hart.set_timer(bench.system.time + 20_000)  # 2 ms
    bench.enter(M, program.base)
    exit_ = bench.system.run(instructions=4)
    assert exit_.reason == "budget"
    assert (bench.get("mcause"), bench.get("mepc")) == (1 << 63 | 7, program.base + 4)
