"""Whole guest programs that go down and up through the privilege modes.

Hypervisor chapter, "Trap Entry", "Trap Return" and the CSRs that a hypervisor uses in its work.
Every handler appends (mode, cause) to a log to which s11 points; all code here leaves s11 alone.
"""

from __future__ import annotations

import pytest

from privileged.bench import CODE, DATA, POOL, RAM, RAM_SIZE, Bench
from privileged.manual import ONES, STCE, U_ALL, VS, M, flags
from privileged.pages import Table

pytestmark = pytest.mark.usefixtures("accel")

LOG = DATA + 0x8_0000
END = "end: j end"


def log(tag: str, cause: str) -> str:
    """Handler code: append the tag (a letter) and the cause to the log."""
    return f"""
        csrr t6, {cause}
        sd   t6, 8(s11)
        li   t6, {ord(tag)}
        sd   t6, 0(s11)
        addi s11, s11, 16
    """


def skip(epc: str) -> str:
    """Handler code: return after the instruction that trapped."""
    return f"csrr t6, {epc}; addi t6, t6, 4; csrw {epc}, t6"


def logged(bench: Bench) -> list[str]:
    found = []
    for address in range(LOG, bench.x("s11"), 16):
        cause = bench.peek(address + 8)
        kind = "i" if cause >> 63 else ""
        found.append(f"{chr(bench.peek(address))}{kind}{cause & ONES >> 1}")
    return found


def execute(source: str, limit: int = 10_000, bench: Bench | None = None, **symbols: int) -> Bench:
    """Run a program from M-mode until it spins at its end."""
    bench = bench or Bench()
    bench.load(source, CODE, **symbols)
    bench.regs(s11=LOG)
    bench.enter(M, CODE)
    bench.run(limit)
    return bench


DOWN_AND_UP = f"""
        # M: delegate everything that can be, go to HS
        la   t0, m_trap;  csrw mtvec, t0
        la   t0, hs_trap; csrw stvec, t0
        la   t0, vs_trap; csrw vstvec, t0
        li   t0, -1
        csrw medeleg, t0
        li   t0, 0x200            # but not ECALL from HS
        csrc medeleg, t0
        li   t0, 0x1800; csrc mstatus, t0
        li   t0, 0x0800; csrs mstatus, t0      # MPP = S
        la   t0, hs;     csrw mepc, t0
        mret
hs:     # HS: delegate to the guest what a guest handles itself, go to VS
        li   t0, 0xb1ff; csrw hedeleg, t0
        li   t0, 0x180;  csrs hstatus, t0      # SPV, SPVP
        li   t0, 0x100;  csrs sstatus, t0      # SPP = S
        la   t0, vs;     csrw sepc, t0
        sret
vs:     # VS: go to VU
        li   t0, 0x100;  csrc sstatus, t0
        la   t0, vu;     csrw sepc, t0
        sret
vu:     ecall                      # 8 to VS
        .word 0                    # 2 to VS
        ebreak                     # 3 to VS
        hfence.gvma x0, x0         # 22 to HS
        csrr t0, sstatus           # 22 to HS: a supervisor CSR from VU
        csrr t0, mstatus           # 2 to VS
        li   a7, 1
        ecall                      # 8 to VS, which calls on
here:   j here
vs_trap:
        {log("V", "scause")}
        {skip("sepc")}
        bnez a7, vs_calls
        sret
vs_calls:
        csrr t0, hstatus           # 22 to HS
        ecall                      # 10 to HS
back:   j back
hs_trap:
        {log("H", "scause")}
        {skip("sepc")}
        csrr t0, scause
        li   t1, 10
        beq  t0, t1, hs_calls
        sret
hs_calls:
        ecall                      # 9 to M
m_trap:
        {log("M", "mcause")}
        {END}
"""


def test_down_and_up() -> None:
    """M to HS to VS to VU, each kind of trap from below, and ECALL by ECALL up to M again."""
    bench = execute(DOWN_AND_UP)
    assert logged(bench) == ["V8", "V2", "V3", "H22", "H22", "V2", "V8", "H22", "H10", "M9"]
    assert bench.mode() == (3, False)


DEMAND = f"""
        la   t0, hs_trap; csrw stvec, t0
        li   t0, -1;      csrw medeleg, t0
        csrw vsatp, s0
        csrw hgatp, s1
        li   t0, 0x180;   csrs hstatus, t0
        li   t0, 0x100;   csrs mstatus, t0
        la   t0, guest;   csrw sepc, t0
        sret                       # from M: V=1, S
guest:  li   a0, GPA
        li   a1, 5
        sd   a1, 16(a0)            # store guest-page fault, mapped on demand
        ld   a2, 16(a0)            # now it is there
        li   a3, 0x2000
        add  a3, a3, a0
        lw   a4, 4(a3)             # load guest-page fault, of another page
        ecall                      # 10: done
hs_trap:
        {log("H", "scause")}
        csrr t0, scause
        li   t1, 10
        beq  t0, t1, end
        csrr t2, htval             # guest physical address >> 2
        sd   t2, 0(s11)
        csrr t3, htinst
        sd   t3, 8(s11)
        addi s11, s11, 16
        srli t4, t2, 10            # its page number
        andi t5, t4, 0x1ff
        slli t5, t5, 3
        add  t5, t5, s2            # the G-stage PTE
        li   t6, PAGE
        slli t4, t4, 60
        srli t4, t4, 48            # the low 4 bits of the page number, as pages
        add  t6, t6, t4
        srli t6, t6, 2
        ori  t6, t6, FLAGS
        sd   t6, 0(t5)
        hfence.gvma t2, x0
        sret                       # retry
{END}
"""


