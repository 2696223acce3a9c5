"""Programs of one instruction tried many times over.

Each try has a slot of memory: its operands are loaded from there and its results stored there, so
one run of straight code answers for hundreds of tries. Two pointers to the slot walk along, because
the instruction may use every register.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any

from rvvm import _core
from semantics.integer_reference import (
    LOADS,
    ONES,
    STORES,
    UNSIGNED_LOADS,
    WIDTHS,
    Machine,
    Memory,
    immediate,
    placed,
)

LOW_RAM, LOW_SIZE = 0, 0x1000  # what x0 points at
RAM, RAM_SIZE = 0x8000_0000, 0x4_0000
SLOTS = RAM + 0x2_0000
SLOT = 128
POINTERS = (31, 30)

#: offsets in a slot; the rest of it is memory for the instruction to work on
RS1, RS2, RD, RS2_HIGH, RD_HIGH, RESULT, RESULT_HIGH, PATH, SCRATCH = range(0, 72, 8)

EDGES = [0, 1, 2, 31, 32, 33, 63, 64, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0x0123_4567_89AB_CDEF]
EDGES += [(1 << n) + d & ONES for n in (31, 32, 63, 64) for d in (-2, -1, 0, 1)]
EDGES += [ONES << n & ONES for n in (7, 15, 31, 32)]

Row = dict[str, Any]


@cache
def table() -> dict[str, Row]:
    return {str(row["name"]): row for row in _core.instructions()}


def privileged(row: Row) -> bool:
    return set(row["flags"]) >= {"helper", "traps", "serial"} or "h" in row["need"].get("all", ())


def integer_rows() -> list[str]:
    """Every row that is neither floating point nor privileged."""
    return [n for n, row in table().items() if "fp" not in row["flags"] and not privileged(row)]


def compressed_rows() -> dict[str, Row]:
    """The 16-bit rows that stand for one of those."""
    wanted = set(integer_rows())
    return {str(r["name"]): r for r in _core.compressed() if r["expands_to"] in wanted}


def letters(row: Row) -> str:
    return str(row["bits"]).replace(" ", "")


def jumps(name: str) -> bool:
    return "jumps" in table()[name]["flags"]


# Words.


def scattered(row: Row, letter: str, value: int) -> int:
    """A field's value in the positions that have its letter."""
    bits = letters(row)
    places = [len(bits) - 1 - at for at, found in enumerate(bits) if found == letter]
    return sum((value >> rank & 1) << at for rank, at in enumerate(reversed(places)))


def field_value(chance: Random, width: int) -> int:
    """Any immediate, but the ends and the sign more often."""
    top = 1 << width >> 1
    edges = [0, 1, top, top - 1, (1 << width) - 1]
    return chance.choice(edges) if chance.random() < 0.3 else chance.getrandbits(width)


def register_choice(chance: Random) -> dict[str, int]:
    """rd, rs1 and rs2, often the same and often x0."""
    d, s, t = (chance.randrange(1, 32) for _ in "dst")
    aliased = [(d, s, t), (s, s, t), (t, s, t), (d, s, s), (s, s, s), (0, s, t), (d, 0, t)]
    aliased += [(d, s, 0), (d, s, t), (d, s, t)]
    return dict(zip("dst", chance.choice(aliased), strict=True))


def words(row: Row, chance: Random) -> Iterator[int]:
    """Encodings of a row of either table, without end."""
    bits = letters(row)
    even = -2 if row["name"] == "amocas_q" else -1
    while True:
        word = int(row["match"])
        fields = register_choice(chance) if len(bits) == 32 else {}
        for letter in sorted(set(bits) - set("01")):
            value = field_value(chance, bits.count(letter))
            if letter in fields:
                value = fields[letter] & even
            word |= scattered(row, letter, value)
        yield word


def operand(chance: Random) -> int:
    kind = chance.random()
    if kind < 0.45:
        return chance.choice(EDGES)
    value = chance.getrandbits(64) >> (chance.randrange(64) if kind < 0.8 else 0)
    return value ^ ONES * chance.getrandbits(1) if kind < 0.8 else value


# Tries.


@dataclass(frozen=True)
class Try:
    """One instruction with the registers it names, read off its 32-bit form."""

    name: str
    word: int
    code: bytes
    registers: dict[str, int]

    @property
    def pairs(self) -> bool:
        return self.name == "amocas_q"

    def used(self) -> set[int]:
        named = set(self.registers.values())
        return named | {number + 1 for number in named if self.pairs}

    @property
    def pointer(self) -> int:
        return next((p for p in POINTERS if p not in self.used()), 0)


