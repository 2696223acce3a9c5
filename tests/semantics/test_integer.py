"""Every integer row of the table on the core, against the model written from the manual."""

from __future__ import annotations

from functools import cache
from itertools import islice
from random import Random

import pytest

from privileged import bench
from privileged.bench import EXTENSIONS
from rvvm import _core
from semantics.integer_programs import (
    LOW_RAM,
    LOW_SIZE,
    RAM,
    RAM_SIZE,
    Program,
    Try,
    compressed_rows,
    integer_rows,
    jumps,
    operand,
    program,
    table,
    tries,
)
from semantics.integer_reference import (
    LOADS,
    MODEL,
    ONES,
    STORES,
    UNSIGNED_LOADS,
    Machine,
    Memory,
)

pytestmark = pytest.mark.usefixtures("accel")

ROWS = integer_rows()
COMPRESSED = compressed_rows()
JUMPS = [name for name in ROWS if jumps(name)]
JUMPS += [name for name, row in COMPRESSED.items() if jumps(row["expands_to"])]
TRIES = 250


def machine(memory: dict[int, bytes], registers: list[int]) -> tuple[_core.System, _core.Hart]:
    system = _core.System(clock="instructions", **bench.ENGINE)
    hart = system.add_hart(0, EXTENSIONS, RAM)
    for base, data in memory.items():
        system.add_ram(base, len(data))
        system.write(base, data)
    for number, value in enumerate(registers):
        hart.set_x(number, value)
    return system, hart


def agree(made: Program) -> None:
    expected = made.model()
    system, hart = machine(made.memory(), made.registers())
    system.run(expected.retired)
    assert hart.traps == 0, (hart.last_trap, _disassembled(made, hart.last_trap))
    found, wanted = system.read(RAM, RAM_SIZE), bytes(expected.memory.regions[RAM])
    assert found == wanted, made.difference(found, wanted)
    assert system.read(LOW_RAM, LOW_SIZE) == expected.memory.regions[LOW_RAM]
    assert [hart.x(number) for number in range(32)] == expected.x
    assert (hart.pc, hart.instret) == (expected.pc, expected.retired)


def _disassembled(made: Program, trap: dict[str, int] | None) -> str:
    return _core.disassemble(made.listing[trap["epc"]][1]) if trap else ""


def test_every_row_has_a_model() -> None:
    assert sorted(ROWS) == sorted(MODEL)


@pytest.mark.parametrize("name", ROWS)
def test_row(name: str) -> None:
    agree(program(name, TRIES))


@pytest.mark.parametrize("name", [name for name in COMPRESSED if name not in JUMPS])
def test_compressed_row(name: str) -> None:
    """What tests/isa shows it to stand for, done in two bytes."""
    agree(program(name, TRIES // 4))


# Jumps with every offset, one at a time: where they lead need not exist.


@cache
def jumper() -> tuple[_core.System, _core.Hart]:
    return machine({RAM: bytes(0x1000)}, [])


def jump(found: Try, registers: list[int]) -> None:
    system, hart = jumper()
    system.write(RAM, found.code)
    expected = Machine(Memory({}), RAM, registers)
    for number, value in enumerate(registers):
        hart.set_x(number, value)
    hart.pc = RAM
    expected.execute(found.name, found.word, len(found.code))
    hart.step()
    assert [hart.pc, *map(hart.x, range(32))] == [expected.pc, *expected.x], found
    assert hart.traps == 0


@pytest.mark.parametrize("name", JUMPS)
def test_jump(name: str) -> None:
    chance = Random(name)
    few = [operand(chance) for _ in range(3)]  # so that branches find equal ones
    for found in islice(tries(table().get(name) or COMPRESSED[name], chance), 150):
        jump(found, [0, *(chance.choice([*few, operand(chance)]) for _ in range(31))])


@pytest.mark.parametrize("name", [*LOADS, *UNSIGNED_LOADS, *STORES])
def test_page_crossing(name: str) -> None:
    """Every split of an access between two pages."""
    memory = {RAM: Random(name).randbytes(0x3000)}
    registers = [0, *(Random(2).getrandbits(64) for _ in range(31))]
    for before in range(8):
        registers[10] = RAM + 0x2000 - before
        word = int(table()[name]["match"]) | 10 << 15 | (11 << 20 if name in STORES else 11 << 7)
        memory[RAM] = word.to_bytes(4, "little") + memory[RAM][4:]
        expected = Machine(Memory(memory), RAM, list(registers))
        expected.execute(name, word)
        system, hart = machine(memory, registers)
        system.run(1)
        assert (hart.traps, hart.x(11)) == (0, expected.x[11])
        assert system.read(RAM, 0x3000) == expected.memory.regions[RAM]


def test_address_wraps() -> None:
    """ "the address is computed modulo 2^XLEN"."""
    system, hart = machine({RAM: b"\x03\x35\x85\x00" + bytes(0xFFC), 0: bytes(range(64)) * 64}, [])
    hart.set_x(10, ONES - 7)  # ld a0, 8(a0)
    system.run(1)
    assert hart.x(10) == int.from_bytes(bytes(range(8)), "little")