def test_demand_paging_by_a_hypervisor() -> None:
    """HS maps guest pages from htval as they are touched; the guest sees nothing of it."""
    bench = Bench()
    gpa, page = 0x1_0000_0000, RAM + 0x40_0000
    g = Table(bench, gstage=True)
    g.identity(RAM, RAM_SIZE)
    bench.regs(s0=0, s1=g.atp(7), s2=g.slot(gpa))
    bench.poke(page + 0x2004, 0x1234, 4)
    execute(DEMAND, bench=bench, GPA=gpa, PAGE=page, FLAGS=U_ALL)
    log_words = [bench.peek(LOG + 8 * n) for n in range(10)]
    store, load = 0x00B0_3023, 0x0000_2703  # sd a1, 0(x0) and lw a4, 0(x0)
    assert log_words == [72, 23, gpa + 16 >> 2, store, 72, 21, gpa + 0x2004 >> 2, load, 72, 10]
    assert (bench.x("a2"), bench.x("a4"), bench.peek(page + 16)) == (5, 0x1234, 5)


INJECT = f"""
        la   t0, hs_trap; csrw stvec, t0
        la   t0, vs_trap; csrw vstvec, t0
        li   t0, -1
        csrw medeleg, t0; csrw mideleg, t0; csrw hideleg, t0
        csrw hie, t0
        li   t0, 0x100;   csrw hedeleg, t0     # ECALL from VU to VS
        li   t0, 0x180;   csrs hstatus, t0
        li   t0, 0x100;   csrc mstatus, t0     # SPP = U
        la   t0, vu;      csrw sepc, t0
        sret
vu:     addi a0, a0, 1
        hfence.vvma x0, x0         # 22 to HS, which raises the next interrupt
        addi a0, a0, 1
        hfence.vvma x0, x0
        addi a0, a0, 1
        hfence.vvma x0, x0
        addi a0, a0, 1
        ecall                      # to VS, then up
hs_trap:
        {log("H", "scause")}
        {skip("sepc")}
        csrr t0, scause
        li   t1, 10
        beq  t0, t1, end
        beqz s1, up
        li   s1, 0                 # called from the guest's handler: lower the line
        csrw hvip, x0
        sret
up:     li   s1, 1
        csrw hvip, s0              # VSSIP, VSTIP, VSEIP in turn
        slli s0, s0, 4
        sret
vs_trap:
        {log("V", "scause")}
        csrr t0, scause
        li   t1, 8
        beq  t0, t1, vs_ecall
        csrw vsip, x0              # 22 to HS: a VS CSR by its own address, used as a hypercall
        sret
vs_ecall:
        ecall
{END}
"""


def test_injection_through_hvip() -> None:
    """HS sets hvip, returns to VU, and the guest takes the translated interrupt: 1, 5, 9."""
    bench = Bench()
    bench.set(stimecmp=ONES, vstimecmp=ONES)
    bench.regs(s0=1 << 2, s1=0, a0=0)
    execute(INJECT, bench=bench)
    rounds = [["H22", f"Vi{cause}", "H22"] for cause in (1, 5, 9)]
    assert logged(bench) == [*sum(rounds, []), "V8", "H10"]
    assert bench.x("a0") == 4


TIMER = f"""
        la   t0, vs_trap; csrw vstvec, t0
        la   t0, hs_trap; csrw stvec, t0
        li   t0, -1
        csrw medeleg, t0; csrw mideleg, t0; csrw hideleg, t0
        csrw menvcfg, t0; csrw henvcfg, t0; csrw mcounteren, t0; csrw hcounteren, t0
        li   t0, DELTA;   csrw htimedelta, t0
        li   t0, 0x180;   csrs hstatus, t0
        li   t0, 0x100;   csrs mstatus, t0
        la   t0, vs;      csrw sepc, t0
        sret
vs:     csrr a0, time
        li   t0, DELTA
        sub  a0, a0, t0            # small: the guest's time has the delta in it
        csrr t0, time
        addi t0, t0, 200
        csrw stimecmp, t0          # really vstimecmp
        li   t0, 0x20
        csrs sie, t0
        csrsi sstatus, 2
wait:   addi a1, a1, 1
        j    wait
hs_trap:
        {log("H", "scause")}
        j    end
vs_trap:
        {log("V", "scause")}
        li   t0, -1
        csrw stimecmp, t0
        csrr a2, sip               # the line has fallen
{END}
"""


