"""What looks for mistakes in the core: caches that are lost all the time, translations checked."""

from __future__ import annotations

import pytest

from privileged.bench import CODE, DATA, Bench
from privileged.manual import HS, S_ALL
from privileged.pages import Table

LOOP = """
    li   x10, {data}
    li   x11, 20000
    more: ld x12, 0(x10)
    addi x12, x12, 3
    sd   x12, 0(x10)
    addi x11, x11, -1
    bnez x11, more
    end: j end
"""
ENGINES = [{}, {"accel": "jit", "hot": 1}]


@pytest.mark.parametrize("engine", ENGINES, ids=str)
def test_what_is_lost_is_made_again(engine: dict[str, object]) -> None:
    plain, disturbed = Bench(engine=engine), Bench(engine=engine | {"disturb": 1})
    for bench in (plain, disturbed):
        bench.load(LOOP.format(data=DATA))
        bench.hart.pc = CODE
        bench.system.run(110_000)
    assert plain.hart.registers() == disturbed.hart.registers()
    assert plain.peek(DATA) == disturbed.peek(DATA) == 60_000
    assert disturbed.system.stats()["pages_dropped"] > 20
    assert plain.system.stats()["pages_dropped"] == 0


def paged(engine: dict[str, object]) -> tuple[Bench, Table]:
    """A program that loads from a page and stores there, translated."""
    bench = Bench(engine=engine | {"check_translations": True})
    table = Table(bench)
    for page in (CODE, DATA, DATA + 0x1000):
        table.map(page, page, S_ALL)
    bench.set(satp=table.atp())
    bench.load(LOOP.format(data=DATA))
    bench.enter(HS, CODE)
    return bench, table


@pytest.mark.parametrize("engine", ENGINES, ids=str)
def test_translations_are_as_the_walk_says(engine: dict[str, object]) -> None:
    bench, _ = paged(engine)
    bench.system.run(110_000)
    assert bench.x("x11") == 0 and bench.peek(DATA) == 60_000


@pytest.mark.parametrize("engine", ENGINES, ids=str)
@pytest.mark.parametrize(
    ("page", "to", "said"),
    [
        (DATA, DATA + 0x1000, "a load of 0x80100000 is cached as 0x80100000, and walked: 0x801010"),
        (CODE, DATA, "a fetch of 0x8000.* is cached as 0x8000.*, and walked: 0x80100"),
    ],
)
def test_a_stale_translation_ends_the_run(
    engine: dict[str, object], page: int, to: int, said: str
) -> None:
    bench, table = paged(engine)
    bench.system.run(1000)
    table.map(page, to, S_ALL)  # and no fence
    with pytest.raises(RuntimeError, match=said):
        bench.system.run(10_000)


@pytest.mark.parametrize("engine", ENGINES, ids=str)
def test_an_entry_for_a_page_that_became_read_only(engine: dict[str, object]) -> None:
    bench, table = paged(engine)
    bench.system.run(1000)
    table.map(DATA, DATA, S_ALL & ~4)
    with pytest.raises(RuntimeError, match="a store of 0x80100000 .* walked: permission"):
        bench.system.run(10_000)
