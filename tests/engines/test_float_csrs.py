"""fflags, frm and fcsr in translated code: what they hold, and that no loop leaves it for them."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest

from asm import assemble
from privileged.bench import CODE, PLAIN_HOST, RAM, Bench
from privileged.manual import FS, M

OPERANDS, RESULTS = RAM + 0x10_0000, RAM + 0x40_0000
HOSTS: list[dict[str, Any]] = [{}, {"host_lacks": ["avx512"]}, PLAIN_HOST]
FORMS = ("csrrw", "csrrs", "csrrc", "csrrwi", "csrrsi", "csrrci")
NAN, SNAN = 0x7FF8 << 48, 0x7FF0_0000_0000_0001
NUMBERS = [struct.unpack("<Q", struct.pack("<d", x))[0] for x in (1.5, -2.25, 3.0, 1e300, 0.0)]

#: s0 walks over rows up to s2, s1 over what came out of them
LOOP = """
    loop: ld    a1, 0(s0)
        ld      a2, 8(s0)
        fld     f10, 16(s0)
        fld     f11, 24(s0)
        csrrw   x0, fcsr, a1
        flt.d   a4, f10, f11
        fcvt.w.d a5, f10, rtz
        {access}
        sd      {shown}, 0(s1)
        csrrs   a4, fcsr, x0
        sd      a4, 8(s1)
        csrrs   a4, frm, x0
        sd      a4, 16(s1)
        flt.d   a4, f11, f10
        csrrs   a4, fflags, x0
        sd      a4, 24(s1)
        addi    s0, s0, 32
        addi    s1, s1, 32
        bne     s0, s2, loop
    end: j      end
"""


def run(source: str, engine: dict[str, Any], rows: list[tuple[int, ...]]) -> tuple[bytes, int]:
    """What the loop stores, and the instructions that the translator left to the interpreter."""
    bench = Bench(engine=engine)
    bench.set(mstatus=FS(3))
    bench.system.write(OPERANDS, b"".join(struct.pack("<4Q", *row) for row in rows))
    program = assemble(source, CODE)
    bench.system.write(CODE, program.code)
    bench.regs(s0=OPERANDS, s1=RESULTS, s2=OPERANDS + 32 * len(rows))
    bench.enter(M, CODE)
    bench.system.run(2 * len(rows) * len(program.code) // 4 + 10_000)
    assert bench.hart.traps == 0 and bench.hart.pc == program["end"], bench.hart.last_trap
    return bench.system.read(RESULTS, 32 * len(rows)), bench.system.stats()["interpreted"]


@pytest.mark.parametrize("host", HOSTS, ids=str)
@pytest.mark.parametrize("csr", ["fflags", "frm", "fcsr"])
@pytest.mark.parametrize("form", FORMS)
def test_accesses_are_the_interpreter_s(form: str, csr: str, host: dict[str, Any]) -> None:
    """Every form, on flags that were written and flags that the host has raised since.

    Rounding modes that the host has not, and reserved ones, are held as any other.
    """
    dice = random.Random(f"{form} {csr}")
    numbers = [*NUMBERS, NAN, SNAN]
    rows = [
        (dice.getrandbits(8), dice.getrandbits(64), dice.choice(numbers), dice.choice(numbers))
        for _ in range(300)
    ]
    for shown in ("a3", "a2", "x0"):
        for operand in ["a2", "x0"] if not form.endswith("i") else ["0", "1", "3", "17", "31"]:
            source = LOOP.format(access=f"{form} {shown}, {csr}, {operand}", shown=shown)
            expected, _ = run(source, {"accel": "interp"}, rows)
            found, _ = run(source, {"accel": "jit", "hot": 1, **host}, rows)
            assert found == expected, (shown, operand)


#: what compilers and C libraries make of C: a loop's body
LOOPS = {
    # a comparison that raises nothing for a quiet NaN: isless(), and what sqrt() checks
    "quiet comparison": "csrrs a5, fflags, x0; flt.d a4, f10, f11; csrrw x0, fflags, a5",
    "sqrt": "csrrs a5, fflags, x0; flt.d a4, f10, f11; csrrw x0, fflags, a5; fsqrt.d f12, f10",
    "flags of each step": "csrrwi x0, fflags, 0; fdiv.d f12, f10, f11; csrrs a3, fflags, x0",
    "floor": "csrrs a5, fflags, x0; fcvt.l.d a4, f10, rdn; fcvt.d.l f12, a4, rdn;"
    "fsgnj.d f12, f12, f10; csrrw x0, fflags, a5",
    "ceil of a float": "fcvt.s.d f13, f10; csrrs a5, fflags, x0; fcvt.w.s a4, f13, rup;"
    "fcvt.s.w f12, a4, rup; fsgnj.s f12, f12, f13; csrrw x0, fflags, a5",
    "rint": "fcvt.l.d a4, f10; fcvt.d.l f12, a4; fsgnj.d f12, f12, f10",
    "round": "fcvt.l.d a4, f10, rmm; fcvt.d.l f12, a4, rmm; fsgnj.d f12, f12, f10",
    "lround of a float": "fcvt.s.d f13, f10; fcvt.l.s a4, f13, rmm",
    "round down for a while": "csrrwi a5, frm, 2; fdiv.d f12, f10, f11; csrrw x0, frm, a5",
    "feholdexcept": "csrrs a5, fcsr, x0; csrrwi x0, fflags, 0; fadd.d f12, f10, f11;"
    "csrrw x0, fcsr, a5",
    "fesetround": "csrrwi x0, frm, 1; fmul.d f12, f10, f11; csrrwi x0, frm, 0",
    "singles": "fcvt.s.d f13, f10; fsgnjn.s f12, f13, f13; fsgnj.s f14, f12, f12;"
    "fsgnjx.s f15, f14, f14; fadd.s f12, f15, f13",
    "isnan and isfinite": "fclass.d a4, f10; fclass.d a3, f11",
}
ROWS = 2000


@pytest.mark.parametrize("host", HOSTS[:2], ids=str)
@pytest.mark.parametrize("name", LOOPS)
def test_no_loop_leaves_translated_code(name: str, host: dict[str, Any]) -> None:
    dice = random.Random(name)
    values = struct.unpack(f"<{2 * ROWS}Q", struct.pack(
        f"<{2 * ROWS}d", *(dice.uniform(0.5, 1e6) for _ in range(2 * ROWS))
    ))  # fmt: skip
    rows = [(0, 0, *pair) for pair in zip(values[::2], values[1::2], strict=True)]
    source = f"""
        csrrwi x0, fcsr, 0
        fcvt.d.w f1, x0
        loop: fld f10, 16(s0)
        fld     f11, 24(s0)
        {LOOPS[name]}
        fsd     f12, 0(s1)
        csrrs   a3, fcsr, x0
        sd      a3, 8(s1)
        sd      a4, 16(s1)
        addi    s0, s0, 32
        addi    s1, s1, 32
        bne     s0, s2, loop
        end: j  end
    """
    expected, _ = run(source, {"accel": "interp"}, rows)
    found, interpreted = run(source, {"accel": "jit", "hot": 1, **host}, rows)
    assert found == expected
    assert interpreted < ROWS // 100, "less than one in a hundred rounds"
