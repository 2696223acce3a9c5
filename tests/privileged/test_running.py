"""What running code itself changes takes effect on the instructions that follow.

The other tests set the state from outside and step once; these let programs run: CSR writes,
fences, stores to code and interrupts must be seen by what follows, wherever blocks of it begin.
"""

from __future__ import annotations

import threading

import pytest

from privileged.bench import CODE, DATA, HS_VECTOR, RAM, RAM_SIZE, VS_VECTOR, Bench
from privileged.manual import HS, ONES, STCE, U_ALL, VS, M, Mode, U, flags
from privileged.pages import Table

pytestmark = pytest.mark.usefixtures("accel")

VA = 0x10_0000_0000


def run(bench: Bench, source: str, mode: Mode = M, limit: int = 5000, **symbols: int) -> Bench:
    program = bench.load(source, CODE, **symbols)
    bench.enter(mode, program.base)
    bench.run(limit)
    return bench


def test_mprv_in_a_straight_line() -> None:
    """MPRV on, a load through satp, MPRV off, a load without: in one run of instructions."""
    bench = Bench()
    table = Table(bench)
    table.map(VA, DATA)
    bench.poke(DATA, 0x77)
    bench.set(satp=table.atp(), mstatus=0)
    source = """
        li a0, VA; li a1, 0x20000; li a2, 0x800; li a3, DATA
        csrs mstatus, a2           # MPP = S
        csrs mstatus, a1           # MPRV
        ld   a4, (a0)
        csrc mstatus, a1
        ld   a5, (a3)
        csrs mstatus, a1
        ld   a6, (a0)
        csrc mstatus, a1
        end: j end
    """
    run(bench, source, VA=VA, DATA=DATA)
    assert [bench.x(r) for r in ("a4", "a5", "a6")] == [0x77] * 3


def test_sum_in_a_straight_line() -> None:
    """sstatus.SUM set and cleared by the program around its accesses to a user page."""
    bench = Bench()
    table = Table(bench)
    table.identity(RAM, RAM_SIZE)
    table.map(VA, DATA, flags("vrwuad"))
    bench.set(satp=table.atp())
    source = """
        li a0, VA; li a1, 0x40000; li a2, 5
        csrs sstatus, a1
        sd   a2, (a0)
        ld   a3, (a0)
        csrc sstatus, a1
        last: ld a4, (a0)          # faults: SUM is clear again
    """
    program = bench.load(source, CODE, VA=VA)
    bench.enter(HS, CODE)
    bench.run()
    assert bench.x("a3") == 5
    assert (bench.get("mcause"), bench.get("mepc"), bench.get("mtval")) == (13, program["last"], VA)


def test_page_table_switch_by_the_program() -> None:
    """csrw satp with another ASID: the next load sees the other table, without a fence."""
    bench = Bench()
    first, second = Table(bench), Table(bench)
    for table, page in ((first, DATA), (second, DATA + 0x1000)):
        table.identity(RAM, RAM_SIZE)
        table.map(VA, page)
    bench.poke(DATA, 1)
    bench.poke(DATA + 0x1000, 2)
    bench.regs(s0=first.atp(1), s1=second.atp(2))
    source = """
        li a0, VA
        csrw satp, s0; ld a1, (a0)
        csrw satp, s1; ld a2, (a0)
        csrw satp, s0; ld a3, (a0)
        csrw satp, x0
        end: j end
    """
    run(bench, source, HS, VA=VA)
    assert [bench.x(r) for r in ("a1", "a2", "a3")] == [1, 2, 1]


@pytest.mark.parametrize("fence", ["sfence.vma x0, x0", "sfence.vma a0, x0", "sfence.vma a0, a5"])
def test_remapping_by_the_program(fence: str) -> None:
    """Load, rewrite the PTE, fence, load: also when all of it is one run of instructions."""
    bench = Bench()
    table = Table(bench)
    table.identity(RAM, RAM_SIZE)
    slot = table.map(VA, DATA)
    bench.poke(DATA, 1)
    bench.poke(DATA + 0x1000, 2)
    bench.set(satp=table.atp(9))
    bench.regs(a0=VA, a3=slot, a4=bench.peek(slot) + (1 << 10), a5=9)
    run(bench, f"ld a1, (a0); sd a4, (a3); {fence}; ld a2, (a0); end: j end", HS)
    assert (bench.x("a1"), bench.x("a2")) == (1, 2)


