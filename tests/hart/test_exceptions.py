"""Synchronous exceptions without translation: cause, tval and which of two comes first.

"Machine Trap Value (mtval) Register", "Synchronous exception priority" (machine and hypervisor
chapters); Sstvala and Shvstvala ask for all of it in stval and vstval too.
"""

from __future__ import annotations

import pytest

from asm import asm
from privileged.bench import CODE, DATA, NOWHERE, RAM, RAM_SIZE, Bench, Trap, delegate_to
from privileged.manual import HS, MODES, VS, VU, Cause, M, Mode, U

RAM_END = RAM + RAM_SIZE

#: encodings that no extension here defines
ILLEGAL = {
    "all zeros": 0x0000,
    "c.addi4spn with nzuimm=0": 0x0004,
    "c.addi16sp with nzimm=0": 0x6101,
    "c.lui with nzimm=0": 0x6201,
    "c.lwsp to x0": 0x4002,
    "c.ldsp to x0": 0x6002,
    "c.jr to x0": 0x8002,
    "c.addiw to x0": 0x2001,
    "reserved, quadrant 1": 0x9C61 | 0x1C,  # c.zext... with a reserved function
    "all ones": 0xFFFF_FFFF,
    "custom-0": 0x0000_000B,
    "custom-3": 0x1234_567B,
    "reserved load": 0x0000_7003,
    "reserved system": 0x0000_4073,
    "reserved shift": 0x8000_1013,
}


@pytest.mark.parametrize("target", [M, HS, VS], ids=str)
@pytest.mark.parametrize("name", ILLEGAL)
def test_illegal_instruction_bits(name: str, target: Mode) -> None:
    """tval is the faulting instruction, right-justified: 16 bits of a compressed one, else 32."""
    bench = Bench()
    delegate_to(bench, target)
    code = ILLEGAL[name]
    trap = bench.step(code, M if target == M else VU)
    assert trap is not None
    assert (trap.to, trap.cause, trap.tval, trap.epc) == (target.name, Cause.ILLEGAL, code, CODE)
    assert (trap.tval2, trap.tinst, trap.gva) == (0, 0, False)


@pytest.mark.parametrize("mode", [VS, VU], ids=str)
def test_virtual_instruction_bits(mode: Mode) -> None:
    """On a virtual-instruction trap tval is written the same as for an illegal instruction."""
    bench = Bench()
    delegate_to(bench, HS)
    trap = bench.step("hlv.d a0, (a1)", mode)
    assert trap is not None
    assert (trap.cause, trap.tval, trap.tinst, trap.gva) == (22, asm("hlv.d a0, (a1)"), 0, False)


def test_instruction_of_an_absent_extension() -> None:
    """Each hart has exactly the extensions that it was given."""
    lines = {
        "zba": "sh1add a0, a0, a1",
        "m": "mul a0, a0, a1",
        "zicond": "czero.eqz a0, a0, a1",
        "zicbom": "cbo.clean (a0)",
        "svinval": "sinval.vma x0, x0",
        "h": "hfence.gvma x0, x0",
        "zacas": "amocas.w a0, a1, (a2)",
        "zawrs": "wrs.nto",
        "zifencei": "fence.i",
    }
    for extension, line in lines.items():
        gone = {"zba": ("zba", "b"), "m": ("m",)}.get(extension, (extension,))
        assert Bench(without=gone).cause(line, a2=DATA) == Cause.ILLEGAL, extension


# Misaligned targets (only with IALIGN=32)

WITHOUT_C = ("c", "zcb", "zcmop")
JUMPS = [
    ("jal ra, {pc} + 6", True),
    ("jalr ra, 2(a1)", True),
    ("jalr ra, 3(a1)", True),
    ("beq x0, x0, {pc} + 6", True),
    ("bne x0, x0, {pc} + 6", False),
    ("bge x0, a1, {pc} - 2", False),
]


@pytest.mark.parametrize(("line", "taken"), JUMPS)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_misaligned_target(line: str, taken: bool, mode: Mode) -> None:
    """The jump itself raises it, with tval the target; rd is not written; not-taken is no error."""
    bench = Bench(without=WITHOUT_C)
    trap = bench.step(line.format(pc=CODE), mode, ra=5, a1=DATA)
    if not taken:
        assert trap is None
        return
    target = DATA + 2 if "jalr" in line else CODE + 6
    assert trap is not None
    assert (trap.cause, trap.tval, trap.epc, trap.tinst) == (
        Cause.FETCH_MISALIGNED,
        target,
        CODE,
        0,
    )
    assert trap.gva == mode.virtual
    assert bench.x("ra") == 5


