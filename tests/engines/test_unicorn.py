"""The unicorn bridge, and the list of what it is not asked."""

from __future__ import annotations

import pytest

from engines.pairs import BASE, SIZE, unicorn_engine
from rvvm.py.engines.engine import Engine
from rvvm.py.engines.unicorn_engine import HOLES, open_holes
from rvvm.py.tree import Region


def test_every_hole_is_still_open() -> None:
    """An entry that a newer unicorn gets right has to leave the list."""
    closed = [hole.what for hole in HOLES if hole not in open_holes()]
    assert not closed


def test_every_hole_has_a_reason() -> None:
    assert all(hole.reason and hole.what for hole in HOLES)


def test_it_is_an_engine() -> None:
    engine = unicorn_engine(bytes(4))
    assert isinstance(engine, Engine)
    assert list(engine.rams()) == [Region(BASE, SIZE)]


def test_budget_is_exact() -> None:
    engine = unicorn_engine(bytes.fromhex("13051500") * 100)  # addi a0, a0, 1
    assert engine.run(37).reason == "budget"
    assert engine.registers()["a0"] == 37 and engine.pc == BASE + 37 * 4


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("73000000", 11),  # ecall
        ("73001000", 3),  # ebreak
        ("00000000", 2),  # illegal
        ("03b50500", 5),  # ld a0, 0(a1): a1 is 0
        ("23b0a500", 7),  # sd a0, 0(a1)
    ],
)
def test_a_trap_ends_the_run_at_its_instruction(code: str, cause: int) -> None:
    engine = unicorn_engine(bytes.fromhex("13051500" + code))
    stop = engine.run(10)
    assert (stop.reason, stop.detail, engine.pc) == ("trap", cause, BASE + 4)