def test_guest_timer() -> None:
    """Sstc: the guest's own timer, in its own time, interrupts it without the hypervisor."""
    bench = Bench()
    bench.set(menvcfg=STCE.mask, stimecmp=ONES, vstimecmp=ONES)
    execute(TIMER, limit=100_000, bench=bench, DELTA=1 << 45)
    assert logged(bench) == ["Vi5"]
    assert 0 <= bench.x("a0") < 1_000_000
    assert bench.x("a1") > 0
    assert bench.x("a2") == 0
    assert bench.mode() == (1, True)


EMULATE = f"""
        la   t0, hs_trap; csrw stvec, t0
        li   t0, -1
        csrw medeleg, t0; csrw mcounteren, t0; csrw scounteren, t0
        csrw hcounteren, x0                     # the guest's counters trap
        li   t0, 0x200180; csrs hstatus, t0     # VTW, SPV, SPVP
        li   t0, 0x100;    csrs mstatus, t0
        la   t0, vs;       csrw sepc, t0
        csrw hgatp, s1
        csrw vsatp, s0
        sret
vs:     csrr a0, cycle             # 22: HS puts 77 into a0
        wfi                        # 22 by VTW
        csrr a1, hgatp             # 22: no hypervisor CSR for the guest
        ecall
hs_trap:
        {log("H", "scause")}
        csrr t0, scause
        li   t1, 10
        beq  t0, t1, end
        csrr t2, sepc              # read the instruction in the guest's own address space
        hlvx.hu t3, (t2)
        addi t2, t2, 2
        hlvx.hu t4, (t2)
        slli t4, t4, 16
        or   t3, t3, t4
        csrr t5, stval
        sd   t3, 0(s11)
        sd   t5, 8(s11)
        addi s11, s11, 16
        li   a0, 77
        {skip("sepc")}
        sret
{END}
"""


def test_trap_and_emulate() -> None:
    """HS fetches the guest's instruction with HLVX and finds what stval says."""
    bench = Bench()
    g, vs = Table(bench, gstage=True), Table(bench)
    g.identity(RAM, POOL - RAM, flags("vxuad"))  # execute-only code: HLVX can, HLV could not
    g.identity(POOL, RAM + RAM_SIZE - POOL)
    vs.map(CODE, CODE, flags("vxad"))
    bench.regs(s0=vs.atp(), s1=g.atp())
    execute(EMULATE, bench=bench)
    words = [bench.peek(LOG + 8 * n) for n in range(14)]
    causes, pairs = words[1::4], list(zip(words[2::4], words[3::4], strict=True))
    assert causes == [22, 22, 22, 10]
    csrr_cycle, wfi, csrr_hgatp = 0xC000_2573, 0x1050_0073, 0x6800_25F3
    assert pairs == [(code, code) for code in (csrr_cycle, wfi, csrr_hgatp)]
    assert bench.x("a0") == 77


NESTED_MODES = """
        # M sets MPV and MPP and returns straight into the guest, then traps back from it
        la   t0, m_trap; csrw mtvec, t0
        li   s2, 0x1800; csrc mstatus, s2
        li   s3, 1
        slli s3, s3, 39
        csrs mstatus, s3           # MPV
        csrs mstatus, s4           # MPP: from the test
        la   t0, guest;  csrw mepc, t0
        mret
guest:  ecall
m_trap: csrr a0, mcause
        csrr a1, mstatus
end:    j    end
"""


def test_m_mode_enters_the_guest_directly() -> None:
    """MRET with MPV=1 goes to VS or VU, and the trap from there shows MPV and MPP."""
    for mpp, cause in ((0, 8), (1, 10)):
        bench = Bench()
        bench.regs(s4=mpp << 11)
        execute(NESTED_MODES, bench=bench)
        assert bench.x("a0") == cause
        status = bench.x("a1")
        assert (status >> 39 & 1, status >> 11 & 3, status >> 38 & 1) == (1, mpp, 0)


def test_program_in_vs_is_not_seen_by_m_or_hs() -> None:
    """A guest's supervisor CSRs are its own: what it writes stays in the VS CSRs."""
    bench = Bench()
    bench.set(sscratch=1, stvec=0x100, sepc=0x200, scause=3, stval=4)
    program = bench.load("""
        li t0, 0x80; csrw sscratch, t0; csrw stvec, t0; csrw sepc, t0
        li t0, 5;    csrw scause, t0; csrw stval, t0
        end: j end
    """)
    bench.enter(VS, program.base)
    bench.run()
    names = ("sscratch", "stvec", "sepc", "scause", "stval")
    assert [bench.get(n) for n in names] == [1, 0x100, 0x200, 3, 4]
    assert [bench.get("v" + n) for n in names] == [0x80, 0x80, 0x80, 5, 5]
