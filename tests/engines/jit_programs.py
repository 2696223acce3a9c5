"""Random programs of the whole table, with loops, traps and worlds to run them in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

from asm import csr_numbers
from rvvm import _core
from semantics.float_operands import edges
from semantics.integer_programs import (
    EDGES,
    compressed_rows,
    field_value,
    letters,
    scattered,
    table,
)
from semantics.integer_reference import placed

Slot = bytes  # of four bytes: an instruction, or two compressed ones

CODE_POINTER, DATA_POINTER, TEMPORARIES = 30, 31, (28, 29)  # the last two are the handlers'
NOP = b"\x13\0\0\0"
C_NOP = b"\x01\0"
ILLEGAL = [bytes(4), b"\xff" * 4, b"\x9f\0\0\0"]

#: they leave the mode without a trap, or wait
LEFT_OUT = {"mret", "sret", "wfi", "wrs_nto", "wrs_sto"}
CSRS = """fflags frm fcsr fflags frm fcsr instret minstret cycle time mscratch sstatus mstatus
    mhpmcounter3 mepc mcause scause sepc sscratch vsscratch"""


@cache
def groups() -> dict[str, list[str]]:
    """Names by what they are about, so that each gets its share."""
    names = [name for name in table() if name not in LEFT_OUT]
    rows = table()
    found = {
        "jumps": [n for n in names if rows[n]["format"] in ("B", "J") or n == "jalr"],
        "accesses": [n for n in names if is_access(rows[n]) and "native" in rows[n]["flags"]],
        "atomics": [n for n in names if is_access(rows[n]) and "native" not in rows[n]["flags"]],
        "floats": [n for n in names if "fp" in rows[n]["flags"] and not is_access(rows[n])],
        "system": [n for n in names if "serial" in rows[n]["flags"]],
    }
    taken = {name for group in found.values() for name in group}
    return found | {"integers": [n for n in names if n not in taken]}


WEIGHTS = {
    "integers": 38,
    "jumps": 12,
    "accesses": 18,
    "atomics": 4,
    "floats": 18,
    "system": 4,
    "compressed": 8,
    "illegal": 1,
}


def is_access(row: dict[str, Any]) -> bool:
    """Loads, stores, atomics and cache blocks, hypervisor ones too."""
    text = str(row["format"])
    return "Load" in text or "Store" in text or text in ("Amo", "AmoPair", "Lr", "Cbo")


@dataclass
class Maker:
    """Makes the slots of a program of some length."""

    chance: Random
    slots: int
    stores_to_code: bool = False

    def program(self) -> list[Slot]:
        return [self.slot(index) for index in range(self.slots)]

    def slot(self, index: int) -> Slot:
        group = self.chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        if group == "illegal":
            return self.chance.choice(ILLEGAL)
        if group == "compressed":
            return self.compressed() + self.compressed()
        name = self.chance.choice(groups()[group])
        return self.word(name, index).to_bytes(4, "little")

    def word(self, name: str, index: int) -> int:
        row = table()[name]
        if name == "jalr" or row["format"] in ("B", "J"):
            return self.jump(row, index)
        fields = {x: self.operand(row, x) for x in sorted(set(letters(row)) - set("01"))}
        if fields.get("c") in (2, 3) and self.chance.random() < 0.8:  # frm, fcsr: mostly nearest
            row, fields = table()["csrrwi"], fields | {"s": 0, "z": 0}
            fields["s"] = self.chance.choice([0, 0, 0, 0, 1, 2, 3, 4, 5, 0x1F])
            fields = {x: fields[x] for x in set(letters(row)) & set(fields)}
        return int(row["match"]) | sum(scattered(row, x, value) for x, value in fields.items())

    def operand(self, row: dict[str, Any], letter: str) -> int:
        chance = self.chance
        floating = "fp" in row["flags"]
        if letter == "s" and is_access(row):
            if self.stores_to_code and chance.random() < 0.05:
                return CODE_POINTER
            return DATA_POINTER if chance.random() < 0.95 else chance.randrange(32)
        if letter == "c":
            return chance.choice([csr_numbers().get(name, 0x306) for name in CSRS.split()])
        if letter == "d" and not floating:
            return self.register() % CODE_POINTER
        if letter == "m" and chance.random() < 0.9:
            return chance.choice([7, 7, 7, 7, 7, 0, 0, 0, 1, 2, 3, 4])
        if letter in "stud" and len(str(row["bits"]).split(letter * 5)) > 1:
            return self.register() % (32 if letter != "d" or floating else CODE_POINTER)
        return field_value(chance, letters(row).count(letter))

    def register(self) -> int:
        """Few of them, so that results are used: some live in host registers, others do not."""
        few = [0, 1, 2, 5, 8, 9, 10, 11, 14, 15, 16, 17, 20]
        return self.chance.choice(few) if self.chance.random() < 0.7 else self.chance.randrange(32)

    def jump(self, row: dict[str, Any], index: int) -> int:
        """Anywhere in the program, more often near; now and then into the middle of a slot."""
        chance = self.chance
        reach = chance.choice([2, 6, 12, 12, 80, self.slots])
        back = row["format"] == "B" or chance.random() < 0.2  # few loops without an end
        target = min(max(index + chance.randint(-reach // 2 if back else 1, reach), 0), self.slots)
        distance = 4 * (target - index) + 2 * (chance.random() < 0.08)
        fields = {"s": self.register(), "t": self.register(), "d": self.register() % CODE_POINTER}
        layout = str(row["format"])
        if row["name"] == "jalr":
            layout, fields["s"] = "I", CODE_POINTER if chance.random() < 0.9 else fields["s"]
            distance += 4 * index - 4 * (self.slots // 2)
        found = int(row["match"]) | placed(layout, distance)
        return found | sum(scattered(row, x, fields[x]) for x in set(fields) & set(letters(row)))

    def compressed(self) -> bytes:
        """One that does not jump, and leaves the pointers alone."""
        rows = list(compressed_rows().values())
        while True:
            row = self.chance.choice(rows)
            found = int(row["match"])
            for letter in sorted(set(letters(row)) - set("01")):
                width = letters(row).count(letter)
                found |= scattered(row, letter, self.chance.getrandbits(width))
            decoded = _core.decode(found)
            expanded = table().get(decoded["name"])
            if expanded is None:
                return found.to_bytes(2, "little")
            if "jumps" not in expanded["flags"] and decoded["rd"] < CODE_POINTER:
                return found.to_bytes(2, "little")


def register_values(chance: Random) -> tuple[list[int], list[int]]:
    """The integer registers and the floating-point ones to start with."""
    integers = [
        chance.choice(EDGES) if chance.random() < 0.4 else chance.getrandbits(64) for _ in range(32)
    ]
    return integers, [float_value(chance) for _ in range(32)]


def float_value(chance: Random) -> int:
    return chance.choice(edges(chance.choice("ssddh"), 2))


def data(chance: Random, size: int) -> bytes:
    """Edge operands, boxed or in pairs, among noise."""
    words = [
        float_value(chance) if chance.random() < 0.7 else chance.getrandbits(64)
        for _ in range(size // 8)
    ]
    return b"".join(word.to_bytes(8, "little") for word in words)


def listing(slots: list[Slot], base: int) -> str:
    """What is left of a program, disassembled."""
    lines = []
    for index, slot in enumerate(slots):
        if slot == NOP:
            continue
        at = base + 4 * index
        whole = int.from_bytes(slot, "little")
        if whole & 3 == 3:
            lines.append(f"{at:#x}: {whole:08x}  {_core.disassemble(whole, at)}")
            continue
        for half in (0, 2):
            bits = int.from_bytes(slot[half : half + 2], "little")
            lines.append(f"{at + half:#x}:     {bits:04x}  {_core.disassemble(bits, at + half)}")
    return "\n".join(lines)
