"""The transformed instruction in htinst and mtinst, for every memory instruction there is.

Hypervisor chapter, "Transformed Instruction or Pseudoinstruction for mtinst or htinst"; CMO
extensions, "Hypervisor Extension".  Zero is always legal; this core gives the transformation.
"""

from __future__ import annotations

import pytest

from asm import asm
from mmu.guest import GPA, GVA, Guest, transformed
from privileged.bench import NOWHERE, Bench, Trap
from privileged.manual import HS, MODES, ONES, VS, Mode, flags

LOADS = [f"{op} a0, {{}}(a1)" for op in ["lb", "lbu", "lh", "lhu", "lw", "lwu", "ld"]]
LOADS += [f"{op} fa3, {{}}(a1)" for op in ["flh", "flw", "fld"]]
STORES = [f"{op} a0, {{}}(a1)" for op in ["sb", "sh", "sw", "sd"]]
STORES += [f"{op} fa3, {{}}(a1)" for op in ["fsh", "fsw", "fsd"]]
RESERVED = [f"lr.{s}{order} a0, (a1)" for s in "wd" for order in ("", ".aq", ".rl", ".aqrl")]
ATOMICS = [f"sc.{s}{order} a0, a2, (a1)" for s in "wd" for order in ("", ".rl")]
ATOMICS += [
    f"amo{op}.{s}{order} a0, a2, (a1)"
    for op in ["swap", "add", "xor", "and", "or", "min", "max", "minu", "maxu", "cas"]
    for s in "bhwd"
    for order in ("", ".aqrl")
] + ["amocas.q a0, a2, (a1)"]
VIRTUAL_LOADS = [f"hlv.{s} a0, (a1)" for s in ["b", "bu", "h", "hu", "w", "wu", "d"]]
VIRTUAL_LOADS += ["hlvx.hu a0, (a1)", "hlvx.wu a0, (a1)"]
VIRTUAL_STORES = [f"hsv.{s} a0, (a1)" for s in "bhwd"]
CBOS = [f"cbo.{op} (a1)" for op in ["zero", "clean", "flush", "inval"]]
FORBIDDEN = flags("vrwxad")  # no U: the G-stage forbids everything


def guest_page_fault(line: str | int, offset: int = 0) -> Trap:
    """Execute in VS-mode (HLV and HSV in HS) on a page that the G-stage forbids."""
    guest = Guest(VS, hstatus=0x100, mstatus=3 << 13, vsstatus=3 << 13, menvcfg=ONES, henvcfg=ONES)
    guest.map(g=FORBIDDEN)
    mode = HS if isinstance(line, str) and line.startswith("h") else VS
    trap = guest.bench.step(line, mode, a1=GVA + 64 - offset, sp=GVA + 64 - offset)
    assert trap is not None
    return trap


@pytest.mark.parametrize("offset", [0, 16, -32])
@pytest.mark.parametrize("line", LOADS + STORES)
def test_loads_and_stores(line: str, offset: int) -> None:
    """Immediates become zero, rs1 the Addr. Offset (zero: the access is aligned)."""
    line = line.format(offset)
    trap = guest_page_fault(line, offset)
    assert (trap.cause, trap.tval, trap.tval2) == (
        21 if "l" in line.split()[0] else 23,
        GVA + 64,
        GPA + 64 >> 2,
    )
    assert trap.tinst == transformed(asm(line))


@pytest.mark.parametrize("line", RESERVED + ATOMICS + VIRTUAL_LOADS + VIRTUAL_STORES)
def test_atomics_and_virtual_machine_accesses(line: str) -> None:
    """All fields stay but rs1."""
    trap = guest_page_fault(line)
    loads = line.startswith(("lr", "hlv"))
    assert (trap.cause, trap.tval, trap.tval2) == (21 if loads else 23, GVA + 64, GPA + 64 >> 2)
    assert trap.tinst == transformed(asm(line))


@pytest.mark.parametrize("line", CBOS)
def test_cache_block_operations(line: str) -> None:
    """A transformation of their own: rs1 becomes zero and nothing replaces it."""
    trap = guest_page_fault(line, offset=-5)
    assert (trap.cause, trap.tval) == (23, GVA + 69)
    assert trap.tinst in (0, transformed(asm(line)))


