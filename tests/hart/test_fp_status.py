"""FS in mstatus and in vsstatus: when floating-point state may be used, and when it becomes dirty.

"Extension Context Status in mstatus Register"; hypervisor chapter, "Virtual Supervisor Status
(vsstatus) Register" and the note on FS at the end of "Trap Cause Codes".
"""

from __future__ import annotations

import itertools

import pytest

from privileged.bench import DATA, Bench
from privileged.manual import FS, MODES, SD, Mode

#: (line, does it change floating-point state?)
LINES = [
    ("fadd.d fa0, fa1, fa2", True),
    ("fmv.d.x fa0, a0", True),
    ("fld fa0, (a1)", True),
    ("flw fa0, (a1)", True),
    ("fcvt.s.d fa0, fa1", True),
    ("fsgnj.h fa0, fa1, fa2", True),
    (0xF210_0553, True),  # fli.d fa0, -1.0
    ("fsd fa0, (a1)", False),
    ("fmv.x.d a0, fa0", False),
    ("fclass.d a0, fa0", False),
]
COMPRESSED = [(0x2188, True), (0xA188, False)]  # c.fld fa0, 0(a1) and c.fsd


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize(("line", "writes"), [*LINES, *COMPRESSED], ids=str)
def test_fs(mode: Mode, line: str | int, writes: bool) -> None:
    """Off in either register (vsstatus if V=1): illegal, never virtual; else Dirty in both."""
    bench = Bench()
    for hs, vs in itertools.product(range(4), repeat=2):
        bench.set(mstatus=FS(hs), vsstatus=FS(vs))
        off = hs == 0 or (mode.virtual and vs == 0)
        assert bench.cause(line, mode, a0=1, a1=DATA) == (2 if off else None), (hs, vs)
        dirty = writes and not off
        assert FS.of(bench.get("mstatus")) == (3 if dirty else hs)
        assert FS.of(bench.get("vsstatus")) == (3 if dirty and mode.virtual else vs)
        assert SD.of(bench.get("mstatus")) == (FS.of(bench.get("mstatus")) == 3)
        assert SD.of(bench.get("vsstatus")) == (FS.of(bench.get("vsstatus")) == 3)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_flags_make_it_dirty(mode: Mode) -> None:
    """fcsr is floating-point state: an operation that only raises a flag modifies it."""
    bench = Bench()
    bench.set(mstatus=FS(1), vsstatus=FS(1), fcsr=0)
    bench.hart.set_f(11, 0x7FF0_0000_0000_0001)  # a signalling NaN
    assert bench.step("feq.d a0, fa1, fa1", mode) is None
    assert bench.get("fflags") == 0x10
    assert FS.of(bench.get("mstatus")) == 3
    assert FS.of(bench.get("vsstatus")) == (3 if mode.virtual else 1)


@pytest.mark.parametrize("rm", [5, 6])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_reserved_rounding_mode(rm: int, mode: Mode) -> None:
    """F extension, "Floating-Point Control and Status Register": reserved modes are illegal."""
    bench = Bench()
    bench.set(mstatus=FS(1), vsstatus=FS(1))
    static = 0x02C5_8553 | rm << 12  # fadd.d fa0, fa1, fa2 with a static rounding mode
    assert bench.cause(static, mode) == 2
    bench.set(frm=rm)
    assert bench.cause("fadd.d fa0, fa1, fa2", mode) == 2
    assert bench.cause(static & ~(7 << 12), mode) is None


def test_state_survives_off() -> None:
    """Changing FS has no effect on the contents of the floating-point registers."""
    bench = Bench()
    bench.hart.set_f(10, 0x1234)
    for fs in (0, 1, 2, 3, 0, 3):
        bench.set(mstatus=FS(fs))
        assert bench.hart.f(10) == 0x1234
