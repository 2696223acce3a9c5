"""Code that changes, code in odd places, and budgets: blocks must be as if there were none.

Unprivileged ISA, "Zifencei": after a fence.i a hart fetches what was stored before.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest

from asm import Program, asm
from privileged.bench import CODE, RAM, Bench
from privileged.manual import FS, HS, S_ALL
from privileged.pages import Table

pytestmark = pytest.mark.usefixtures("accel")

PAGE = 0x1000
OLD, NEW = 1, 16  # what the function adds to a0 before and after the change
RETURN = asm("ret")
NEW_WORD = asm(f"addi a0, a0, {NEW}")
INSTRUCTION_FAULT, ILLEGAL = 1, 2
DEVICE = 0x1000_0000

Drive = Callable[[Bench, int], None]


def in_blocks(bench: Bench, count: int) -> None:
    bench.system.run(count)


def in_steps(bench: Bench, count: int) -> None:
    while count:
        before = bench.hart.instret
        bench.hart.step(1)
        count -= bench.hart.instret - before


def in_threes(bench: Bench, count: int) -> None:
    for part in range(0, count, 3):
        bench.system.run(min(3, count - part))


DRIVES: list[Drive] = [in_blocks, in_steps, in_threes]
drives = pytest.mark.parametrize("drive", DRIVES, ids=lambda drive: drive.__name__)


def board(ram: int = 1 << 20, clock: str = "instructions") -> Bench:
    bench = Bench(ram=ram, clock=clock)
    bench.change(mstatus=FS(1))
    bench.hart.privilege, bench.hart.pc = 3, CODE
    return bench


# Changes to a function that has been called before.

#: address of the function; the caller is at CODE
PLACES = {
    "the same page": CODE + 0x800,
    "another page": CODE + 3 * PAGE,
    "the page before": CODE - PAGE + 0x40,
    "two pages": CODE + 4 * PAGE - 2,
    "the end of a page": CODE + 4 * PAGE - 4,
    "far away": RAM + 0x8_0000,
}

#: the guest's ways to store s2, or s4 which has the ret behind it too, at s1
STORES = {
    "sw": "sw s2, 0(s1)",
    "sh": "sh s2, 0(s1); srli s3, s2, 16; sh s3, 2(s1)",
    "sb": "srli s3, s2, 16; sb s3, 2(s1); srli s3, s2, 24; sb s3, 3(s1)",
    "sd": "sd s4, 0(s1)",
    "fsw": "fmv.w.x f1, s2; fsw f1, 0(s1)",
    "fsd": "fmv.d.x f1, s4; fsd f1, 0(s1)",
    "hsv.w": "hsv.w s2, (s1)",
    "amoswap.w": "amoswap.w x0, s2, (s1)",
    "amoor.b": "addi s3, s1, 3; srli s5, s2, 24; amoswap.b x0, s5, (s3); addi s3, s1, 2; "
    "srli s5, s2, 16; amoswap.b x0, s5, (s3)",
    "sc.w": "lr.w t0, (s1); sc.w t0, s2, (s1)",
    "amocas.d": "ld a2, 0(s1); amocas.d a2, s4, (s1)",
    "amocas.q": "ld a2, 0(s1); ld a3, 8(s1); mv a4, s4; mv a5, a3; amocas.q a2, a4, (s1)",
}
ALIGNED = {"hsv.w": 4, "amoswap.w": 4, "sc.w": 4, "amocas.d": 8, "amocas.q": 16}
CHANGES = [
    (place, store)
    for place, store in product(PLACES, STORES)
    if PLACES[place] % ALIGNED.get(store, 1) == 0
]


def function(bench: Bench, at: int, adds: int = OLD) -> None:
    bench.load(f"addi a0, a0, {adds}; ret", at)


def caller(bench: Bench, at: int, change: str, after: str = "fence.i") -> Program:
    """Calls the function, makes the change, and calls it again."""
    bench.regs(a0=0, s1=at, s2=NEW_WORD, s4=RETURN << 32 | NEW_WORD)
    return bench.load(f"jalr ra, 0(s1); {change}; {after}; jalr ra, 0(s1); end: j end", CODE)


@drives
@pytest.mark.parametrize(("place", "store"), CHANGES)
def test_function_changed_by_its_caller(place: str, store: str, drive: Drive) -> None:
    bench, at = board(), PLACES[place]
    function(bench, at)
    caller(bench, at, STORES[store])
    drive(bench, 40)
    assert bench.hart.traps == 0, bench.hart.last_trap
    assert bench.x("a0") == OLD + NEW


@drives
@pytest.mark.parametrize("place", PLACES)
def test_function_changed_from_outside(place: str, drive: Drive) -> None:
    """System.write and Hart.write count as stores of another agent: the next run sees them."""
    bench, at = board(), PLACES[place]
    function(bench, at)
    end = caller(bench, at, "nop", "returned: nop")["returned"]
    for write in (bench.system.write, bench.hart.write):
        for adds in (OLD, NEW):
            write(at, asm(f"addi a0, a0, {adds}").to_bytes(4, "little"))
            bench.hart.pc = CODE
            bench.regs(a0=0)
            drive(bench, 4)
            assert (bench.hart.pc, bench.x("a0")) == (end, adds)


@drives
@pytest.mark.parametrize("place", PLACES)
def test_function_changed_by_a_device(place: str, drive: Drive) -> None:
    """A device that writes to RAM while the store that made it do so executes."""
    bench, at = board(), PLACES[place]

    def write(offset: int, width: int, value: int) -> None:
        bench.system.write(at, value.to_bytes(width, "little"))

    bench.system.add_device("dma", DEVICE, PAGE, lambda offset, width: 0, write)
    function(bench, at)
    caller(bench, at, "sw s2, 0(s5)")
    bench.regs(s5=DEVICE)
    drive(bench, 40)
    assert bench.x("a0") == OLD + NEW


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("turn", [1, 7, 150_000])
@pytest.mark.parametrize("extensions", ["same", "fewer"])
def test_function_changed_by_another_hart(place: str, turn: int, extensions: str) -> None:
    """The second hart waits for the flag at s7, stores and raises the flag at s6.

    With the host's clock each run() gives the next hart a turn: harts change at every instruction.
    """
    bench, at = board(clock="host"), PLACES[place]
    flags = RAM + 0x8000
    fewer = [name for name in bench.extensions if name not in ("h", "zba")]
    have = bench.extensions if extensions == "same" else fewer
    other = bench.system.add_hart(1, have, CODE + 0x400)
    wait = "wait: lw t0, 0(s7); beqz t0, wait"
    bench.load(f"{wait}; sw s2, 0(s1); fence; sw s2, 0(s6); end: j end", CODE + 0x400)
    for register, value in ((9, at), (18, NEW_WORD), (22, flags), (23, flags + 4)):
        other.set_x(register, value)
    function(bench, at)
    caller(bench, at, "sw s2, 0(s7); wait: lw t0, 0(s6); beqz t0, wait")
    bench.regs(s6=flags, s7=flags + 4)
    for _ in range(0, 150, turn):
        bench.system.run(turn)
    assert other.traps == bench.hart.traps == 0
    assert bench.x("a0") == OLD + NEW


@drives
def test_code_zeroed_by_block(drive: Drive) -> None:
    """cbo.zero leaves the illegal instruction."""
    bench, at = board(), PLACES["another page"]
    function(bench, at)
    caller(bench, at, "cbo.zero (s1)")
    drive(bench, 10)
    assert (bench.trap().cause, bench.trap().epc) == (ILLEGAL, at)


@drives
@pytest.mark.parametrize("distance", [0, 1, 5, 14, 40, 62, 63, 64, 70, 1000])
def test_code_ahead(drive: Drive, distance: int) -> None:
    """Before a fence.i the old or the new instruction may run, and nothing else."""
    bench = board()
    filler = "nop; " * distance
    source = f"again: sw s2, 0(s1); {filler} patch: addi a0, a0, {OLD}; fence.i; j again"
    program = bench.load(source, CODE)
    bench.regs(a0=0, s1=program["patch"], s2=NEW_WORD)
    drive(bench, distance + 2)
    assert bench.x("a0") in (OLD, NEW)
    drive(bench, 2 * (distance + 4))
    assert bench.x("a0") in (OLD + 2 * NEW, 3 * NEW)


@drives
def test_code_rewritten_a_thousand_times(drive: Drive) -> None:
    """Each round adds one to the immediate of the addi that it is about to execute."""
    bench = board()
    rounds = 1000
    program = bench.load(
        f"li s0, {rounds}; li s3, 0x100000; loop: add s2, s2, s3; sw s2, 0(s1); fence.i;"
        "patch: addi a0, a0, 0; addi s0, s0, -1; bnez s0, loop; end: j end"
    )
    bench.regs(a0=0, s1=program["patch"], s2=asm("addi a0, a0, 0"))
    drive(bench, 7 * rounds)
    assert bench.x("a0") == rounds * (rounds + 1) // 2
    assert bench.hart.pc == program["end"]


@drives
def test_code_moves_along(drive: Drive) -> None:
    """A routine written 300 times, each time 16 bytes further on and over the end of a page."""
    bench = board()
    source = """
        mv t0, s1
        lw t1, 0(s0); sw t1, 0(t0)
        lw t1, 4(s0); sw t1, 4(t0)
        addi s1, s1, 16
        addi a0, a0, 1
        fence.i
        jalr ra, 0(t0)
    """
    bench.load(source, CODE)
    bench.load("addi a0, a0, 1; jalr x0, 0(ra)", CODE + 0x200)
    bench.load("addi s3, s3, -1; bnez s3, 0x80001000; end: j end", CODE + 36)
    bench.regs(a0=0, s0=CODE + 0x200, s1=CODE + PAGE - 0x100, s3=300)
    drive(bench, 300 * 13 + 2)
    assert bench.x("a0") == 600 and bench.hart.traps == 0


# Instructions across pages under translation.


@drives
@pytest.mark.parametrize("change", ["remapped", "stored"])
def test_second_half_changes(drive: Drive, change: str) -> None:
    """The upper half of an addi, with its immediate, lies in a page of its own."""
    bench = board()
    table = Table(bench_with_pool(bench))
    code, straddling = 0x40_0000, 0x50_0FFE
    first, one, two = RAM + 0x1_0000, RAM + 0x2_0000, RAM + 0x3_0000
    table.map(code, first, S_ALL)
    table.map(0x50_0000, first + PAGE, S_ALL)
    slot = table.map(0x50_1000, one, S_ALL)
    table.map(0x60_0000, slot & -PAGE, S_ALL)  # for the guest to change, as are the halves
    table.map(0x61_0000, one, S_ALL)
    for page, adds in ((one, OLD), (two, NEW)):
        whole = asm(f"addi a0, a0, {adds}").to_bytes(4, "little") + RETURN.to_bytes(4, "little")
        bench.system.write(first + PAGE + 0xFFE, whole[:2])
        bench.system.write(page, whole[2:])
    act = "sd s2, 0(s3); sfence.vma x0, x0" if change == "remapped" else "sh s4, 0(s5); fence.i"
    bench.load(f"jalr ra, 0(s1); {act}; jalr ra, 0(s1); end: j end", first)
    entry = bench.peek(slot) + (two - one >> 12 << 10)
    bench.regs(a0=0, s1=straddling, s2=entry, s3=0x60_0000 + slot % PAGE)
    bench.regs(s4=NEW_WORD >> 16, s5=0x61_0000)
    bench.set(satp=table.atp())
    bench.enter(HS, code)
    drive(bench, 12)
    assert bench.hart.traps == 0, bench.hart.last_trap
    assert bench.x("a0") == OLD + NEW


def bench_with_pool(bench: Bench) -> Bench:
    """Page tables within the small RAM of these tests."""
    bench._pool = RAM + 0x4_0000
    return bench


@drives
def test_second_half_missing(drive: Drive) -> None:
    """ "xtval is the address of the portion of the instruction that caused the fault"."""
    bench = board()
    table = Table(bench_with_pool(bench))
    table.map(0x40_0000, RAM + 0x1_0000, S_ALL)
    bench.system.write(RAM + 0x1_0FFE, NEW_WORD.to_bytes(4, "little"))
    bench.set(satp=table.atp())
    bench.enter(HS, 0x40_0FFE)
    drive(bench, 1)
    found = bench.trap()
    assert (found.cause, found.epc, found.tval) == (12, 0x40_0FFE, 0x40_1000)


# Odd places.


@drives
def test_into_the_middle(drive: Drive) -> None:
    """The upper half of a lui is a c.li: both readings in turn, from one place in memory."""
    bench = board()
    both = 0x4515_0537  # lui a0, 0x45150; its upper half: c.li a0, 5
    source = f"""
        j whole
        .align 4
        whole: .word {both}
        add s0, s0, a0
        addi s1, s1, -1
        beqz s1, end
        andi t0, s1, 1
        beqz t0, whole
        j whole + 2
        end: j end
    """
    program = bench.load(source, CODE)
    bench.regs(s0=0, s1=200)
    drive(bench, 200 * 7)
    assert bench.hart.pc == program["end"]
    assert bench.x("s0") == 100 * 0x4515_0000 + 100 * 5


END = RAM + (1 << 20)


@drives
def test_last_instruction_of_ram(drive: Drive) -> None:
    bench = board()
    bench.load("addi a0, a0, 1; ret", END - 8)
    bench.load("la s1, target; loop: jalr ra, 0(s1); j loop", CODE, target=END - 8)
    bench.regs(a0=0)
    drive(bench, 2 + 4 * 50)
    assert bench.x("a0") == 50 and bench.hart.traps == 0


@drives
@pytest.mark.parametrize("before", [2, 4, 8])
def test_running_off_the_end(drive: Drive, before: int) -> None:
    """The fetch behind RAM faults there, after all before it has executed."""
    bench = board()
    bench.load(b"\x05\x05" * (before // 2), END - before)  # c.addi a0, 1
    bench.regs(a0=0)
    bench.hart.pc = END - before
    drive(bench, before // 2 + 1)
    found = bench.trap()
    assert (found.cause, found.epc, found.tval) == (INSTRUCTION_FAULT, END, END)
    assert bench.x("a0") == before // 2


@drives
def test_half_an_instruction_at_the_end(drive: Drive) -> None:
    bench = board()
    bench.system.write(END - 2, NEW_WORD.to_bytes(4, "little")[:2])
    bench.hart.pc = END - 2
    drive(bench, 1)
    found = bench.trap()
    assert (found.cause, found.epc, found.tval) == (INSTRUCTION_FAULT, END - 2, END)


@drives
@pytest.mark.parametrize("offset", [0, 2, 0x800, 0xFFE])
def test_devices_hold_no_code(drive: Drive, offset: int) -> None:
    """An access fault; the device does not hear of it."""
    bench = board()
    heard: list[int] = []

    def read(at: int, width: int) -> int:
        heard.append(at)
        return 0x13

    bench.system.add_device("device", DEVICE, PAGE, read, lambda at, width, value: None)
    bench.load("jalr ra, 0(s1)", CODE)
    bench.regs(s1=DEVICE + offset)
    drive(bench, 3)
    found = bench.trap()
    assert (found.cause, found.epc, found.tval) == (INSTRUCTION_FAULT, *[DEVICE + offset] * 2)
    assert not heard


# Budgets.

MIXTURE = (
    """
    start:  li      s0, 5
            la      s1, data
    loop:   addi    a0, a0, 3
            sd      a0, 0(s1)
            ld      a1, 0(s1)
            call    leaf
            csrrw   a2, mscratch, a0
            ecall
            fence.i
            csrrs   a3, instret, x0
            j       crossing
            .org    0x80001ffe
    crossing: addi  a4, a4, 7
            fence
            amoadd.d a5, a0, (s1)
            addi    s0, s0, -1
            bnez    s0, loop
            j       start
    leaf:   """
    + "xor t0, t0, a0; addi t0, t0, 1; " * 40
    + """
            ret
            .align 4
    data:   .dword 0, 0
    handler: csrrw  t6, mscratch, t6
            csrrs   t6, mepc, x0
            addi    t6, t6, 4
            csrrw   x0, mepc, t6
            csrrw   t6, mscratch, t6
            mret