def test_remapped_code() -> None:
    """A jump to a page, a new mapping, a fence, a jump to the same address: the new code runs."""
    bench = Bench()
    table = Table(bench)
    table.identity(RAM, RAM_SIZE)
    slot = table.map(VA, DATA)
    bench.load("addi a1, a1, 1; ret", DATA)
    bench.load("addi a1, a1, 16; ret", DATA + 0x1000)
    bench.set(satp=table.atp())
    bench.regs(a0=VA, a1=0, a3=slot, a4=bench.peek(slot) + (1 << 10))
    source = """
        jalr ra, 0(a0)
        jalr ra, 0(a0)
        sd a4, (a3); sfence.vma x0, x0
        jalr ra, 0(a0)
        end: j end
    """
    run(bench, source, HS)
    assert bench.x("a1") == 18


@pytest.mark.parametrize("mode", [M, HS, U, VS], ids=str)
def test_self_modifying_code(mode: Mode) -> None:
    """A store to an instruction just ahead, then FENCE.I: the new instruction executes."""
    bench = Bench()
    bench.regs(a0=0, a1=0x0640_0513)  # addi a0, x0, 100
    source = """
            la  a2, patch
            sw  a1, (a2)
            fence.i
    patch:  addi a0, a0, 1
    end:    j end
    """
    run(bench, source, mode)
    assert bench.x("a0") == 100


def test_loop_that_rewrites_itself() -> None:
    """Each round increments the immediate of an instruction that it then executes."""
    bench = Bench()
    bench.regs(a0=0, a4=1 << 20, a5=20)
    source = """
            la  a2, patch
    again:  lw  a1, (a2)
            add a1, a1, a4         # one more in the immediate
            sw  a1, (a2)
            fence.i
    patch:  addi a0, a0, 0
            addi a5, a5, -1
            bnez a5, again
    end:    j end
    """
    run(bench, source)
    assert bench.x("a0") == sum(range(1, 21))


def test_pmp_change_by_the_program() -> None:
    """pmpcfg written, SFENCE.VMA, MRET to U: the fetch there faults, or not."""
    for config, cause in ((0x1F, 8), (0x1B, 1)):  # with X and without
        bench = Bench()
        bench.set(pmpaddr0=DATA >> 2 | 0x1FF, pmpaddr1=ONES, pmpcfg0=0x1F18)
        bench.load("ecall", DATA)
        bench.regs(a0=config | 0x1F00, a1=DATA)
        bench.set(mstatus=0)
        run(bench, "csrw pmpcfg0, a0; sfence.vma x0, x0; csrw mepc, a1; mret")
        assert (bench.get("mcause"), bench.get("mepc")) == (cause, DATA)


# Interrupts while code runs

BOUND = 200_000  # instructions in which a pending interrupt must have been noticed
LOOPS = {
    "jump to itself": "loop: j loop",
    "counting": "loop: addi a0, a0, 1; j loop",
    "loads": "la a1, loop; loop: ld a2, (a1); bnez a2, loop",
    "long": "loop: " + "addi a0, a0, 1; " * 200 + "j loop",
}


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("mode", [HS, U], ids=str)
def test_machine_timer_interrupts_every_loop(name: str, mode: Mode) -> None:
    """The interrupt is taken in bounded time after the deadline, wherever the program is."""
    bench = Bench()
    bench.set(mie=0x80, mstatus=0)
    program = bench.load(LOOPS[name], CODE)
    bench.hart.set_timer(bench.system.time + 50)
    bench.enter(mode, CODE)
    bench.system.run(instructions=BOUND)
    assert bench.hart.traps == 1
    assert bench.get("mcause") == 1 << 63 | 7
    assert CODE <= bench.get("mepc") < CODE + len(program.code)


