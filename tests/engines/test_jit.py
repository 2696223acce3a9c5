"""The translating engine is the interpreter bit for bit: registers, CSRs, memory, traps, counts."""

from __future__ import annotations

from random import Random

import pytest

from asm import asm
from engines.jit_lockstep import ENGINES, WORLDS, Case, World, compare, shrunk
from engines.jit_programs import NOP, Maker, groups
from privileged.bench import PLAIN_HOST
from privileged.manual import M

PROGRAMS, MANY = 5, 40  # for each world with each engine; fuzz.py runs a million shorter ones
HOT = {"hot": 1}


def check(case: Case) -> None:
    if compare(case):
        least = shrunk(case, compare)
        pytest.fail(f"{least}\n{compare(least)}")


@pytest.mark.parametrize("world", WORLDS, ids=str)
@pytest.mark.parametrize("engine", ENGINES, ids=str)
def test_random_programs(world: World, engine: dict[str, object]) -> None:
    for seed in range(PROGRAMS):
        check(Case(seed, world, engine))


@pytest.mark.long
@pytest.mark.parametrize("world", WORLDS, ids=str)
@pytest.mark.parametrize("engine", ENGINES, ids=str)
def test_many_random_programs(world: World, engine: dict[str, object]) -> None:
    for seed in range(MANY):
        check(Case(1000 + seed, world, engine, chunks=20, longest=3000))


@pytest.mark.parametrize("host", [{}, PLAIN_HOST], ids=["this host", "a plain host"])
@pytest.mark.parametrize("name", [name for group in groups().values() for name in group])
def test_row(name: str, host: dict[str, object]) -> None:
    """A row with itself, in as many ways as there is room for."""
    for seed, world in enumerate(WORLDS[:2]):
        maker = Maker(Random(f"{name} {seed}"), 40)
        slots = [maker.word(name, index).to_bytes(4, "little") for index in range(40)]
        check(Case(seed, world, HOT | host, slots=slots, chunks=6))


# Found by the above.


def program(*lines: str, at: int = 0) -> list[bytes]:
    return [asm(line, at + 4 * n).to_bytes(4, "little") for n, line in enumerate(lines)]


@pytest.mark.parametrize("jump", ["jal ra, 6", "jalr ra, 6(t5)", "beq x0, x0, 6"])
def test_jump_to_half_a_word(jump: str) -> None:
    """Without C, "an instruction-address-misaligned exception is generated" by the jump."""
    world = World(M, without=("c", "zcb", "zcmop"))
    check(Case(1, world, HOT, slots=[*program(jump), *[NOP] * 70]))


@pytest.mark.parametrize("word", [0xD202_00D3, 0xD212_00D3, 0x4202_00D3], ids=hex)
@pytest.mark.parametrize("rounding", [5, 6])
def test_reserved_rounding_of_exact_conversions(word: int, rounding: int) -> None:
    """fcvt.d.w, fcvt.d.wu and fcvt.d.s never round, but a reserved mode is illegal all the same."""
    slot = (word | rounding << 12).to_bytes(4, "little")
    check(Case(1, World(M), HOT, slots=[slot, *[NOP] * 70]))


def test_store_into_the_running_block() -> None:
    """A block that stores to itself goes on with what it stored, on either engine."""
    lines = ["li x29, 0x13", *["nop"] * 5, "sw x29, 20(x30)", *["nop"] * 3, "addi a0, a0, 1"]
    check(Case(1, World(M), HOT, slots=[*program(*lines), *program("addi a0, a0, 1") * 20]))
