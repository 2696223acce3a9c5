"""The core against itself: blocks of any length leave the state that single steps leave.

Random programs of the whole table, with floating point, CSRs, fences and instructions that trap.
"""

from __future__ import annotations

from random import Random

import pytest

from asm import csr_numbers
from privileged.bench import CODE, DATA, Bench
from privileged.manual import FS
from rvvm import _core
from semantics.integer_programs import compressed_rows, field_value, letters, scattered, table
from semantics.integer_reference import ONES, placed
from semantics.test_code import MIXTURE, in_blocks, in_steps, same

pytestmark = pytest.mark.usefixtures("accel")

SLOTS = 400  # of four bytes: an instruction, or a compressed one and a c.nop
DATA_POINTER, CODE_POINTER = 31, 30  # nothing else writes them
MIDDLE = CODE + 2 * SLOTS
C_NOP = b"\x01\x00"
ILLEGAL = [bytes(4), b"\xff" * 4, b"\x9f\x00\x00\x00"]

#: leave machine mode, wait, or (wrs) end a turn
LEFT_OUT = {"mret", "sret", "wfi", "wrs_nto", "wrs_sto"}
NAMES = [name for name in table() if name not in LEFT_OUT]
COMPRESSED = [
    row for row in compressed_rows().values() if "jumps" not in table()[row["expands_to"]]["flags"]
]
CSRS = """fflags frm fcsr mscratch sscratch vsscratch mstatus mstatus cycle instret time
    mcycle minstret mhpmcounter3 mhpmevent3 mepc mcause"""
HANDLER = MIXTURE[MIXTURE.index("handler:") :]


def is_access(row: dict[str, object]) -> bool:
    """Loads, stores, atomics and cache blocks, hypervisor ones too."""
    text = str(row["format"])
    return "Load" in text or "Store" in text or text in ("Amo", "AmoPair", "Lr", "Cbo")


def word(name: str, slot: int, chance: Random) -> int:
    row = table()[name]
    if name == "jalr" or row["format"] in ("B", "J"):
        return jump(row, slot, chance)
    found = int(row["match"])
    for letter in sorted(set(letters(row)) - set("01")):
        found |= scattered(row, letter, operand(row, letter, chance))
    return found


def operand(row: dict[str, object], letter: str, chance: Random) -> int:
    floating = "fp" in row["flags"]  # type: ignore[operator]
    if letter == "s" and is_access(row):
        return DATA_POINTER if chance.random() < 0.95 else 0
    if letter == "c":
        return chance.choice([csr_numbers().get(name, 0x306) for name in CSRS.split()])
    if letter == "d" and not floating:
        return chance.randrange(CODE_POINTER)
    if letter == "m" and chance.random() < 0.9:
        return chance.choice([0, 1, 2, 3, 4, 7])
    return field_value(chance, letters(row).count(letter))


def jump(row: dict[str, object], slot: int, chance: Random) -> int:
    """Forward, so that the program gets on; not into the middle of a slot."""
    distance = 4 * min(chance.randrange(1, 16), SLOTS - slot)
    fields = {"s": chance.randrange(32), "t": chance.randrange(32), "d": chance.randrange(30)}
    layout = str(row["format"])
    if row["name"] == "jalr":
        layout, fields["s"] = "I", CODE_POINTER
        distance += CODE + 4 * slot - MIDDLE
    found = int(str(row["match"])) | placed(layout, distance)
    used = set(fields) & set(letters(row))
    return found | sum(scattered(row, letter, fields[letter]) for letter in used)


def compressed(chance: Random) -> bytes:
    """One that leaves memory alone: its base registers might point at the program."""
    while True:
        row = chance.choice(COMPRESSED)
        found = int(row["match"])
        for letter in sorted(set(letters(row)) - set("01")):
            found |= scattered(row, letter, chance.getrandbits(letters(row).count(letter)))
        decoded = _core.decode(found)
        reserved = decoded["name"] == "illegal"
        if reserved or decoded["rd"] < CODE_POINTER and not is_access(table()[decoded["name"]]):
            return found.to_bytes(2, "little") + C_NOP


def instruction(slot: int, chance: Random) -> bytes:
    kind = chance.random()
    if kind < 0.01:
        return chance.choice(ILLEGAL)
    if kind < 0.15:
        return compressed(chance)
    return word(chance.choice(NAMES), slot, chance).to_bytes(4, "little")


def program(seed: int) -> bytes:
    chance = Random(seed)
    return b"".join(instruction(slot, chance) for slot in range(SLOTS))


def bench(code: bytes, seed: int) -> Bench:
    chance = Random(seed)
    found = Bench(ram=2 << 20)
    back = "j 0x80001000;" * 16
    end = CODE + len(code)
    handler = found.load(f"{back} .align 4; {HANDLER}", end)["handler"]
    found.system.write(CODE, code)
    found.system.write(DATA - 0x1000, chance.randbytes(0x2000))
    found.change(mstatus=FS(3))
    found.set(mtvec=handler)
    for number in range(1, 32):
        found.hart.set_x(number, chance.getrandbits(64) >> chance.randrange(64) & ONES)
        found.hart.set_f(number, chance.choice([chance.getrandbits(64), 0xFFFF_FFFF << 32]))
    found.hart.set_x(DATA_POINTER, DATA)
    found.hart.set_x(CODE_POINTER, MIDDLE)
    found.hart.privilege, found.hart.pc = 3, CODE
    return found


@pytest.mark.parametrize("seed", range(24))
def test_blocks_are_steps(seed: int) -> None:
    chance, code = Random(seed), program(seed)
    blocks, steps = bench(code, seed), bench(code, seed)
    while blocks.hart.instret < 5000:
        length = chance.choice([1, 2, 3, chance.randrange(1, 70), chance.randrange(1, 600)])
        in_blocks(blocks, length)
        in_steps(steps, length)
        same(blocks.hart.registers(), steps.hart.registers())
        assert blocks.hart.traps == steps.hart.traps
        assert blocks.system.read(DATA - 0x1000, 0x2000) == steps.system.read(DATA - 0x1000, 0x2000)
    assert blocks.system.read(CODE, len(code)) == code
    assert blocks.hart.traps > 10


def test_programs_reach_the_table() -> None:
    """All of it but what is left out, within the programs above."""
    seen: set[str] = set()
    for seed in range(24):
        code = program(seed)
        cut = [int.from_bytes(code[at : at + 4], "little") for at in range(0, len(code), 4)]
        seen |= {_core.decode(found)["name"] for found in cut}
    assert not set(NAMES) - seen
