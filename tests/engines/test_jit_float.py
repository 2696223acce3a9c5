"""Translated floating point against softfloat: results and flags, in every rounding mode."""

from __future__ import annotations

from array import array

import pytest

from asm import assemble
from privileged.bench import CODE, PLAIN_HOST, RAM, Bench
from privileged.manual import FS, M
from rvvm._core import softfloat
from semantics.float_operands import all_edges, packed, random_operands
from semantics.float_reference import INSTRUCTIONS, MODES, RNE
from semantics.integer_programs import letters, scattered, table

OPERANDS, RESULTS = RAM + 0x10_0000, RAM + 0x40_0000
DYNAMIC = 7
RUN = 64 * 1024  # more instructions than are left behind the last result
Host = dict[str, object]
HOSTS: list[Host] = [{}, {"host_lacks": ["fma"]}, {"host_lacks": ["avx512"]}, PLAIN_HOST]
NAMES = sorted(name for name in INSTRUCTIONS if table()[name]["format"] != "Fli")

#: s0 walks over triples of operands up to s2, s1 over pairs of a result and its flags
LOOP = """
    loop: {loads}
        .word {word}
        {store}
        csrrw a4, fflags, x0
        sd    a4, 8(s1)
        addi  s0, s0, 24
        addi  s1, s1, 16
        bne   s0, s2, loop
    end: j    end
"""


def loop(name: str, field: int) -> str:
    """The instruction on registers 10 to 12, f or x as it likes, into f13 or a3."""
    row, loads = table()[name], []
    for index in range(len(INSTRUCTIONS[name].sources)):
        loads += [f"{load}{10 + index}, {8 * index}(s0)" for load in ("ld x", "fld f")]
    fields = {"s": 10, "t": 11, "u": 12, "d": 13, "m": field}
    used = set(fields) & set(letters(row))
    word = int(row["match"]) | sum(scattered(row, letter, fields[letter]) for letter in used)
    store = "sd a3, 0(s1)" if INSTRUCTIONS[name].target == "x" else "fsd f13, 0(s1)"
    return LOOP.format(loads="; ".join(loads), word=word, store=store)


def translated(name: str, operands: array[int], field: int, frm: int, host: Host) -> bytes:
    """What a loop of translated code makes of the operands."""
    count = len(operands) // 3
    bench = Bench(ram=16 << 20, engine={"accel": "jit", "hot": 1, "code_size": 1, **host})
    bench.set(mstatus=FS(3), fcsr=frm << 5)
    bench.system.write(OPERANDS, operands.tobytes())
    program = assemble(loop(name, field), CODE)
    bench.system.write(CODE, program.code)
    bench.regs(s0=OPERANDS, s1=RESULTS, s2=OPERANDS + 24 * count)
    bench.enter(M, CODE)
    bench.system.run(count * len(program.code) // 4 + RUN)
    assert bench.hart.traps == 0 and bench.hart.pc == program["end"], bench.hart.last_trap
    return bench.system.read(RESULTS, 16 * count)


@pytest.mark.parametrize("host", HOSTS, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_row(name: str, host: Host) -> None:
    instruction = INSTRUCTIONS[name]
    tuples = [*all_edges(instruction.sources), *random_operands(instruction.sources, 400, name)]
    operands = packed(tuples)
    for rm in MODES if instruction.rounds else [RNE]:
        expected = softfloat.evaluate_many(name, operands, rm)
        has_field = "m" in letters(table()[name])
        for field, frm in [(rm, 0), (rm, 5), (DYNAMIC, rm)] if has_field else [(0, rm)]:
            found = translated(name, operands, field, frm, host)
            assert found == expected, described(name, tuples, rm, found, expected)


def described(
    name: str, tuples: list[tuple[int, ...]], rm: int, found: bytes, expected: bytes
) -> str:
    """The first operands with another result."""
    pairs = zip(tuples, found_pairs(found), found_pairs(expected), strict=True)
    operands, mine, wanted = next(each for each in pairs if each[1] != each[2])
    text = " ".join(f"{n:#x}" for n in operands)
    return f"{name} {text} rm={rm}: {mine[0]:#x} {mine[1]:05b} / {wanted[0]:#x} {wanted[1]:05b}"


def found_pairs(data: bytes) -> list[tuple[int, int]]:
    words = memoryview(data).cast("Q")
    return list(zip(words[::2], words[1::2], strict=True))