@pytest.mark.parametrize(("line", "taken"), JUMPS)
def test_halfword_target_with_compressed(line: str, taken: bool) -> None:
    """With C no target is misaligned: bit 0 of a jalr's sum is cleared."""
    bench = Bench()
    assert bench.step(line.format(pc=CODE), a1=DATA) is None
    target = DATA + 2 if "jalr" in line else CODE + 6
    assert bench.hart.pc == (target if taken else CODE + 4)


# Access faults where there is neither RAM nor device

ACCESSES = [
    *[
        (f"{op} a0, 8(a1)", Cause.LOAD_ACCESS, 8)
        for op in ["lb", "lbu", "lh", "lhu", "lw", "lwu", "ld"]
    ],
    *[(f"{op} a0, -8(a1)", Cause.STORE_ACCESS, -8) for op in ["sb", "sh", "sw", "sd"]],
    *[(f"{op} fa0, 8(a1)", Cause.LOAD_ACCESS, 8) for op in ["flh", "flw", "fld"]],
    *[(f"{op} fa0, 8(a1)", Cause.STORE_ACCESS, 8) for op in ["fsh", "fsw", "fsd"]],
    *[(f"lr.{s} a0, (a1)", Cause.LOAD_ACCESS, 0) for s in "wd"],
    *[
        (f"{op}.{s} a0, a2, (a1)", Cause.STORE_ACCESS, 0)
        for op in ["amoswap", "amoadd", "amoand", "amominu", "amocas"]
        for s in "bhwd"
    ],
    ("amocas.q a0, a2, (a1)", Cause.STORE_ACCESS, 0),
]


@pytest.mark.parametrize(("line", "cause", "offset"), ACCESSES)
def test_access_fault(line: str, cause: Cause, offset: int) -> None:
    """Loads and LR raise load faults, stores and AMOs store/AMO faults; tval is the address."""
    bench = Bench()
    bench.set(mstatus=3 << 13)
    trap = bench.step(line, a0=0x77, a1=NOWHERE)
    assert trap is not None
    assert (trap.cause, trap.tval, trap.tval2) == (cause, NOWHERE + offset, 0)
    assert bench.x("a0") == 0x77


def test_fetch_access_fault() -> None:
    bench = Bench()
    trap = bench.step(mode=HS, pc=NOWHERE)
    assert trap is not None
    assert trap == Trap(Cause.FETCH_ACCESS, False, NOWHERE, NOWHERE, 0, 0, "M", False)


def test_fetch_beyond_the_end_of_ram() -> None:
    """epc is the instruction, tval the portion that faulted; a compressed one needs no portion."""
    bench = Bench()
    trap = bench.step(asm("addi a0, a0, 1").to_bytes(4, "little")[:2], pc=RAM_END - 2)
    assert trap is not None
    assert (trap.cause, trap.epc, trap.tval) == (Cause.FETCH_ACCESS, RAM_END - 2, RAM_END)
    assert bench.step(0x0001, pc=RAM_END - 2) is None  # c.nop


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("ld a0, (a1)", 5),
        ("lw a0, 2(a1)", 5),
        ("lh a0, 3(a1)", 5),
        ("sd a0, (a1)", 7),
        ("sw a0, 2(a1)", 7),
        ("sh a0, 3(a1)", 7),
    ],
)
def test_access_across_the_end_of_ram(line: str, cause: int) -> None:
    """tval of a misaligned access is the portion that caused the fault."""
    bench = Bench()
    trap = bench.step(line, a1=RAM_END - 4, a0=9)
    assert trap is not None
    assert (trap.cause, trap.tval) == (cause, RAM_END)
    assert bench.x("a0") == 9


# Misaligned atomics always raise; ordinary accesses never do in RAM

