"""Loops over memory: the translator keeps pages from round to round and shares TLB checks."""

from __future__ import annotations

import pytest

from asm import asm
from engines.jit_lockstep import WORLDS, Case, World, compare
from engines.jit_programs import DATA_POINTER, NOP

ENGINE = {"hot": 1}
D = f"x{DATA_POINTER}"  # in the middle of four pages, behind which nothing is mapped
ROUNDS = 700


def program(lines: list[str]) -> list[bytes]:
    return [asm(line, 4 * n).to_bytes(4, "little") for n, line in enumerate(lines)]


def check(world: World, lines: list[str]) -> None:
    slots = [*program(lines), *[NOP] * (80 - len(lines))]
    case = Case(1, world, ENGINE, slots=slots, chunks=12, longest=6000)
    assert not compare(case), compare(case)


def start(offset: int) -> list[str]:
    """a5 and a4 at DATA + offset and 64 bytes behind it; a3 rounds."""
    return [f"addi a5, {D}, {offset}", "addi a4, a5, 64", f"addi a3, x0, {ROUNDS}"]


WALKS = {
    "bytes up": ["lbu a0, 0(a5)", "sb a0, 1(a4)", "addi a5, a5, 1", "addi a4, a4, 1"],
    "words down": ["lw a0, -4(a5)", "sw a0, 0(a4)", "addi a5, a5, -8", "addi a4, a4, -8"],
    "misaligned": ["ld a0, 3(a5)", "sd a0, 5(a4)", "addi a5, a5, 9", "addi a4, a4, 9"],
    "through another": ["lbu a0, 0(a5)", "addi a2, a5, 1", "sb a0, 0(a4)", "add a5, x0, a2"],
    "lines": ["ld a0, 0(a5)", "ld a1, 56(a5)", "sd a1, 8(a4)", "addi a5, a5, 64"],
    "far leaps": ["ld a0, 0(a5)", "addi a5, a5, 1032", "sd a0, 0(a4)", "addi a4, a4, 24"],
    "standing still": ["ld a0, 0(a5)", "addi a0, a0, 1", "sd a0, 0(a5)", "ld a1, 8(a5)"],
    "in memory": ["add t3, x0, a5", "lw a0, 0(t3)", "sw a0, 4(t3)", "addi a5, a5, 4"],
    "many sizes": ["lb a0, 0(a5)", "ld a1, 1(a5)", "sh a1, 2(a4)", "addi a5, a5, 3"],
    "atomic too": ["amoadd.w a0, a3, (a4)", "lw a1, 0(a5)", "sw a1, 4(a4)", "addi a5, a5, 4"],
    "floating": ["fld ft0, 0(a5)", "fsd ft0, 8(a4)", "flw fs5, 4(a5)", "addi a5, a5, 16"],
}


@pytest.mark.parametrize("world", WORLDS, ids=str)
@pytest.mark.parametrize("walk", WALKS)
@pytest.mark.parametrize("offset", [0, 1, -4, 0x7F8, -0x7FD])
def test_walk(world: World, walk: str, offset: int) -> None:
    """Over page boundaries, and beyond the pages that are mapped: faults are the interpreter's."""
    body = WALKS[walk]
    back = ["addi a3, a3, -1", f"bne a3, x0, {-4 * (len(body) + 1)}"]
    check(world, [*start(offset), *body, *back])


@pytest.mark.parametrize("world", WORLDS[:4], ids=str)
def test_into_the_middle(world: World) -> None:
    """What a slot kept when the loop was left means nothing when it is entered elsewhere."""
    outer = ["addi a5, a5, 1024", "addi a3, x0, 5", "beq x0, x0, 8"]
    inner = ["addi a5, a5, 8", "ld a0, 0(a5)", "sd a0, 8(a5)", "addi a3, a3, -1", "bne a3, x0, -16"]
    again = ["addi a2, a2, -1", f"bne a2, x0, {-4 * (len(outer) + len(inner) + 1)}"]
    check(world, [f"addi a5, {D}, -2000", "addi a2, x0, 9", *outer, *inner, *again])


@pytest.mark.parametrize("world", WORLDS[:4], ids=str)
def test_nested(world: World) -> None:
    inner = [
        "lbu a0, 0(a4)",
        "sb a0, 0(a5)",
        "addi a4, a4, 1",
        "addi a3, a3, -1",
        "bne a3, x0, -16",
    ]
    outer = ["ld a1, 0(a5)", "addi a3, x0, 40", *inner, "addi a5, a5, 56", "addi a2, a2, -1"]
    back = [f"bne a2, x0, {-4 * len(outer)}"]
    check(world, [*start(-512), "addi a2, x0, 60", *outer, *back])
