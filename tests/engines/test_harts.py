"""Harts on a thread each: atomics, memory order, code and translations that others change."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from engines.harts import DATA, PASS, RAM, Harts
from privileged.bench import atp

ENGINES = [{"accel": "interp"}, {"accel": "jit", "hot": 1}]
ROUNDS = 20_000

pytestmark = pytest.mark.parametrize("engine", ENGINES, ids=["interp", "jit"])

BARRIER = """
    # All harts meet: a4 is how many, s10 the number of meetings so far.
    meet:
        li   t0, DATA + 0xf00
        li   t1, 1
        amoadd.w x0, t1, (t0)
        addi s10, s10, 1
        mul  t2, s10, a4
    gather:
        pause
        lw   t3, (t0)
        bltu t3, t2, gather
        fence
        ret
"""


@pytest.mark.parametrize("harts", [2, 4])
@pytest.mark.parametrize(
    ("add", "size"),
    [
        ("amoadd.w x0, t1, (s0)", 4),
        ("amoadd.d x0, t1, (s0)", 8),
        ("again: lr.w t2, (s0); add t2, t2, t1; sc.w t3, t2, (s0); bnez t3, again", 4),
        ("again: lr.d.aq t2, (s0); add t2, t2, t1; sc.d.rl t3, t2, (s0); bnez t3, again", 8),
        (
            "again: lw t2, (s0); add t3, t2, t1; mv t4, t2"
            "; amocas.w t4, t3, (s0); bne t4, t2, again",
            4,
        ),
        (
            "again: ld t2, (s0); add t3, t2, t1; mv t4, t2"
            "; amocas.d t4, t3, (s0); bne t4, t2, again",
            8,
        ),
    ],
    ids=["amoadd.w", "amoadd.d", "lr.w", "lr.d", "amocas.w", "amocas.d"],
)
def test_counters(engine: dict[str, Any], harts: int, add: str, size: int) -> None:
    """No addition is lost."""
    source = f"""
        li s0, DATA
        li s1, ROUNDS
        li t1, 1
    next:
        {add}
        addi s1, s1, -1
        bnez s1, next
        {PASS}
    """
    machine = Harts(harts, source, engine=engine, ROUNDS=ROUNDS)
    machine.run()
    assert machine.word(DATA, size) == harts * ROUNDS


@pytest.mark.parametrize("name", ["swap", "xor", "and", "or", "min", "max", "minu", "maxu"])
def test_amos_are_indivisible(engine: dict[str, Any], name: str) -> None:
    """Harts own a bit each, or a value each, of one word that all change."""
    setup = {"and": -1, "min": (1 << 62), "minu": -1, "max": -(1 << 62)}.get(name, 0)
    source = f"""
        li s0, DATA
        li s1, ROUNDS
        li s2, 1
        sll s2, s2, a0              # this hart's bit
        xori s3, s2, -1
    next:
        {STEPS[name]}
        addi s1, s1, -1
        bnez s1, next
        {PASS}
    """
    machine = Harts(4, source, engine=engine, ROUNDS=ROUNDS)
    machine.system.write(DATA, (setup & (1 << 64) - 1).to_bytes(8, "little"))
    machine.run()
    assert machine.word(DATA) == ENDS[name] & (1 << 64) - 1


STEPS = {
    # A token goes round: nobody may hold it twice.
    "swap": """
        spin: amoswap.d t1, s2, (s0); bnez t1, spin
        ld t2, 8(s0); addi t2, t2, 1; sd t2, 8(s0)
        amoswap.d.rl t1, x0, (s0); beqz t1, fail
    """,
    "xor": "amoxor.d t1, s2, (s0); andi t2, s1, 1; and t1, t1, s2"
    "; sltu t1, x0, t1; bne t1, t2, fail",
    "or": "amoor.d t1, s2, (s0); and t1, t1, s2; bnez t1, fail; amoand.d t1, s3, (s0)"
    "; and t1, t1, s2; beqz t1, fail",
    "and": "amoand.d t1, s3, (s0); and t1, t1, s2; beqz t1, fail; amoor.d t1, s2, (s0)"
    "; and t1, t1, s2; bnez t1, fail",
    "min": "slli t2, s1, 2; add t2, t2, a0; amomin.d t1, t2, (s0); ld t3, (s0); blt t2, t3, fail",
    "minu": "slli t2, s1, 2; add t2, t2, a0; amominu.d t1, t2, (s0); ld t3, (s0)"
    "; bltu t2, t3, fail",
    "max": "sub t2, x0, s1; slli t2, t2, 2; add t2, t2, a0; amomax.d t1, t2, (s0); ld t3, (s0)"
    "; blt t3, t2, fail",
    "maxu": "li t2, ROUNDS; sub t2, t2, s1; slli t2, t2, 2; add t2, t2, a0; amomaxu.d t1, t2, (s0)"
    "; ld t3, (s0); bltu t3, t2, fail",
}
ENDS = {
    "swap": 0,
    "xor": 0,
    "or": 0,
    "and": -1,
    "min": 4,
    "minu": 4,
    "max": -4 + 3,
    "maxu": 4 * (ROUNDS - 1) + 3,
}


def test_pairs_are_one(engine: dict[str, Any]) -> None:
    """amocas.q: both halves of a counter move together."""
    source = f"""
        li s0, DATA
        li s1, ROUNDS
    next:
        ld   s2, (s0)
        ld   s3, 8(s0)
        addi s4, s2, 1
        addi s5, s3, 2
        mv   s6, s2
        mv   s7, s3
        amocas.q s6, s4, (s0)
        slli t1, s6, 1
        bne  t1, s7, fail          # what it has read is one value
        bne  s6, s2, next
        addi s1, s1, -1
        bnez s1, next
        {PASS}
    """
    machine = Harts(4, source, engine=engine, ROUNDS=ROUNDS)
    machine.run()
    assert machine.words(DATA, 2) == [4 * ROUNDS, 8 * ROUNDS]


def test_a_spinlock_keeps_others_out(engine: dict[str, Any]) -> None:
    source = f"""
        li s0, DATA
        li s1, ROUNDS
        li t1, 1
    next:
        amoswap.w.aq t2, t1, (s0)
        bnez t2, busy
        ld   t3, 64(s0)
        addi t3, t3, 1
        sd   t3, 64(s0)
        ld   t4, 128(s0)
        addi t4, t4, 1
        sd   t4, 128(s0)
        bne  t3, t4, fail
        amoswap.w.rl x0, x0, (s0)
        addi s1, s1, -1
        bnez s1, next
        {PASS}
    busy:
        pause
        j next
    """
    machine = Harts(4, source, engine=engine, ROUNDS=ROUNDS)
    machine.run()
    assert machine.word(DATA + 64) == machine.word(DATA + 128) == 4 * ROUNDS


def test_message_passing(engine: dict[str, Any]) -> None:
    """Data before the flag, both ordered by fences: who sees the flag sees the data."""
    source = f"""
        li s0, DATA
        li s1, DATA + 0x2000
        li s2, ROUNDS
        bnez a0, reader
        li t1, 0
    write:
        addi t1, t1, 1
        sd   t1, (s0)
        fence w, w
        sd   t1, (s1)
        bne  t1, s2, write
        {PASS}
    reader:
        ld   t1, (s1)
        fence r, r
        ld   t2, (s0)
        bltu t2, t1, fail
        bne  t1, s2, reader
        {PASS.replace("over", "over2")}
    """
    Harts(2, source, engine=engine, ROUNDS=10 * ROUNDS).run()


def test_store_buffers(engine: dict[str, Any]) -> None:
    """Each stores, fences, and loads what the other stores: they cannot both have come first."""
    source = f"""
        li a4, 2
        li s0, DATA
        li s1, 2000
        slli t1, a0, 9
        add  s2, s0, t1            # mine
        xori t1, t1, 0x200
        add  s3, s0, t1            # the other's
        slli t1, a0, 3
        add  s4, s0, t1
        addi s4, s4, 0x400         # where I note what I saw
    next:
        call meet
        sd   s1, (s2)
        fence
        ld   t1, (s3)
        sub  t1, t1, s1            # 0: I saw it
        sltu t1, x0, t1
        sd   t1, (s4)
        call meet
        ld   t1, 0x400(s0)
        ld   t2, 0x408(s0)
        and  t1, t1, t2
        bnez t1, fail
        addi s1, s1, -1
        bnez s1, next
        {PASS}
        {BARRIER}
    """
    Harts(2, source, engine=engine).run()


HANDLER = """
    # A request by another hart: what `remote` says, then the answer at 0x800 + 8 * hart.
    handler:
        csrw mscratch, t0
        li   t0, MSIP
        sh2add t0, a0, t0
        sw   x0, (t0)
        {remote}
        li   t0, DATA + 0x800
        sh3add t0, a0, t0
        sd   s11, (t0)             # what it has seen last
        li   t0, DATA + 0x900
        sh3add t0, a0, t0
        amoadd.d x0, s9, (t0)
        csrr t0, mscratch
        mret
    # Hart 0 asks the others, a4 - 1 of them, and waits for all their answers.
    ask:
        addi s8, s8, 1
        li   t1, 1
        li   t0, MSIP
    each:
        bge  t1, a4, asked
        sh2add t2, t1, t0
        li   t3, 1
        sw   t3, (t2)
        addi t1, t1, 1
        j each
    asked:
        li   t1, 1
    wait:
        li   t0, DATA + 0x900
        sh3add t2, t1, t0
    answer:
        pause
        ld   t3, (t2)
        bltu t3, s8, answer
        addi t1, t1, 1
        blt  t1, a4, wait
        fence
        ret
