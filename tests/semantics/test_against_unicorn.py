"""The programs of test_integer on unicorn: an implementation that shares nothing with the model.

What unicorn lacks is in the bridge's HOLES; each row that is left out for one of them must still be
wrong there, so that a newer unicorn shortens the list.
"""

from __future__ import annotations

from typing import Any

import pytest

from rvvm.py.engines.unicorn_engine import HOLES, UnicornEngine
from rvvm.py.tree import Region
from rvvm.py.views.registers import INTEGER
from semantics.integer_programs import (
    RAM,
    Program,
    compressed_rows,
    integer_rows,
    jumps,
    program,
    table,
)

TRIES = 60
MISSING = {extension for hole in HOLES for extension in hole.extensions}
ROWS: dict[str, dict[str, Any]] = {name: table()[name] for name in integer_rows()}
ROWS |= {name: row for name, row in compressed_rows().items() if not jumps(row["expands_to"])}


def asked(row: dict[str, Any]) -> bool:
    """Whether unicorn has what the row needs."""
    [(how, names)] = row["need"].items()
    lacking = [name in MISSING for name in names]
    return not (any if how == "all" else all)(lacking)


def engine(made: Program) -> UnicornEngine:
    rams = {base: memoryview(bytearray(data)) for base, data in made.memory().items()}
    found = UnicornEngine([(Region(base, len(data)), data) for base, data in rams.items()])
    found.pc = RAM
    for name, value in list(zip(INTEGER, made.registers(), strict=True))[1:]:
        found.set_register(name, value)
    return found


def difference(made: Program) -> str | None:
    """How unicorn and the model disagree after the program."""
    expected, unicorn = made.model(), engine(made)
    stop = unicorn.run(expected.retired)
    if stop.reason != "budget":
        return f"trap {stop.detail} at {made.listing.get(unicorn.pc)}"
    found = {region.base: unicorn.ram(region).tobytes() for region in unicorn.rams()}
    wanted = {base: bytes(data) for base, data in expected.memory.regions.items()}
    if found != wanted:
        return made.difference(found[RAM], wanted[RAM])
    registers = unicorn.registers()
    values = [registers["pc"], *(registers[name] for name in INTEGER[1:])]
    return None if values == [expected.pc, *expected.x[1:]] else f"registers {values}"


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if asked(row)])
def test_row(name: str) -> None:
    assert difference(program(name, TRIES)) is None


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if not asked(row)])
def test_row_left_out_is_wrong_there(name: str) -> None:
    """When this fails, unicorn has learnt the row: its extension leaves HOLES."""
    assert difference(program(name, TRIES)) is not None


def test_most_is_asked() -> None:
    names = {name for name, row in ROWS.items() if asked(row)}
    assert {"add", "mulhsu", "remw", "lwu", "amominu_d", "sc_d", "jalr", "c_addi16sp"} <= names
