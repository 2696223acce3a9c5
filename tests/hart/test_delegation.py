"""Who takes a trap: medeleg, hedeleg, mideleg, hideleg, and the order of interrupts.

"Machine Trap Delegation Registers", hypervisor chapter "Hypervisor Trap Delegation Registers",
"Trap Entry".
"""

from __future__ import annotations

import itertools

import pytest

from privileged.bench import CODE, NOWHERE, Bench, handler_of, open_bench
from privileged.manual import HS, MIE, MODES, ONES, SIE, VS, VU, Cause, Irq, M, Mode, U

#: exception -> code that raises it wherever it can be raised, and the modes where
RAISE: dict[Cause, tuple[str | int, tuple[Mode, ...]]] = {
    Cause.FETCH_ACCESS: ("jr a1", MODES),
    Cause.ILLEGAL: (0, MODES),
    Cause.BREAKPOINT: ("ebreak", MODES),
    Cause.LOAD_MISALIGNED: ("lr.w a0, (a2)", MODES),
    Cause.LOAD_ACCESS: ("lw a0, (a1)", MODES),
    Cause.STORE_MISALIGNED: ("amoadd.w a0, a0, (a2)", MODES),
    Cause.STORE_ACCESS: ("sw a0, (a1)", MODES),
    Cause.ECALL_U: ("ecall", (U, VU)),
    Cause.ECALL_HS: ("ecall", (HS,)),
    Cause.ECALL_VS: ("ecall", (VS,)),
    Cause.ECALL_M: ("ecall", (M,)),
    Cause.VIRTUAL: ("hfence.gvma x0, x0", (VS, VU)),
}
CASES = [(cause, mode) for cause, (_, modes) in RAISE.items() for mode in modes]


def raise_it(bench: Bench, cause: Cause, mode: Mode) -> str:
    """The mode that took the exception."""
    trap = bench.step(RAISE[cause][0], mode, a1=NOWHERE, a2=CODE + 1)
    if cause == Cause.FETCH_ACCESS:
        assert trap is None  # the jump itself succeeds
        trap = bench.resume()
    assert trap is not None and trap.cause == cause
    return trap.to


def destination(cause: int, mode: Mode, delegated: bool, further: bool) -> str:
    """Hypervisor chapter, "Trap Entry"; never to a less privileged mode."""
    if mode == M or not delegated or cause == Cause.ECALL_M:
        return "M"
    never = (Cause.ECALL_HS, Cause.ECALL_VS, Cause.VIRTUAL, 20, 21, 23)  # hedeleg: read-only zero
    return "VS" if mode.virtual and further and cause not in never else "HS"


@pytest.mark.parametrize(("cause", "mode"), CASES, ids=lambda x: getattr(x, "name", None))
def test_exception_delegation(cause: Cause, mode: Mode) -> None:
    """Each exception, from each mode, under the four settings of its medeleg and hedeleg bits."""
    bench = Bench()
    own = 1 << cause
    for m, h in itertools.product((0, 1), repeat=2):
        bench.set(medeleg=own if m else ONES & ~own, hedeleg=own if h else ONES & ~own)
        assert raise_it(bench, cause, mode) == destination(cause, mode, bool(m), bool(h)), (m, h)


# Interrupts


def quiet(**csrs: int) -> Bench:
    bench = open_bench()
    bench.set(stimecmp=ONES, vstimecmp=ONES, mie=ONES, menvcfg=0, hgeie=ONES)
    bench.set(**csrs)
    return bench


def pend(bench: Bench, *numbers: int) -> None:
    """Make exactly these interrupts pending, each by its own source."""
    wanted = set(numbers)
    for wire in (Irq.MSI, Irq.MTI, Irq.MEI):
        bench.hart.set_interrupt(int(wire), wire in wanted)
    bench.hart.set_guest_interrupt(3, Irq.SGEI in wanted)
    software = sum(1 << n for n in wanted & {Irq.SSI, Irq.STI, Irq.SEI, Irq.LCOFI})
    virtual = sum(1 << n for n in wanted & {Irq.VSSI, Irq.VSTI, Irq.VSEI})
    bench.set(mip=software)
    bench.set(hvip=virtual)
    assert bench.get("mip") == sum(1 << n for n in wanted)