"""
LISTEN = "la t0, handler; csrw mtvec, t0; li s9, 1; li t0, 8; csrw mie, t0; csrw mstatus, t0"


@pytest.mark.parametrize("same_line", [False, True])
def test_code_that_another_hart_changes(engine: dict[str, Any], same_line: bool) -> None:
    """After a remote FENCE.I nobody executes what was there before."""
    source = f"""
        {LISTEN}
        li   a4, 3
        li   s0, DATA + 0x8000     # the routine: addi a1, x0, n and ret
        li   s7, 0x593             # its first instruction but for n
        bnez a0, caller
        li   s1, 300
    next:
        slli t1, s1, 20
        or   t1, t1, s7
        sw   t1, (s0)
        fence w, w
        call ask
        li   t0, DATA
        sd   s1, (t0)              # from now on nobody may see an older one
        addi s1, s1, -1
        bnez s1, next
        {PASS}
    caller:
        li   t0, DATA
        ld   s5, (t0)              # the newest that is everywhere
        fence r, r
        jalr ra, (s0)
        beqz s5, first
        bltu s5, a1, fail          # numbers go down
    first:
        sd   s5, NOISE(s0)         # a store into the page, or the line, of the code
        li   t0, DATA
        ld   t1, (t0)
        li   t2, 1
        bne  s5, t2, caller
        {PASS.replace("over", "over2")}
        {HANDLER.format(remote="fence.i")}
    """
    machine = Harts(3, source, engine=engine, NOISE=0x20 if same_line else 0x400)
    routine = (0x593 | 301 << 20).to_bytes(4, "little") + (0x8067).to_bytes(4, "little")
    machine.system.write(DATA + 0x8000, routine)
    machine.run()


def test_translations_that_another_hart_changes(engine: dict[str, Any]) -> None:
    """After a remote SFENCE.VMA nobody reaches the page that was there before."""
    leaf = 0xCF  # V R W X A D, of the supervisor
    source = f"""
        {LISTEN}
        li   a4, 3
        li   s0, DATA + 0x2000     # the PTE
        li   s2, FIRST
        li   s3, SECOND
        bnez a0, reader
        li   s1, 100
    next:
        sd   s3, (s0)
        fence
        call ask
        srli t1, s2, 10
        slli t1, t1, 12
        li   t2, 1
        sd   t2, (t1)              # the old page is poison now
        mv   t1, s2
        mv   s2, s3
        mv   s3, t1
        srli t1, s3, 10
        slli t1, t1, 12
        sd   x0, (t1)              # and good again, before it comes back
        addi s1, s1, -1
        bnez s1, next
        li   t0, DATA
        li   t1, 1
        sd   t1, (t0)
        call ask
        {PASS}
    reader:
        li   t0, SATP
        csrw satp, t0
        li   t0, -1
        csrw pmpaddr0, t0
        csrwi pmpcfg0, 0x1f
        la   t0, inside
        csrw mepc, t0
        li   t0, 0x880             # MPP = S, MPIE
        csrw mstatus, t0
        li   s4, VA
        li   s5, DATA
        mret
    inside:
        ld   t1, (s4)
        bnez t1, inside_fail
        ld   t2, (s5)
        beqz t2, inside
        li   t0, FINISH
        sd   x0, (t0)
    over2: j over2
    inside_fail:
        li   t0, FINISH
        sd   s4, (t0)
    over3: j over3
        {HANDLER.format(remote="sfence.vma x0, x0")}
    """
    root, middle, table = DATA + 0x10000, DATA + 0x11000, DATA + 0x2000
    first, second = DATA + 0x20000, DATA + 0x21000
    machine = Harts(
        3,
        source,
        engine=engine,
        FIRST=first >> 2 | leaf,
        SECOND=second >> 2 | leaf,
        SATP=atp(8, root),
        VA=0x1_0000_0000,
    )
    gigapages = {0: 0, 2: RAM}
    ptes = {root + 8 * n: base >> 2 | leaf for n, base in gigapages.items()}
    ptes |= {root + 8 * 4: middle >> 2 | 1, middle: table >> 2 | 1, table: first >> 2 | leaf}
    for at, pte in ptes.items():
        machine.system.write(at, pte.to_bytes(8, "little"))
    machine.run()


def test_harts_wake_each_other(engine: dict[str, Any]) -> None:
    """A ping-pong of interrupts to harts that wait for them."""
    source = f"""
        li   s1, 500
        li   t0, 8
        csrw mie, t0
        li   s0, MSIP
        sh2add s2, a0, s0          # mine
        xori t1, a0, 1
        sh2add s3, t1, s0          # the other's
        li   s4, 1
        bnez a0, next
        sw   s4, (s3)
    next:
        wfi
        csrr t1, mip
        andi t1, t1, 8
        beqz t1, next
        sw   x0, (s2)
        sw   s4, (s3)
        addi s1, s1, -1
        bnez s1, next
        {PASS}
    """
    Harts(2, source, engine=engine).run()


def test_waiting_harts_cost_nothing(engine: dict[str, Any]) -> None:
    """WFI with nothing to wake for: the threads sleep."""
    machine = Harts(4, "next: wfi; j next", engine=engine)
    machine.run_for(0.1)
    before = time.process_time()
    assert machine.run_for(1.0).reason == "pause"
    assert time.process_time() - before < 0.2


def test_budgets_are_of_all_harts(engine: dict[str, Any]) -> None:
    """To the instruction, small and large."""
    machine = Harts(3, "next: addi a1, a1, 1; j next", engine=engine)
    total = 0
    for budget in (1, 1000, 5_000_000, 1_234_567):
        assert machine.system.run(budget).reason == "budget"
        total += budget
        assert sum(hart.instret for hart in machine.harts) == total


def test_a_pause_is_prompt_and_the_run_goes_on(engine: dict[str, Any]) -> None:
    machine = Harts(4, "next: addi a1, a1, 1; j next", engine=engine)
    for _ in range(20):
        begun = time.monotonic()
        assert machine.run_for(0.02).reason == "pause"
        assert time.monotonic() - begun < 10  # at once, on a host that is busy too
    assert sum(hart.instret for hart in machine.harts) > 0


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """As at a terminal: in the background of a shell SIGINT is ignored, and that is inherited."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_interrupt_of_python(engine: dict[str, Any]) -> None:
    """Ctrl-C ends a run of several harts."""
    machine = Harts(4, "next: j next", engine=engine)
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        machine.run_for(20)
    assert machine.run_for(0.05).reason == "pause"


