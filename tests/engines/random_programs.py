"""Random straight-line programs, drawn from the core's table of instructions."""

from __future__ import annotations

import random
from functools import cache

from asm import Row, rows

POINTER = 31  # t6 points into the middle of the data; nothing else writes it
BRANCH, JAL, JALR = 0b1100011, 0b1101111, 0b1100111
MEMORY = (0b0000011, 0b0100011, 0b0101111)
SKIP_ONE = {BRANCH: 1 << 3, JAL: 1 << 11}  # an offset of 8, as the format shuffles its bits
WANTED = [[name] for name in ("i", "m", "zmmul", "zaamo", "zalrsc")]


@cache
def _candidates() -> list[Row]:
    from rvvm import _core

    wanted = {
        entry["name"].rstrip("_").replace("_", ".")
        for entry in _core.instructions()
        if entry["need"].get("all") in WANTED
    }
    chosen = [row for name, row in rows().items() if name in wanted]
    # Whether sc succeeds after the hart's own stores is up to the implementation.
    chosen = [row for row in chosen if not row.name.startswith("sc.")]
    # Jumps to registers leave the program; system instructions and fences have tests of their own.
    return [row for row in chosen if row.opcode not in (JALR, 0b1110011, 0b0001111)]


def program(seed: int, length: int) -> bytes:
    """``length`` instructions of RV64IMA; branches and jumps skip one, memory is around POINTER."""
    chance = random.Random(seed)
    words = [_instruction(chance) for _ in range(length)]
    return b"".join(word.to_bytes(4, "little") for word in [*words, 0x13, 0x13])


def _instruction(chance: random.Random) -> int:
    row = chance.choice(_candidates())
    bits = row.match
    for letter, positions in row.fields.items():
        bits |= _scatter(_operand(chance, row, letter, len(positions)), positions)
    return bits


def _operand(chance: random.Random, row: Row, letter: str, width: int) -> int:
    if letter == "i" and row.opcode in SKIP_ONE:
        return SKIP_ONE[row.opcode]
    if letter == "s" and row.opcode in MEMORY:
        return POINTER
    if letter == "d":
        return chance.randrange(POINTER)
    return chance.getrandbits(width)


def _scatter(value: int, positions: tuple[int, ...]) -> int:
    return sum((value >> place & 1) << at for place, at in enumerate(reversed(positions)))


def state(seed: int, data: int) -> dict[str, int]:
    """Register values that include the interesting ones; t6 points at ``data``."""
    chance = random.Random(seed)
    special = [0, 1, 2**63, 2**64 - 1, 2**31, 2**32 - 1, 0x7FFF_FFFF, 2**63 - 1]
    values = {f"x{number}": _value(chance, special) for number in range(1, 32)}
    return values | {f"x{POINTER}": data}


def _value(chance: random.Random, special: list[int]) -> int:
    return chance.choice(special) if chance.random() < 0.3 else chance.getrandbits(64)