def taken(bench: Bench, mode: Mode) -> tuple[str, int] | None:
    """(mode, cause) of the interrupt that the hart takes before its next instruction in `mode`."""
    trap = bench.step("nop", mode)
    if trap is None:
        return None
    assert trap.interrupt
    assert (trap.epc, trap.tval, trap.tval2, trap.tinst) == (CODE, 0, 0, 0)
    return trap.to, trap.cause


def enabled(target: Mode, mode: Mode, m_enable: int, s_enable: int, vs_enable: int) -> bool:
    """Is an interrupt for `target` globally enabled while in `mode`?"""
    order = {M: 4, HS: 3, U: 2, VS: 1, VU: 0}
    if mode == target:
        return bool({M: m_enable, HS: s_enable, VS: vs_enable}[mode])
    return order[mode] < order[target] and not (target == VS and mode == U)


def interrupt_target(number: int, mideleg: int, hideleg: int) -> Mode:
    if not mideleg >> number & 1:
        return M
    return VS if hideleg >> number & 1 else HS


@pytest.mark.parametrize("irq", list(Irq), ids=lambda irq: irq.name)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_interrupt_delegation(irq: Irq, mode: Mode) -> None:
    """Each interrupt, delegated or not, with each setting of the global enables, in each mode."""
    bench = quiet()
    pend(bench, irq)
    for m, h, mie, sie, vsie in itertools.product((0, 1), repeat=5):
        bench.set(mideleg=ONES if m else 0, hideleg=ONES if h else 0)
        bench.set(mstatus=MIE(mie) | SIE(sie), vsstatus=SIE(vsie))
        target = interrupt_target(irq, bench.get("mideleg"), bench.get("hideleg"))
        cause = irq - 1 if target == VS else irq  # 10, 6, 2 become 9, 5, 1 in VS-mode
        found = (target.name, cause) if enabled(target, mode, mie, sie, vsie) else None
        assert taken(bench, mode) == found, (
            f"mideleg={m} hideleg={h} MIE={mie} SIE={sie} vsSIE={vsie}"
        )


@pytest.mark.parametrize("irq", list(Irq), ids=lambda irq: irq.name)
def test_individual_enable(irq: Irq) -> None:
    """A pending interrupt whose own enable bit is clear is not taken."""
    bench = quiet(mie=ONES & ~(1 << irq))
    pend(bench, irq)
    for mode in (U, VU):
        assert taken(bench, mode) is None


#: decreasing priority; VS-level ones cannot reach M
M_ORDER = [Irq.MEI, Irq.MSI, Irq.MTI, Irq.SEI, Irq.SSI, Irq.STI, Irq.LCOFI]
HS_ORDER = [Irq.SEI, Irq.SSI, Irq.STI, Irq.SGEI, Irq.VSEI, Irq.VSSI, Irq.VSTI, Irq.LCOFI]
VS_ORDER = [Irq.VSEI, Irq.VSSI, Irq.VSTI]


@pytest.mark.parametrize(
    ("order", "mideleg", "hideleg", "target"),
    [
        (M_ORDER, 0, 0, M),  # "Machine Interrupt Registers"
        (HS_ORDER, ONES, 0, HS),  # hypervisor chapter, "hvip, hip, and hie"
        (VS_ORDER, ONES, ONES, VS),  # "Supervisor Interrupt Registers": SEI, SSI, STI
    ],
    ids=["M", "HS", "VS"],
)
def test_priority(order: list[Irq], mideleg: int, hideleg: int, target: Mode) -> None:
    """Of any two pending interrupts, and of all that remain, the first of the order is taken."""
    bench = quiet(mideleg=mideleg, hideleg=hideleg)
    shift = 1 if target == VS else 0
    for first, second in itertools.combinations(order, 2):
        pend(bench, first, second)
        assert taken(bench, VU) == (target.name, first - shift), (first.name, second.name)
    for n, first in enumerate(order):
        pend(bench, *order[n:])
        assert taken(bench, VU) == (target.name, first - shift)


