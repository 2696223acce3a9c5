"""The commit log: one line an instruction, as Spike's --log-commits has it today.

The rules are those of Spike's execute.cc and csrs.cc: registers in the order of their numbers (x,
then f, then CSRs, which are numbered on: c1 stands before x2), then loads, then stores. Views of
other CSRs are logged as those, and a write counts whether or not it changes anything.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from privileged.bench import CODE, DATA, EXTENSIONS, Bench
from privileged.manual import FS, H_SPV, HS, MPP, ONES, STCE, VS, M, Mode

INITIAL, DIRTY = 1, 3
SD = 1 << 63
XL64 = 2 << 34 | 2 << 32  # SXL, UXL
ONE_F = 0xFFFF_FFFF_3F80_0000
THIRD_F = 0xFFFF_FFFF_3EAA_AAAB
THREE_F = 0xFFFF_FFFF_4040_0000
WHERE, NEXT = f"mem 0x{DATA:016x}", f"mem 0x{DATA + 64:016x}"


def logged(bench: Bench, tmp_path: Path, *lines: str, mode: Mode = M) -> list[str]:
    """What each line of a program wrote, by the log."""
    program = bench.load("; ".join(lines))
    bench.enter(mode, CODE)
    traps = bench.hart.traps
    path = tmp_path / "log"
    bench.system.log_commits(str(path))
    bench.system.run(len(lines))
    bench.system.log_commits(None)
    assert bench.hart.traps == traps, bench.hart.last_trap
    found = path.read_text().splitlines()
    assert len(found) == len(lines) <= len(program.code) // 2
    texts = []
    for line in found:
        match = re.fullmatch(r"core   0: ([013]) 0x[0-9a-f]{16} \(0x[0-9a-f]{8}\)(.*)", line)
        assert match and int(match[1]) == mode.privilege, line
        texts.append(match[2].strip())
    return texts


def word(value: int) -> str:
    return f"0x{value & ONES:016x}"


def status(fields: int) -> str:
    return word(XL64 | fields)


FLOATING = [
    # line, FS, fcsr before, what is written
    ("csrrw a0, fcsr, a1", DIRTY, 0, f"c1_fflags {word(3)} c2_frm {word(7)} x10 {word(0)}"),
    ("csrw fcsr, x0", DIRTY, 0, f"c1_fflags {word(0)} c2_frm {word(0)}"),
    ("csrw frm, x0", DIRTY, 0, f"c2_frm {word(0)}"),
    ("csrr a0, fcsr", DIRTY, 0x21, f"x10 {word(0x21)}"),
    ("csrsi fflags, 4", INITIAL, 1, f"c1_fflags {word(5)} c768_mstatus {status(SD | FS(3))}"),
    ("fmv.d.x fa0, a1", INITIAL, 0, f"f10 {word(0xE3)} c768_mstatus {status(SD | FS(3))}"),
    ("fmv.d.x fa0, a1", DIRTY, 0, f"f10 {word(0xE3)}"),
    ("fdiv.s fa0, fa1, fa2", DIRTY, 0, f"c1_fflags {word(1)} f10 {word(THIRD_F)}"),
    ("fdiv.s fa0, fa1, fa2", DIRTY, 1, f"c1_fflags {word(1)} f10 {word(THIRD_F)}"),
    ("fdiv.s fa0, fa1, fa2", DIRTY, 8, f"c1_fflags {word(9)} f10 {word(THIRD_F)}"),
    ("fdiv.s fa0, fa1, fa1", DIRTY, 1, f"f10 {word(ONE_F)}"),
    ("fcvt.w.s a0, fa3", DIRTY, 1, f"c1_fflags {word(1)} x10 {word(0)}"),
    ("feq.s a0, fa1, fa2", DIRTY, 1, f"x10 {word(0)}"),
    ("fclass.s a0, fa1", DIRTY, 1, f"x10 {word(1 << 6)}"),
    ("flw fa0, (a2)", DIRTY, 0, f"f10 {word(0xFFFF_FFFF << 32)} {WHERE}"),
    ("fsw fa1, (a2)", DIRTY, 0, f"{WHERE} 0x3f800000"),
]


@pytest.mark.parametrize(("line", "fs", "fcsr", "expected"), FLOATING)
def test_floating_point(tmp_path: Path, line: str, fs: int, fcsr: int, expected: str) -> None:
    bench = Bench()
    bench.set(mstatus=FS(3), fcsr=fcsr)
    bench.set(mstatus=FS(fs))
    for number, value in ((11, ONE_F), (12, THREE_F), (13, THIRD_F)):
        bench.hart.set_f(number, value)
    bench.regs(a1=0xE3, a2=DATA)
    assert logged(bench, tmp_path, line) == [expected]


def test_registers_of_a_hart_with_singles_only(tmp_path: Path) -> None:
    bench = Bench(without=["d", "zfa", "zfh", "zcb"])
    bench.set(mstatus=FS(3))
    bench.regs(a1=0x3F80_0000)
    assert logged(bench, tmp_path, "fmv.w.x fa0, a1") == ["f10 0x3f800000"]


CSRS = [
    # line, mode, CSRs before, what is written
    ("csrw mscratch, a1", M, {}, f"c832_mscratch {word(0x2)}"),
    ("csrr a0, mscratch", M, {"mscratch": 5}, f"x10 {word(5)}"),
    ("csrrs a0, mscratch, x0", M, {"mscratch": 5}, f"x10 {word(5)}"),
    ("csrrs a0, mscratch, a2", M, {"mscratch": 5}, f"x10 {word(5)} c832_mscratch {word(5)}"),
    ("csrs sstatus, a1", M, {}, f"c768_mstatus {status(0x2)}"),
    ("csrs sstatus, a1", HS, {}, f"c768_mstatus {status(0x2)}"),
    ("csrs sstatus, a1", VS, {}, f"c512_vsstatus {word(2 << 32 | 0x2)}"),
    ("csrs vsstatus, a1", HS, {}, f"c512_vsstatus {word(2 << 32 | 0x2)}"),
    ("csrw sie, a1", M, {"mideleg": 2}, f"c260_sie {word(2)} c772_mie {word(2)}"),
    ("csrw mie, a1", M, {}, f"c772_mie {word(2)}"),
    ("csrwi hie, 4", M, {}, f"c772_mie {word(4)}"),
    ("csrw sie, a1", VS, {"hideleg": ONES}, f"c772_mie {word(4)}"),
    ("csrw sip, a1", M, {"mideleg": 2}, f"c777_mvip {word(0)} c836_mip {word(2)}"),
    ("csrw sip, x0", M, {"mideleg": 2, "mip": 2}, f"c777_mvip {word(2)} c836_mip {word(0)}"),
    ("csrw mip, a3", M, {}, f"c777_mvip {word(0x200)} c836_mip {word(0x222)}"),
    ("csrw mip, x0", M, {"mip": 0x222}, f"c777_mvip {word(0x22)} c836_mip {word(0)}"),
    ("csrwi hip, 4", M, {}, f"c836_mip {word(4)}"),
    ("csrwi hvip, 4", M, {}, f"c836_mip {word(4)} c1605_hvip {word(4)}"),
    ("csrw hvip, a5", M, {}, f"c836_mip {word(4)} c1605_hvip {word(0x444)}"),
    ("csrw hvip, x0", M, {"hvip": 0x444}, f"c836_mip {word(0x440)} c1605_hvip {word(0)}"),
    ("csrw sip, a1", VS, {"hideleg": ONES}, f"c836_mip {word(4)}"),
    ("csrw sscratch, a1", VS, {}, f"c576_vsscratch {word(2)}"),
    ("csrw satp, a1", HS, {}, f"c384_satp {word(2)}"),
    ("csrw satp, a4", HS, {"satp": 5}, f"c384_satp {word(5)}"),
    ("csrw satp, a1", VS, {}, f"c640_vsatp {word(2)}"),
    ("csrw stimecmp, a1", HS, {"mcounteren": ONES, "menvcfg": STCE(1)}, f"c333_stimecmp {word(2)}"),
    ("csrw medeleg, a1", M, {}, f"c770_medeleg {word(2)}"),
    ("csrw misa, x0", M, {}, None),
    ("csrw pmpaddr1, a1", M, {}, f"c945_pmpaddr1 {word(2)}"),
    ("csrw pmpaddr1, a1", M, {"pmpcfg0": 0x9F1F}, ""),
    ("csrw pmpaddr1, a1", M, {"pmpcfg0": 0x8F_0000}, ""),
    ("csrw pmpaddr20, a1", M, {}, f"c964_pmpaddr20 {word(0)}"),
    ("csrw pmpcfg2, x0", M, {}, f"c930_pmpcfg2 {word(0)}"),
    ("csrw pmpcfg4, a1", M, {}, ""),
    ("csrw mhpmcounter3, x0", M, {}, ""),
    ("csrw mhpmevent3, x0", M, {}, f"c803_mhpmevent3 {word(0)}"),
    ("csrw hgeie, x0", M, {}, ""),
    ("csrw minstret, a1", M, {}, f"c2818_minstret {word(2)}"),
]


@pytest.mark.parametrize(("line", "mode", "csrs", "expected"), CSRS)
def test_csrs(
    tmp_path: Path, line: str, mode: Mode, csrs: dict[str, int], expected: str | None
) -> None:
    bench = Bench()
    bench.set(stimecmp=ONES, vstimecmp=ONES, **csrs)
    bench.regs(a1=2, a2=0, a3=0x222, a4=7 << 60, a5=0x444)
    (found,) = logged(bench, tmp_path, line, mode=mode)
    if expected is None:
        expected = f"c769_misa {word(bench.get('misa'))}"
    assert found == expected


RETURNS = [
    # line, mode, CSRs before, what is written
    ("mret", M, {"mstatus": MPP(3) | 0x80}, f"c768_mstatus {status(0x88)}"),
    ("mret", M, {"mstatus": MPP(1) | 1 << 39}, f"c768_mstatus {status(0x80)}"),
    (
        "mret",
        M,
        {"mstatus": 1 << 39},
        f"c512_vsstatus {word(2 << 32)} c768_mstatus {status(0x80)}",
    ),
    ("sret", HS, {"mstatus": 0x120}, f"c768_mstatus {status(0x22)} c1536_hstatus {word(2 << 32)}"),
    (
        "sret",
        HS,
        {"hstatus": H_SPV(1), "mstatus": 0x100},
        f"c768_mstatus {status(0x20)} c1536_hstatus {word(2 << 32)}",
    ),
    (
        "sret",
        HS,
        {"hstatus": H_SPV(1)},
        f"c512_vsstatus {word(2 << 32)} c768_mstatus {status(0x20)} c1536_hstatus {word(2 << 32)}",
    ),
    ("sret", VS, {"vsstatus": 0x100}, f"c512_vsstatus {word(2 << 32 | 0x20)}"),
]


@pytest.mark.parametrize(("line", "mode", "csrs", "expected"), RETURNS)
def test_returns(
    tmp_path: Path, line: str, mode: Mode, csrs: dict[str, int], expected: str
) -> None:
    bench = Bench()
    bench.set(**csrs)
    assert logged(bench, tmp_path, line, mode=mode) == [expected]


MEMORY = [
    # lines, what each writes
    (["lr.w a0, (a2)"], [f"x10 {word(0x44332211)} {WHERE}"]),
    (
        ["lr.d a0, (a2)", "sc.d a0, a1, (a2)"],
        [
            f"x10 {word(0x88776655_44332211)} {WHERE}",
            f"x10 {word(0)} {WHERE} 0x0000000000000002",
        ],
    ),
    (["sc.w a0, a1, (a2)"], [f"x10 {word(1)}"]),
    (["amoadd.w a0, a1, (a2)"], [f"x10 {word(0x44332211)} {WHERE} {WHERE} 0x44332213"]),
    (["amoswap.b a0, a1, (a2)"], [f"x10 {word(0x11)} {WHERE} {WHERE} 0x02"]),
    (["amocas.w a1, a1, (a2)"], [f"x11 {word(0x44332211)} {WHERE}"]),
    (["amocas.h a5, a1, (a2)"], [f"x15 {word(0x2211)} {WHERE} {WHERE} 0x0002"]),
    (
        ["amocas.q x0, a6, (a3)"],
        [f"{NEXT} {NEXT} {word(6)} mem 0x{DATA + 72:016x} {word(7)}"],
    ),
    (["lb a0, 7(a2)"], [f"x10 {word(-0x78)} mem 0x{DATA + 7:016x}"]),
    (["ld a0, (a4)"], [f"x10 {word(0x44332211 << 32)} mem 0x{DATA - 4:016x}"]),
    (["sd a1, (a4)"], [f"mem 0x{DATA - 4:016x} {word(2)}"]),
    (["hlv.h a0, (a2)"], [f"x10 {word(0x2211)} {WHERE}"]),
    (["hsv.h a1, (a2)"], [f"{WHERE} 0x0002"]),
    (["cbo.zero (a2)"], [" ".join(f"mem 0x{DATA + n:016x} 0x00" for n in range(64))]),
    (["cbo.flush (a2)"], [""]),
]


@pytest.mark.parametrize(("lines", "expected"), MEMORY, ids=lambda value: value[0][:20])
def test_memory(tmp_path: Path, lines: list[str], expected: list[str]) -> None:
    bench = Bench()
    bench.poke(DATA, 0x88776655_44332211)
    bench.regs(a1=2, a2=DATA, a3=DATA + 64, a4=DATA - 4, a5=0x2211, a6=6, a7=7)
    assert logged(bench, tmp_path, *lines) == expected


def test_an_instruction_that_traps_has_no_line(tmp_path: Path) -> None:
    bench = Bench(without=set(EXTENSIONS) - {"i", "zicsr"})
    bench.load("addi a0, x0, 1; ecall")
    bench.hart.pc = CODE
    bench.system.log_commits(str(tmp_path / "log"))
    bench.system.run(2)
    bench.system.log_commits(None)
    line, *handler = (tmp_path / "log").read_text().splitlines()
    assert line == f"core   0: 3 0x{CODE:016x} (0x00100513) x10 0x0000000000000001"
    assert bench.hart.traps == 1
    assert all("(0x0000006f)" in text for text in handler)


def test_what_is_logged_computes_the_same(tmp_path: Path) -> None:
    """With flags raised again and again, and FS clean before some of them."""
    source = """
        li   t0, 0x2000
        more:
        csrs mstatus, t0
        fdiv.s fa0, fa1, fa2
        fcvt.w.s a0, fa3
        csrw fflags, x0
        li   t1, 0x6000
        csrc mstatus, t1
        csrs mstatus, t0
        fcvt.w.s a0, fa3
        csrr a1, mstatus
        add  s1, s1, a1
        csrr a1, fcsr
        add  s1, s1, a1
        addi s0, s0, -1
        bnez s0, more
        end: j end
    """
    states = []
    for log in (None, str(tmp_path / "log")):
        bench = Bench()
        for number, value in ((11, ONE_F), (12, THREE_F), (13, THIRD_F)):
            bench.hart.set_f(number, value)
        bench.load(source)
        bench.regs(s0=20)
        bench.hart.pc = CODE
        bench.system.log_commits(log)
        bench.system.run(400)
        bench.system.log_commits(None)
        states.append(bench.hart.registers())
    assert states[0] == states[1]
