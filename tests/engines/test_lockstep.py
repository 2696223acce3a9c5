"""Two engines side by side."""

from __future__ import annotations

import pytest

from asm import assemble
from engines import random_programs
from engines.pairs import BASE, SIZE, interpreter, pair, unicorn_engine
from rvvm.py.engines.lockstep import Lockstep

DATA = BASE + SIZE // 2
LENGTH = 300


def test_equal_programs_agree() -> None:
    code = assemble("again: addi a0, a0, 1; mul a1, a0, a0; j again", BASE).code
    lockstep = Lockstep(lambda: pair(code))
    assert lockstep.run(300) is None and lockstep.count == 300
    assert lockstep.run(100_000, chunk=10_000) is None


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_the_first_difference_is_found(chunk: int) -> None:
    """One engine runs other code from the 51st instruction on."""
    same = "addi a0, a0, 1; " * 50
    one = assemble(same + "addi a1, a1, 1; addi a2, a2, 1; j 0x80000000", BASE).code
    other = assemble(same + "addi a1, a1, 1; addi a2, a2, 2; j 0x80000000", BASE).code
    lockstep = Lockstep(lambda: (unicorn_engine(one), unicorn_engine(other)))
    # The programs themselves differ in RAM from the start, as a difference must be told.
    difference = lockstep.run(10)
    assert difference is not None and difference.count == 0 and difference.memory

    lockstep = Lockstep(lambda: (unicorn_engine(one), unicorn_engine(one, {"a2": 7})))
    assert set(lockstep.run(1).values) == {"a2"}  # type: ignore[union-attr]

    code = assemble("li t0, 50; loop: addi t0, t0, -1; bnez t0, loop; add a0, a0, t1", BASE).code
    lockstep = Lockstep(
        lambda: (unicorn_engine(code, {"t1": 1}), unicorn_engine(code, {"t1": 2})), ignore=["t1"]
    )
    difference = lockstep.run(1000, chunk)
    assert difference is not None
    assert (difference.count, difference.pc) == (101, BASE + 12)
    assert difference.values == {"a0": (1, 2)}
    text = repr(difference)
    assert text.startswith("after 101 equal instructions: 0x8000000c add a0, a0, t1")
    assert "0x0000000000000002" in text and "<table>" in difference._repr_html_()


def test_memory_differences_are_found() -> None:
    code = assemble("addi a0, a0, 1; sb a1, 0(t6); addi a0, a0, 1", BASE).code
    states = ({"t6": DATA, "a1": 1}, {"t6": DATA, "a1": 2})
    lockstep = Lockstep(
        lambda: (unicorn_engine(code, states[0]), unicorn_engine(code, states[1])), ignore=["a1"]
    )
    difference = lockstep.run(3)
    assert difference is not None and difference.count == 1
    assert difference.memory == {DATA: (1, 2)} and f"[{DATA:#x}]" in repr(difference)


@pytest.mark.parametrize("seed", range(40))
def test_random_integer_programs(seed: int) -> None:
    """The interpreter against unicorn: RV64IMA, 300 instructions a program."""
    code = random_programs.program(seed, LENGTH)
    state = random_programs.state(seed, DATA)
    difference = Lockstep(lambda: pair(code, state)).run(LENGTH - LENGTH // 3, chunk=20)
    assert difference is None, f"\n{difference}"


def test_interpreter_against_itself_compares_every_csr() -> None:
    code = assemble("csrw mscratch, a0; csrw mepc, a1; j 0x80000000", BASE).code
    state = {"a0": 5, "a1": 0x8000_0004}
    assert Lockstep(lambda: (interpreter(code, state), interpreter(code, state))).run(30) is None
    assert "mepc" in interpreter(code).registers()