def test_higher_modes_first() -> None:
    """Interrupts to M come before those to HS, and those before any to VS."""
    bench = quiet(mideleg=ONES, hideleg=ONES)
    pend(bench, Irq.MTI, Irq.SEI, Irq.VSEI)
    assert taken(bench, VU) == ("M", Irq.MTI)
    pend(bench, Irq.LCOFI, Irq.VSEI)
    assert taken(bench, VU) == ("HS", Irq.LCOFI)


@pytest.mark.parametrize(
    ("irq", "mideleg", "hideleg", "target", "tvec"),
    [
        *[(irq, 0, 0, M, "mtvec") for irq in M_ORDER],
        *[(irq, ONES, 0, HS, "stvec") for irq in HS_ORDER],
        *[(irq, ONES, ONES, VS, "vstvec") for irq in VS_ORDER],
    ],
    ids=str,
)
def test_vectored(irq: Irq, mideleg: int, hideleg: int, target: Mode, tvec: str) -> None:
    """MODE=Vectored: interrupts go to BASE + 4 x cause (the translated one), exceptions to BASE."""
    bench = quiet(mideleg=mideleg, hideleg=hideleg, medeleg=ONES, hedeleg=ONES)
    base = handler_of(target)
    bench.set(**{tvec: base | 1})
    pend(bench, irq)
    found = taken(bench, VU)
    assert found is not None
    assert bench.hart.pc == base + 4 * found[1]
    pend(bench)
    if target == M:
        bench.set(medeleg=0)
    if target == HS:
        bench.set(hedeleg=0)
    assert bench.step(0, VU) is not None
    assert bench.hart.pc == base


@pytest.mark.parametrize(
    ("target", "epc", "cause_csr"),
    [
        (M, "mepc", "mcause"),
        (HS, "sepc", "scause"),
        (VS, "vsepc", "vscause"),
    ],
    ids=str,
)
def test_interrupt_writes(target: Mode, epc: str, cause_csr: str) -> None:
    """The Interrupt bit of the cause, epc at the interrupted instruction, which did not run."""
    bench = quiet(mideleg=0 if target == M else ONES, hideleg=ONES if target == VS else 0)
    pend(bench, Irq.VSSI if target == VS else Irq.SSI)
    assert bench.step("addi a0, a0, 1", VU, a0=5) is not None
    assert bench.x("a0") == 5
    assert (bench.get(epc), bench.get(cause_csr)) == (CODE, 1 << 63 | 1)


@pytest.mark.parametrize(
    "line",
    [
        "csrrw x0, mstatus, a1",
        "csrrs x0, mstatus, a1",
        "csrrsi x0, mstatus, 8",
    ],
)
def test_interrupt_right_after_enable(line: str) -> None:
    """The conditions are evaluated immediately after a write of a CSR they depend on."""
    bench = quiet()
    bench.set(mstatus=0)
    pend(bench, Irq.MSI)
    assert bench.step(line, M, a1=8) is None
    trap = bench.resume()
    assert trap is not None and trap.interrupt and trap.epc == CODE + 4


def test_interrupt_right_after_mret() -> None:
    """... and immediately after an xRET."""
    bench = quiet(mideleg=ONES)
    bench.set(mstatus=0x80, mepc=CODE + 64)
    pend(bench, Irq.SSI)
    assert bench.step("mret", M) is None
    trap = bench.resume()
    assert trap is not None
    assert (trap.to, trap.cause, trap.epc) == ("HS", Irq.SSI, CODE + 64)