def make_try(name: str, word: int, code: bytes) -> Try:
    places = {"d": 7, "s": 15, "t": 20}
    have = letters(table()[name])
    return Try(name, word, code, {x: word >> at & 31 for x, at in places.items() if x in have})


def tries(row: Row, chance: Random) -> Iterator[Try]:
    """Tries of a row of either table whose registers leave a pointer free."""
    size = len(letters(row)) // 8
    for word in words(row, chance):
        code = word.to_bytes(size, "little")
        name, full = str(row["name"]), word
        if size == 2:
            decoded = _core.decode(word)
            name, full = decoded["name"], decoded["encoding"]
            if name != row["expands_to"]:
                continue  # a narrower row's
        found = make_try(name, full, code)
        if found.pointer:
            yield found


def access(name: str) -> tuple[int, int] | None:
    """Bytes that an instruction touches and the alignment it needs; None when it touches none."""
    widths = LOADS | UNSIGNED_LOADS | STORES
    if name in widths:
        return widths[name] // 8, 1  # Zicclsm: misaligned ones work
    if name.startswith("cbo"):
        return 1, 1
    if not name.startswith(("amo", "lr_", "sc_")):
        return None
    size = 16 if name == "amocas_q" else WIDTHS[name[-1]] // 8
    return size, size


def offset_of(name: str, word: int) -> int:
    if name in STORES:
        return immediate("S", word)
    return immediate("I", word) if name in LOADS | UNSIGNED_LOADS else 0


def usable(found: Try) -> bool:
    """Whether x0 as a base register can reach memory."""
    if found.registers.get("s") != 0:
        return True
    if found.name == "jalr":
        return False
    touched = access(found.name)
    return touched is None or 0 <= offset_of(found.name, found.word) <= LOW_SIZE - touched[0]