def test_an_error_of_a_device_ends_the_run(engine: dict[str, Any]) -> None:
    machine = Harts(4, "li t0, 0x3000000; next: ld t1, (t0); j next", engine=engine)

    def broken(offset: int, width: int) -> int:
        raise ZeroDivisionError

    machine.system.add_device("broken", 0x3000000, 0x1000, broken, lambda *_: None)
    with pytest.raises(ZeroDivisionError):
        machine.run_for(20)


def test_a_device_that_writes_code(engine: dict[str, Any]) -> None:
    """Memory that a device changes, while a hart waits for it and others execute it."""
    source = f"""
        li s0, 0x3000000
        li s1, DATA + 0x8000
        li s2, 500
        bnez a0, caller
    next:
        sd   s2, (s0)              # the device writes addi a1, x0, n
        jalr ra, (s1)
        bne  a1, s2, fail
        addi s2, s2, -1
        bnez s2, next
        {PASS}
    caller:
        jalr ra, (s1)
        li   t1, 1
        bne  a1, t1, caller
        {PASS.replace("over", "over2")}
    """
    machine = Harts(3, source, engine=engine)
    routine = DATA + 0x8000

    def write(offset: int, width: int, value: int) -> None:
        machine.system.write(routine, (0x593 | value << 20).to_bytes(4, "little"))

    write(0, 8, 501)
    machine.system.write(routine + 4, (0x8067).to_bytes(4, "little"))
    machine.system.add_device("writer", 0x3000000, 0x1000, lambda *_: 0, write)
    machine.run()


def test_a_breakpoint_from_a_device(engine: dict[str, Any]) -> None:
    """An observer that comes while harts run on threads: they go on in turns, and stop there."""
    source = "li t0, 0x3000000; sd x0, (t0); loop: nop; there: j loop"
    machine = Harts(2, source, engine=engine)
    there = machine.program["there"]
    machine.system.add_device(
        "observer", 0x3000000, 8, lambda *_: 0, lambda *_: machine.system.add_breakpoint(there)
    )
    exit = machine.run_for(20)
    assert (exit.reason, exit.detail) == ("breakpoint", there)
