"""The walk's own stores, updates of A and D, are stores like others.

They break reservations, drop code that was made of the entry's bytes, and are seen by store
watches. Supervisor chapter, "Virtual Address Translation Process" (Svadu); hypervisor chapter,
"Two-Stage Address Translation".
"""

from __future__ import annotations

from typing import Any

import pytest

from privileged.bench import CODE, DATA, Bench
from privileged.manual import ADUE, HS, MPP, MPRV, MPV, PTE_A, PTE_D, S_ALL, U_ALL, VS, M, Mode
from privileged.pages import Table

ENGINES = [{}, {"accel": "jit", "hot": 1}]
PAGE = DATA + 0x1000
STAGES = ("satp", "vsatp", "hgatp")
WHOLE = {"mstatus": MPRV.mask | MPP.mask | MPV.mask}


def paged(stage: str, flags: int, engine: dict[str, Any] | None = None) -> tuple[Bench, int, Mode]:
    """A bench whose page has an entry without these flags; the entry's address; who uses it."""
    bench = Bench(engine=engine)
    table = Table(bench, gstage=stage == "hgatp")
    whole = U_ALL if stage == "hgatp" else S_ALL
    slot = table.map(PAGE, PAGE, whole & ~flags)
    bench.set(menvcfg=ADUE(1), henvcfg=ADUE(1), **{stage: table.atp()})
    return bench, slot, HS if stage == "satp" else VS


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("access", "missing", "sets"),
    [
        ("ld a0, (a1)", PTE_A | PTE_D, PTE_A),
        ("sd a0, (a1)", PTE_A | PTE_D, PTE_A | PTE_D),
        ("sd a0, (a1)", PTE_D, PTE_D),
        ("sd a0, (a1)", 0, 0),
    ],
)
@pytest.mark.parametrize("own", [False, True], ids=["another hart's", "its own"])
def test_an_update_breaks_reservations(
    stage: str, access: str, missing: int, sets: int, own: bool
) -> None:
    """SC would write back the entry as it was before."""
    bench, slot, mode = paged(stage, missing)
    before = bench.peek(slot)
    hart = bench.system.add_hart(1, bench.extensions, CODE)
    hart.set_csr(0x3B0, (1 << 64) - 1)
    hart.set_csr(0x3A0, 0x1F)
    holder = bench.hart if own else hart
    bench.load("lr.d a2, (a3); sc.d a4, a2, (a3)", CODE + 0x100)
    holder.pc = CODE + 0x100
    holder.set_x(13, slot)
    holder.step(1)
    bench.look_as(mode)
    assert bench.step(access, M, a1=PAGE) is None
    bench.look_as(None)
    assert bench.peek(slot) == before | sets
    holder.pc = CODE + 0x104
    holder.step(1)
    assert (holder.x(14) != 0) == bool(sets)
    assert bench.peek(slot) == before | sets


@pytest.mark.parametrize("stage", STAGES)
def test_an_update_is_seen_by_watches(stage: str) -> None:
    bench, slot, mode = paged(stage, PTE_A | PTE_D)
    seen: list[tuple[int, int, int]] = []
    bench.system.watch_store(slot, 8, lambda *store: seen.append(store))
    bench.look_as(mode)
    assert bench.step("sd a0, (a1)", M, a1=PAGE) is None
    assert seen == [(slot, 8, bench.peek(slot))]
    assert bench.step("sd a0, (a1)", M, a1=PAGE) is None
    assert len(seen) == 1


@pytest.mark.parametrize("engine", ENGINES, ids=["interp", "jit"])
@pytest.mark.parametrize("access", ["sd x0, (a1)", "amoadd.d x0, x0, (a1)", "cbo.zero (a1)"])
def test_an_update_drops_code(engine: dict[str, Any], access: str) -> None:
    """An entry that is a jump: with D set it is one that links."""
    bench = Bench(engine=engine)
    table = Table(bench)
    target = 0x8010_0000  # PPN[1:0] is 0: the rest of rd
    slot = table.map(target, target, 0x6F)  # G, A, X, W, R, V: jal x0
    entry = bench.peek(slot)
    assert entry & 0xFFF == 0x6F
    bench.load("jalr x0, 0(s1)", slot + jump_offset(entry))
    bench.set(menvcfg=ADUE(1), satp=table.atp())
    bench.load(
        f"""
            li   s2, 8
        again:
            li   ra, 0
            auipc s1, 0
            addi s1, s1, 12
            jalr x0, 0(s0)
            addi s2, s2, -1
            bnez s2, again
            bnez ra, end
            csrs mstatus, a2
            {access}
            csrc mstatus, a2
            auipc s1, 0
            addi s1, s1, 12
            jalr x0, 0(s0)
        end: j end
        """
    )
    bench.regs(s0=slot, a1=target, a2=MPRV(1) | MPP(1))
    bench.enter(M, CODE)
    bench.set(mstatus=MPP(1))
    bench.run()
    assert bench.peek(slot) == entry | PTE_D
    assert bench.x("s2") == 0 and bench.x("ra") == slot + 4


def jump_offset(bits: int) -> int:
    """Where a JAL leads ("Unconditional Jumps")."""
    assert not bits >> 31 & 1
    return (bits >> 21 & 0x3FF) << 1 | (bits >> 20 & 1) << 11 | (bits >> 12 & 0xFF) << 12
