"""CSR instructions as translated code calls for them, against the same instructions interpreted."""

from __future__ import annotations

import random
from typing import Any

import pytest

from asm import assemble
from privileged.bench import DATA, Bench, atp, open_bench, permissive
from privileged.manual import ADDRESS, HS, MODES, ONES, SUM, VS, M, Mode, U

FORMS = ("csrrw", "csrrs", "csrrc", "csrrwi", "csrrsi", "csrrci")
SSI, SIE = 1 << 1, 1 << 1


def code_of(form: str, name: str, rs1: str) -> bytes:
    return assemble(f"{form} a0, {ADDRESS[name]}, {rs1}", 0).code


def quickly(bench: Bench, code: bytes, operand: int, mode: Mode) -> int | None:
    bench.enter(mode)
    return bench.hart.quick_csr(int.from_bytes(code, "little"), operand)


def csrs(bench: Bench) -> dict[str, Any]:
    return bench.hart.registers()["csr"]  # type: ignore[no-any-return]


def operands(dice: random.Random, form: str) -> tuple[str, int]:
    """rs1 as the assembler wants it, and its value; often nothing is written."""
    number = dice.choice((0, 1, 2, dice.randrange(32)))
    if form.endswith("i"):
        return str(number), number
    word = dice.choice((0, dice.getrandbits(64), 1 << dice.randrange(64)))
    return ("x0", 0) if number == 0 else ("a1", word)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_quick_accesses_are_the_instructions(mode: Mode) -> None:
    """Every CSR and form, random words: the same, or left to the interpreter with nothing done."""
    dice = random.Random(str(mode))
    done = 0
    for name in ADDRESS:
        one, two = open_bench(), open_bench()
        words = {csr: dice.getrandbits(64) for csr in ("mstatus", "vsstatus", "sscratch")}
        for bench in (one, two):
            bench.set(**words, mie=0)  # no interrupt on the way
        for form in FORMS:
            rs1, operand = operands(dice, form)
            code = code_of(form, name, rs1)
            before = csrs(one)
            old = quickly(one, code, operand, mode)
            if old is None:
                assert csrs(one) == before, f"{form} {name}"
                continue
            assert two.step(code, mode, a1=operand, a0=7) is None, f"{form} {name}"
            assert two.x("a0") == old, f"{form} {name}, {operand:#x}"
            one.step(0x13, mode)
            assert csrs(one) == csrs(two), f"{form} {name}, {operand:#x}"
            done += 1
    assert done > {M: 300, HS: 150, VS: 60}.get(mode, 15)


#: CSR, operand of csrrs, mode: what a kernel does at each system call
USUAL = [
    *[("sstatus", SUM.mask, mode) for mode in (HS, VS)],
    *[("sstatus", SIE, mode) for mode in (HS, VS)],
    *[("sstatus", 3 << 13, mode) for mode in (HS, VS)],
    *[(name, ONES, mode) for name in ("sscratch", "sepc", "stvec") for mode in (HS, VS)],
    *[(name, 0, mode) for name in ("time", "instret", "sie", "satp") for mode in (HS, VS)],
    *[(name, 0, U) for name in ("time", "cycle")],
    ("mstatus", 1 << 17, M),
]


@pytest.mark.parametrize(("name", "operand", "mode"), USUAL, ids=str)
def test_the_usual_ones_are_quick(name: str, operand: int, mode: Mode) -> None:
    bench = open_bench()
    code = code_of("csrrs", name, "a1" if operand else "x0")
    assert quickly(bench, code, operand, mode) is not None


@pytest.mark.parametrize("pending", [False, True])
def test_a_write_that_lets_an_interrupt_in_is_not_done(pending: bool) -> None:
    """Setting sstatus.SIE with something pending is the interpreter's; clearing it is quick."""
    bench = open_bench(mideleg=ONES, mie=SSI, mip=SSI if pending else 0)
    bench.set(mstatus=0)
    before = csrs(bench)
    set_it, clear_it = code_of("csrrsi", "sstatus", "2"), code_of("csrrci", "sstatus", "2")
    assert (quickly(bench, set_it, SIE, HS) is None) == pending
    assert csrs(bench)["sstatus"] == before["sstatus"] | (0 if pending else SIE)
    bench.set(mstatus=0)
    assert quickly(bench, clear_it, SIE, HS) is not None
    if pending:
        trap = bench.step(set_it, HS) or bench.resume()
        assert trap is not None and trap.interrupt


def test_loads_follow_a_quick_toggle() -> None:
    """S-mode reads a user page while SUM is set, and only then."""
    bench = Bench()
    bench.set(**permissive(), medeleg=0)
    root = bench.pages()
    for n, user in ((2, 0), (3, 1 << 4)):  # gigapages: RAM for S, and the same for U
        bench.poke(root + 8 * n, 0x8000_0000 >> 2 | 0xCF | user)
    bench.set(satp=atp(8, root))
    bench.poke(DATA, 0x1234)
    address = DATA - 0x8000_0000 + 0xC000_0000
    set_it, clear_it = (code_of(form, "sstatus", "a1") for form in ("csrrs", "csrrc"))
    for _ in range(3):
        assert quickly(bench, set_it, SUM.mask, HS) is not None
        assert bench.step("ld a0, 0(a1)", HS, a1=address) is None
        assert bench.x("a0") == 0x1234
        assert quickly(bench, clear_it, SUM.mask, HS) is not None
        trap = bench.step("ld a0, 0(a1)", HS, a1=address)
        assert trap is not None and trap.cause == 13