MISALIGNED = [
    *[(f"lr.{s} a0, (a1)", 4, n) for s, n in (("w", 4), ("d", 8))],
    *[(f"sc.{s} a0, a2, (a1)", 6, n) for s, n in (("w", 4), ("d", 8))],
    *[
        (f"amo{op}.{s} a0, a2, (a1)", 6, n)
        for op in ("add", "swap", "max", "cas")
        for s, n in (("h", 2), ("w", 4), ("d", 8))
    ],
    ("amocas.q a0, a2, (a1)", 6, 16),
]


@pytest.mark.parametrize(("line", "cause", "size"), MISALIGNED)
@pytest.mark.parametrize("mode", [M, VS], ids=str)
def test_misaligned_atomic(line: str, cause: int, size: int, mode: Mode) -> None:
    """LR: load misaligned; SC, AMO: store/AMO misaligned; tval the address; nothing is written."""
    bench = Bench()
    for offset in range(1, size):
        trap = bench.step(line, mode, a0=1, a1=DATA + offset, a2=2)
        assert trap is not None
        assert (trap.cause, trap.tval, trap.gva) == (cause, DATA + offset, mode.virtual)
        assert bench.x("a0") == 1
    assert bench.peek(DATA) == 0


@pytest.mark.parametrize("size", [2, 4, 8])
def test_misaligned_loads_and_stores(size: int) -> None:
    """Zicclsm: misaligned loads and stores to RAM work at every offset, across pages too."""
    bench = Bench()
    letter = {2: "h", 4: "w", 8: "d"}[size]
    for base in (DATA, DATA + 0xFF0):
        for offset in range(1, 17):
            value = 0x1122_3344_5566_7788 + offset
            assert bench.step(f"s{letter} a0, (a1)", a0=value, a1=base + offset) is None
            assert bench.peek(base + offset, size) == value & (1 << 8 * size) - 1
            unsigned = "d" if size == 8 else f"{letter}u"
            assert bench.step(f"l{unsigned} a0, (a1)", a1=base + offset) is None
            assert bench.x("a0") == value & (1 << 8 * size) - 1


# Which of two exceptions ("Synchronous exception priority when the hypervisor extension ...")


@pytest.mark.parametrize(
    ("what", "line", "mode", "pc", "cause"),
    [
        ("fetch fault before illegal instruction", None, HS, NOWHERE, Cause.FETCH_ACCESS),
        ("illegal CSR before its value", "csrrw a0, mscratch, a1", U, CODE, Cause.ILLEGAL),
        (
            "virtual instruction before the access's fault",
            "hlv.w a0, (a1)",
            VU,
            CODE,
            Cause.VIRTUAL,
        ),
        ("illegal instruction before the access's fault", "hlv.w a0, (a1)", U, CODE, Cause.ILLEGAL),
        (
            "illegal instruction before the cache block's fault",
            "cbo.zero (a1)",
            U,
            CODE,
            Cause.ILLEGAL,
        ),
        ("FS off before the load's fault", "fld fa0, (a1)", M, CODE, Cause.ILLEGAL),
    ],
    ids=lambda x: x if isinstance(x, str) and " " in x else "",
)
def test_priority(what: str, line: str | None, mode: Mode, pc: int, cause: Cause) -> None:
    bench = Bench()
    assert bench.step(line, mode, pc, a1=NOWHERE + 1).cause == cause, what


def test_interrupt_before_exception() -> None:
    """An interrupt is taken before the instruction that would fault."""
    bench = Bench()
    bench.set(mie=8)
    bench.hart.set_interrupt(3, True)
    trap = bench.step(0, U)
    assert trap is not None and trap.interrupt
    assert (trap.cause, trap.epc) == (3, CODE)


def test_traps_do_not_retire() -> None:
    """minstret counts retired instructions: not the one that traps."""
    bench = Bench()
    bench.set(minstret=100)
    bench.step("nop")
    assert bench.get("minstret") == 101
    for line in ("ecall", "ebreak"):
        bench.step(line)
    bench.step(0)
    assert bench.get("minstret") == 101


@pytest.mark.parametrize("line", ["lw x0, (a1)", "lr.w x0, (a1)", "amoadd.w x0, a2, (a1)"])
def test_access_to_x0_still_faults(line: str) -> None:
    """Unprivileged spec, RV32I loads: a load to x0 still raises its exceptions."""
    assert Bench().cause(line, a1=NOWHERE) in (Cause.LOAD_ACCESS, Cause.STORE_ACCESS)
