"""What translated code knows of CSRs that only store, against the CSR instructions."""

from __future__ import annotations

import random

import pytest

from privileged.bench import Bench, open_bench
from privileged.manual import ADDRESS, HS, MODES, VS, VU, Cause, M, Mode, U, read_only

WORDS = 20
#: what a trap handler, a scheduler and a firmware use: if these are not plain, nothing is gained
EXPECTED = (
    *("sscratch", "sepc", "scause", "stval", "stvec", "mscratch", "mepc", "mcause", "mtval"),
    *("mhartid", "htval", "vsscratch", "vsepc", "scounteren", "hedeleg", "medeleg"),
)
#: a write of these has consequences, or their value is not a stored word
NEVER = (
    *("sstatus", "mstatus", "satp", "hgatp", "sie", "mip", "hvip", "hideleg", "stimecmp"),
    *("time", "cycle", "fcsr", "pmpcfg0", "pmpaddr0", "menvcfg", "mcountinhibit", "mhpmevent3"),
)


def plain(bench: Bench, mode: Mode) -> list[str]:
    """The CSRs that are plain, from this mode."""
    bench.enter(mode)
    return [name for name in ADDRESS if bench.hart.plain_csr(ADDRESS[name]) is not None]


def by_instruction(bench: Bench, name: str, mode: Mode, word: int) -> tuple[bool, int]:
    """Write and read back; whether the write trapped."""
    trap = bench.step(f"csrrw x0, {ADDRESS[name]}, a1", mode, a1=word)
    assert bench.step(f"csrrs a0, {ADDRESS[name]}, x0", mode) is None
    return trap is None, bench.x("a0")


def by_words(bench: Bench, name: str, mode: Mode, word: int) -> tuple[bool, int | None]:
    bench.enter(mode)
    written = bench.hart.set_plain_csr(ADDRESS[name], word)
    return written, bench.hart.plain_csr(ADDRESS[name])


def other_words(bench: Bench) -> dict[str, object]:
    """All CSRs but the counters, which see that the one did not step."""
    found = bench.hart.registers()["csr"]
    for counter in ("mcycle", "minstret", "cycle", "instret", "time"):
        found.pop(counter, None)
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize("without", [(), ("c",), ("h",)], ids=lambda names: "no " + "".join(names))
@pytest.mark.parametrize("mode", [M, HS, VS], ids=str)
def test_plain_accesses_are_the_instructions(mode: Mode, without: tuple[str, ...]) -> None:
    """For every plain CSR, random words: the same word is written, and nothing else changes."""
    if without == ("h",) and mode.virtual:
        pytest.skip("no guests without H")
    dice = random.Random(f"{mode} {without}")
    make = open_bench if not without else lambda: Bench(without)
    for name in plain(make(), mode):
        one, two = make(), make()
        for word in (dice.getrandbits(64) for _ in range(WORDS)):
            got, expected = by_words(one, name, mode, word), by_instruction(two, name, mode, word)
            assert got == expected, f"{name} = {word:#x}"
            if not read_only(ADDRESS[name]):  # the write has trapped, which is seen elsewhere
                assert other_words(one) == other_words(two), f"{name} = {word:#x}"


def test_which_csrs_are_plain() -> None:
    bench = open_bench()
    found = set(plain(bench, M))
    assert found >= set(EXPECTED)
    assert not found & set(NEVER)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_who_may(mode: Mode) -> None:
    """From each mode just those are accessible that an instruction can read; the rest traps."""
    bench = open_bench()
    every, here = set(plain(bench, M)), set(plain(bench, mode))
    for name in every:
        trap = bench.step(f"csrrs a0, {ADDRESS[name]}, x0", mode)
        assert (trap is None) == (name in here), name
        assert trap is None or trap.cause in (Cause.ILLEGAL, Cause.VIRTUAL)


def test_users_have_none() -> None:
    bench = open_bench()
    assert plain(bench, U) == plain(bench, VU) == []