#: compressed encodings, by the C and Zcb chapters, and what they expand to
COMPRESSED = {
    "c.lw": (0x4188, "lw a0, 0(a1)"),
    "c.ld": (0x6188, "ld a0, 0(a1)"),
    "c.fld": (0x2188, "fld fa0, 0(a1)"),
    "c.sw": (0xC188, "sw a0, 0(a1)"),
    "c.sd": (0xE188, "sd a0, 0(a1)"),
    "c.fsd": (0xA188, "fsd fa0, 0(a1)"),
    "c.lwsp": (0x4502, "lw a0, 0(sp)"),
    "c.ldsp": (0x6502, "ld a0, 0(sp)"),
    "c.fldsp": (0x2502, "fld fa0, 0(sp)"),
    "c.swsp": (0xC02A, "sw a0, 0(sp)"),
    "c.sdsp": (0xE02A, "sd a0, 0(sp)"),
    "c.fsdsp": (0xA02A, "fsd fa0, 0(sp)"),
    "c.lbu": (0x8188, "lbu a0, 0(a1)"),
    "c.lhu": (0x8588, "lhu a0, 0(a1)"),
    "c.lh": (0x85C8, "lh a0, 0(a1)"),
    "c.sb": (0x8988, "sb a0, 0(a1)"),
    "c.sh": (0x8D88, "sh a0, 0(a1)"),
    # with an immediate, which goes to zero all the same
    "c.ld 8": (0x6588, "ld a0, 8(a1)"),
    "c.lw 4": (0x41C8, "lw a0, 4(a1)"),
    "c.sdsp 8": (0xE42A, "sd a0, 8(sp)"),
}


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed(name: str) -> None:
    """Expanded, transformed, then bit 1 replaced with 0."""
    code, line = COMPRESSED[name]
    trap = guest_page_fault(code)
    assert trap.cause == (21 if "l" in line.split()[0] else 23)
    assert trap.tval == GVA + 64 + int(line.split()[-1].split("(")[0])
    assert trap.tinst == transformed(asm(line), compressed=True)


@pytest.mark.parametrize(
    "line", ["hlv.d a0, (a1)", "hsv.d a0, (a1)", "ld a0, (a1)", "fsd fa0, (a1)"]
)
@pytest.mark.parametrize("offset", range(1, 8))
def test_address_offset(line: str, offset: int) -> None:
    """The difference between the faulting address and the original one, when misaligned."""
    guest = Guest(VS, hstatus=0x100, mstatus=3 << 13, vsstatus=3 << 13)
    guest.map()
    guest.map(GVA + 0x1000, GPA + 0x1000, g=FORBIDDEN)
    trap = guest.bench.step(line, HS if line.startswith("h") else VS, a1=GVA + 0x1000 - offset)
    assert trap is not None
    assert (trap.tval, trap.tinst) == (GVA + 0x1000, transformed(asm(line), offset))


def test_compressed_address_offset() -> None:
    guest = Guest()
    guest.map()
    guest.map(GVA + 0x1000, GPA + 0x1000, g=FORBIDDEN)
    trap = guest.bench.step(0x6188, VS, a1=GVA + 0x1000 - 3)
    assert trap is not None
    assert trap.tinst == transformed(asm("ld a0, (a1)"), 3, compressed=True)


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("line", ["lw a0, (a1)", "sw a0, (a1)", "amoadd.w a0, a2, (a1)"])
@pytest.mark.parametrize("address", [NOWHERE, NOWHERE + 2])
def test_other_memory_faults(mode: Mode, line: str, address: int) -> None:
    """Access faults and misaligned ones may have the transformation, from any mode, or zero."""
    trap = Bench().step(line, mode, a1=address)
    assert trap is not None
    assert trap.tinst in (0, transformed(asm(line)))


def test_no_transformation_is_defined_for_others() -> None:
    """Illegal and virtual instructions, breakpoints, ECALL and fetch faults: zero only."""
    bench = Bench()
    bench.set(mtinst=0x55)
    for code in (0, 0x0010_0073, 0x0000_0073):
        trap = bench.step(code, VS)
        assert trap is not None and trap.tinst == 0
        assert bench.get("mtinst") == 0