@dataclass
class Program:
    """Code for the core, the same as names and words for the model, and memory for both."""

    chance: Random
    code: bytearray = field(default_factory=bytearray)
    listing: dict[int, tuple[str, int, int]] = field(default_factory=dict)
    tries: list[Try] = field(default_factory=list)
    slots: bytearray = field(default_factory=bytearray)

    @property
    def end(self) -> int:
        return RAM + len(self.code)

    def emit(self, name: str, word: int, code: bytes = b"") -> None:
        self.listing[self.end] = name, word, len(code or b"full")
        self.code += code or word.to_bytes(4, "little")

    def load(self, number: int, offset: int, pointer: int) -> None:
        self.emit("ld", encode("ld", "I", offset, d=number, s=pointer))

    def store(self, number: int, offset: int, pointer: int) -> None:
        self.emit("sd", encode("sd", "S", offset, t=number, s=pointer))

    def add(self, found: Try) -> None:
        """Load the operands, do it, store the results, and on to the next slot."""
        self.tries.append(found)
        pointer = found.pointer
        slot = self._slot()
        self._point(found, slot)
        for letter, low, high in (("d", RD, RD_HIGH), ("t", RS2, RS2_HIGH), ("s", RS1, 0)):
            if letter in found.registers:
                self.load(found.registers[letter], low, pointer)
                if found.pairs and high and found.registers[letter]:
                    self.load(found.registers[letter] + 1, high, pointer)
        self._reserve(found)
        self._instruction(found, slot)
        self.slots += slot
        for letter, at in (("s", RS1), ("t", RS2), ("d", RESULT)):
            if letter in found.registers:
                self.store(found.registers[letter], at, pointer)
        if found.pairs:
            self.store(found.registers["d"] + 1, RESULT_HIGH, pointer)
        other = sum(POINTERS) - pointer
        self.emit("addi", encode("addi", "I", SLOT, d=pointer, s=pointer))
        self.emit("addi", encode("addi", "I", 0, d=other, s=pointer))

    def _slot(self) -> bytearray:
        slot = bytearray(self.chance.randbytes(SLOT))
        for at in (RS1, RS2, RD, RS2_HIGH, RD_HIGH, SCRATCH, SCRATCH + 8):
            slot[at : at + 8] = operand(self.chance).to_bytes(8, "little")
        return slot

    def _point(self, found: Try, slot: bytearray) -> None:
        """rs1 at the scratch memory; and half the time let a compare-and-swap succeed."""
        touched = access(found.name)
        if touched is None:
            return
        size, alignment = touched
        at = SCRATCH + self.chance.randrange(SLOT - SCRATCH - size + 1) // alignment * alignment
        address = SLOTS + len(self.slots) + at - offset_of(found.name, found.word)
        slot[RS1 : RS1 + 8] = (address & ONES).to_bytes(8, "little")
        if found.name.startswith("amocas") and self.chance.getrandbits(1):
            wanted = bytes(slot[at : at + size])
            slot[RD : RD + min(size, 8)] = wanted[:8]
            slot[RD_HIGH : RD_HIGH + len(wanted[8:])] = wanted[8:]

    def _reserve(self, found: Try) -> None:
        if found.name.startswith("sc_") and self.chance.random() < 0.7:
            name = "lr_" + found.name[-1]
            self.emit(name, int(table()[name]["match"]) | found.registers["s"] << 15)

    def _instruction(self, found: Try, slot: bytearray) -> None:
        if not jumps(found.name):
            self.emit(found.name, found.word, found.code)
        elif found.name == "jalr":
            self._register_jump(found, slot)
        elif self.chance.getrandbits(1):
            self._relative_jump(found, 8)
            self.store(0, PATH, found.pointer)
        else:
            self._backward_jump(found)

    def _relative_jump(self, found: Try, offset: int) -> None:
        layout = "J" if found.name == "jal" else "B"
        word = found.word & ~placed(layout, -1) | placed(layout, offset)
        self.emit(found.name, word)

    def _register_jump(self, found: Try, slot: bytearray) -> None:
        """Over one store; bit 0 of the sum is ignored."""
        target = self.end + 8 + self.chance.getrandbits(1)
        rs1 = target - immediate("I", found.word) & ONES
        slot[RS1 : RS1 + 8] = rs1.to_bytes(8, "little")
        self.emit(found.name, found.word)
        self.store(0, PATH, found.pointer)

    def _backward_jump(self, found: Try) -> None:
        """To a store that is passed by only when the jump is taken."""
        self.emit("jal", encode("jal", "J", 12))
        self.store(0, PATH, found.pointer)
        self.emit("jal", encode("jal", "J", 8))
        self._relative_jump(found, -8)

    def memory(self) -> dict[int, bytes]:
        image = bytes(self.code).ljust(SLOTS - RAM, b"\0") + self.slots
        return {RAM: image.ljust(RAM_SIZE, b"\0"), LOW_RAM: Random(1).randbytes(LOW_SIZE)}

    def registers(self) -> list[int]:
        values = [0, *(Random(2).getrandbits(64) for _ in range(31))]
        for pointer in POINTERS:
            values[pointer] = SLOTS
        return values

    def model(self) -> Machine:
        """The machine of the reference, at the end of the program."""
        machine = Machine(Memory(self.memory()), RAM, self.registers())
        while machine.pc != self.end:
            machine.execute(*self.listing[machine.pc])
        return machine

    def difference(self, found: bytes, expected: bytes) -> str:
        """The first try whose slot is not as the model has it."""
        for index, tried in enumerate(self.tries):
            at = SLOTS - RAM + index * SLOT
            if found[at : at + SLOT] != expected[at : at + SLOT]:
                given = _slot_text(bytes(self.slots[index * SLOT :]))
                text = f"{tried.word:#010x} {_core.disassemble(tried.word)} given {given}"
                one, other = found[at : at + SLOT], expected[at : at + SLOT]
                return f"{text}\nfound    {_slot_text(one)}\nexpected {_slot_text(other)}"
        return "memory outside the slots differs"


def _slot_text(slot: bytes) -> str:
    return " ".join(slot[at : at + 8][::-1].hex() for at in range(0, SLOT, 8))


def encode(name: str, layout: str, value: int, **registers: int) -> int:
    """An instruction of the programs' own."""
    places = {"d": 7, "s": 15, "t": 20}
    word = int(table()[name]["match"]) | placed(layout, value)
    return word | sum(number << places[letter] for letter, number in registers.items())


@cache
def program(name: str, count: int) -> Program:
    """`count` tries of a row of either table, the same ones every time."""
    row = table().get(name) or compressed_rows()[name]
    made = Program(Random(name))
    source = tries(row, made.chance)
    while len(made.tries) < count:
        found = next(source)
        if usable(found):
            made.add(found)
    return made