"""
)


def mixture() -> Bench:
    bench = board()
    program = bench.load(MIXTURE, CODE)
    bench.set(mtvec=program["handler"])
    bench.system.time = 0
    return bench


def states(count: int) -> list[dict[str, object]]:
    """After each instruction that retires, by single steps."""
    bench = mixture()
    found = [bench.hart.registers()]
    while len(found) <= count:
        before = bench.hart.instret
        bench.hart.step(1)
        if bench.hart.instret > before:
            found.append(bench.hart.registers())
    return found


def same(one: dict[str, object], other: dict[str, object]) -> None:
    differing = {name: (one[name], other[name]) for name in one if one[name] != other[name]}
    assert not differing


def test_every_budget() -> None:
    """run(n) retires exactly n and leaves the state of n steps, from a new board each time."""
    expected = states(260)
    for count, state in enumerate(expected):
        bench = mixture()
        assert bench.system.run(count).reason == "budget"
        assert bench.hart.instret == count
        same(bench.hart.registers(), state)


@pytest.mark.parametrize("part", [1, 2, 3, 5, 64, 65, 83, 100])
def test_budgets_in_a_row(part: int) -> None:
    """So does the n-th run of the same system, with its blocks made."""
    expected = states(1200)
    bench = mixture()
    for count in range(part, len(expected), part):
        bench.system.run(part)
        assert bench.hart.instret == count
        same(bench.hart.registers(), expected[count])


# The same run twice.


def timed(harts: int) -> Bench:
    """Harts that count timer interrupts and add to shared memory as they go."""
    bench = board()
    program = bench.load(
        """
        loop:   amoadd.d a0, s0, (s1)
                csrrs   a1, time, x0
                csrrs   a2, mcycle, x0
                add     a3, a3, a1
                mul     a4, a3, a0
                sd      a4, 8(s1)
                j       loop
                .align  4
        handler: addi   s2, s2, 1
                csrrs   t0, time, x0
                addi    t0, t0, 37
                csrrw   x0, stimecmp, t0
                mret
        """,
        CODE,
    )
    for number in range(1, harts):
        bench.system.add_hart(number, bench.extensions, CODE)
    for number, hart in enumerate(bench.system.harts):
        for address, value in TIMER_CSRS.items():
            hart.set_csr(address, value or program["handler"])
        hart.set_x(8, number + 1)
        hart.set_x(9, RAM + 0x8000)
    return bench


#: mtvec (the handler), menvcfg.STCE, stimecmp, mie.STIE, mstatus.MIE
TIMER_CSRS = {0x305: 0, 0x30A: 1 << 63, 0x14D: 50, 0x304: 1 << 5, 0x300: 1 << 3}


def outcome(bench: Bench) -> tuple[list[dict[str, object]], bytes]:
    harts = [hart.registers() for hart in bench.system.harts]
    return harts, bench.system.read(RAM, 1 << 20)


@pytest.mark.parametrize("harts", [1, 2, 4])
def test_runs_repeat(harts: int) -> None:
    """With clock="instructions" two runs end alike, timer interrupts and all."""
    boards = [timed(harts), timed(harts)]
    for part in (1, 999, 50_000, 123_457):
        for bench in boards:
            bench.system.run(part)
    assert outcome(boards[0]) == outcome(boards[1])
    assert all(hart.traps > 5 for hart in boards[0].system.harts)


@pytest.mark.parametrize("part", [1, 10, 149, 997])
def test_runs_in_parts(part: int) -> None:
    """On one hart it makes no difference where run returns."""
    whole, parts = timed(1), timed(1)
    total = part * (20_000 // part)
    whole.system.run(total)
    for _ in range(0, total, part):
        parts.system.run(part)
    same(whole.hart.registers(), parts.hart.registers())
    assert outcome(whole) == outcome(parts)


def test_steps_are_runs() -> None:
    """Time, and its interrupts, pass in single steps as they do in a run."""
    run, steps = timed(1), timed(1)
    in_blocks(run, 20_000)
    in_steps(steps, 20_000)
    same(run.hart.registers(), steps.hart.registers())


def test_timers_are_punctual() -> None:
    """A deadline set within a turn counts: the handler sets its next one 37 ticks ahead."""
    bench = timed(1)
    bench.system.run(20_000)
    assert bench.system.time == 200
    assert bench.x("s2") == 5  # at 50, 87, 124, 161 and 198


@pytest.mark.parametrize("sleeper", [0, 1])
def test_time_does_not_go_back(sleeper: int) -> None:
    """One hart works for several turns while the other waits."""
    bench = board()
    source = """
        loop:   csrrs   a1, time, x0
                bltu    a1, a0, back
                addi    a0, a1, 0
                j       loop
        back:   j       back
        sleep:  wfi
                j       sleep
    """
    program = bench.load(source, CODE)
    bench.system.add_hart(1, bench.extensions, CODE)
    harts = bench.system.harts
    harts[sleeper].pc, worker = program["sleep"], harts[1 - sleeper]
    worker.set_x(10, 0)
    bench.system.run(300_000)
    assert worker.pc < program["back"]
    assert worker.x(10) > 2900