@pytest.mark.parametrize("name", LOOPS)
def test_supervisor_timer_interrupts_every_loop(name: str) -> None:
    """The same for stimecmp, delegated to HS, while in U."""
    bench = Bench()
    bench.set(mideleg=ONES, menvcfg=STCE.mask, sie=0x20, mstatus=0)
    bench.load(LOOPS[name], CODE)
    bench.set(stimecmp=bench.system.time + 50)
    bench.enter(U, CODE)
    bench.system.run(instructions=BOUND)
    assert bench.get("scause") == 1 << 63 | 5
    assert (bench.hart.pc, bench.mode()) == (HS_VECTOR, (1, False))


@pytest.mark.parametrize("name", LOOPS)
def test_guest_timer_interrupts_every_loop(name: str) -> None:
    """And for vstimecmp in a translated guest, delegated to VS."""
    bench = Bench()
    g = Table(bench, gstage=True)
    g.identity(RAM, RAM_SIZE, U_ALL)
    bench.set(hgatp=g.atp(1), mideleg=ONES, hideleg=ONES, hie=ONES, vsstatus=2)
    bench.set(menvcfg=ONES, henvcfg=ONES, htimedelta=1 << 50, stimecmp=ONES)
    bench.load(LOOPS[name], CODE)
    bench.set(vstimecmp=bench.system.time + (1 << 50) + 50)
    bench.enter(VS, CODE)
    bench.system.run(instructions=BOUND)
    assert bench.get("vscause") == 1 << 63 | 5
    assert (bench.hart.pc, bench.mode()) == (VS_VECTOR, (1, True))


def test_interrupt_that_a_device_raises() -> None:
    """A store to a device that raises MEI: taken within a few instructions, exactly once."""
    bench = Bench()

    def write(offset: int, width: int, value: int) -> None:
        bench.hart.set_interrupt(11, bool(value))

    bench.system.add_device("wire", 0x1000_0000, 0x1000, lambda *_: 0, write)
    bench.set(mie=0x800, mstatus=0)
    bench.regs(a0=0x1000_0000, a1=1, a2=0)
    source = "sw a1, (a0); " + "addi a2, a2, 1; " * 64 + "end: j end"
    run(bench, source, U)
    assert bench.get("mcause") == 1 << 63 | 11
    assert CODE + 4 <= bench.get("mepc") <= CODE + 4 * 33
    assert bench.x("a2") == (bench.get("mepc") - CODE) // 4 - 1


def test_pending_interrupt_enabled_by_the_program() -> None:
    """csrs sie in a straight line: the interrupt comes before the next instruction."""
    bench = Bench()
    bench.set(mideleg=ONES, stimecmp=ONES, mip=2, mstatus=2)
    bench.regs(a0=2, a1=0)
    run(bench, "addi a1, a1, 1; csrs sie, a0; addi a1, a1, 1; end: j end", HS)
    assert (bench.get("scause"), bench.get("sepc")) == (1 << 63 | 1, CODE + 8)
    assert bench.x("a1") == 1


@pytest.mark.parametrize("clock", ["instructions", "host"])
@pytest.mark.parametrize("past", ["stimecmp", "vstimecmp", "mtimecmp", ""])
def test_wfi_with_another_timer_long_due(clock: str, past: str) -> None:
    """A timer that is due but not enabled neither wakes a WFI nor hides the one that will."""
    bench = Bench(clock=clock)
    bench.set(menvcfg=ONES, henvcfg=ONES, stimecmp=ONES, vstimecmp=ONES, mstatus=8)
    bench.load("wfi; end: j end", CODE)
    bench.enter(M, CODE)
    soon = bench.system.time + 5_000_000  # 0.5 s of the timebase: a busy host must get there first
    if past == "mtimecmp":
        bench.hart.set_timer(0)
        bench.set(mie=0x20, stimecmp=soon)
    else:
        bench.hart.set_timer(soon)
        bench.set(mie=0x80, **({past: 0} if past else {}))
    watchdog = threading.Timer(5, bench.system.pause)
    watchdog.start()
    exit_ = bench.system.run(instructions=10)
    watchdog.cancel()
    assert exit_.reason == "budget"
    assert bench.get("mcause") == 1 << 63 | (5 if past == "mtimecmp" else 7)
    assert bench.get("mepc") == CODE + 4
