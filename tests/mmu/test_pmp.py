"""Physical memory protection: matching, priority, permissions, locks, and page tables.

Privileged spec, "Physical Memory Protection".  16 entries of 4-byte granularity.
"""

from __future__ import annotations

import itertools

import pytest

from mmu.guest import GPA, GVA, Guest
from mmu.rules import ACCESSES, AMO, FETCH, HLVX, LOAD, LR, STORE, Access
from privileged.bench import CODE, DATA, RAM, Bench
from privileged.manual import (
    ADUE,
    HS,
    MODES,
    MPP,
    MPRV,
    MPV,
    ONES,
    VS,
    VU,
    M,
    Mode,
    U,
    flags,
)
from privileged.pages import Table

R, W, X, OFF, TOR, NA4, NAPOT, L = 1, 2, 4, 0, 8, 16, 24, 128
RWX = R | W | X
NOP = 0x0000_0013
LAST = 15  # the entry of lowest priority, which these tests open for the code


def napot(base: int, size: int) -> int:
    """pmpaddr of a naturally aligned power-of-two region."""
    return base >> 2 | (size >> 3) - 1


class Protected:
    """A bench whose PMP has the given entries, and a last one that permits everything else."""

    def __init__(self, *entries: tuple[int, int], open_rest: bool = True):
        self.bench = Bench()
        self.configure(*entries, open_rest=open_rest)
        for n in range(0, 64, 4):
            self.bench.poke(DATA + n, NOP, 4)

    def configure(self, *entries: tuple[int, int], open_rest: bool = True) -> None:
        """entries: (pmpaddr, pmpcfg) from entry 0 on."""
        configs = bytearray(16)
        for n, (address, config) in enumerate(entries):
            self.bench.set(**{f"pmpaddr{n}": address})
            configs[n] = config
        if open_rest and len(entries) <= LAST:
            self.bench.set(**{f"pmpaddr{LAST}": ONES})
            configs[LAST] = NAPOT | RWX
        for n in (0, 1):
            self.bench.set(
                **{f"pmpcfg{2 * n}": int.from_bytes(configs[8 * n : 8 * n + 8], "little")}
            )
        self.bench.fence()

    def allowed(self, access: Access, address: int = DATA, mode: Mode = HS) -> bool:
        if access is FETCH:
            trap = self.bench.step(None, mode, pc=address)
        else:
            trap = self.bench.step(access.line, mode, a1=address, a2=NOP)
        if trap is not None:
            assert (trap.cause, trap.tval) == (access.fault, address)
        return trap is None

    def can(self, address: int, mode: Mode = HS, line: str = "lbu a0, (a1)") -> bool:
        trap = self.bench.step(line, mode, a1=address)
        assert trap is None or (trap.cause in (5, 7) and trap.tval == address)
        return trap is None


def needs(access: Access) -> int:
    return {LOAD: R, LR: R, STORE: W, AMO: W, FETCH: X}[access]


@pytest.mark.parametrize("access", ACCESSES, ids=str)
@pytest.mark.parametrize("permissions", [0, R, R | W, X, R | X, RWX])
@pytest.mark.parametrize("lock", [0, L])
def test_permissions(access: Access, permissions: int, lock: int) -> None:
    """R, W and X for S and U; for M too where the entry is locked; causes 1, 5 and 7."""
    bed = Protected((napot(DATA, 64), NAPOT | permissions | lock))
    for mode in MODES:
        held = mode != M or lock
        expected = not held or bool(permissions & needs(access))
        assert bed.allowed(access, DATA, mode) == expected, mode


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_no_entry_matches(mode: Mode) -> None:
    """M-mode succeeds; S and U fail, as PMP entries are implemented (also when all are OFF)."""
    bed = Protected(open_rest=False)
    trap = bed.bench.step("nop", mode)
    assert (trap is None) == (mode == M)
    assert trap is None or (trap.cause, trap.tval) == (1, CODE)


@pytest.mark.parametrize("size", [1 << n for n in range(3, 13)])
def test_napot_sizes(size: int) -> None:
    """NAPOT from 8 bytes on: the region's first and last byte match, their neighbours do not."""
    base = DATA + 0x4000
    bed = Protected((napot(base, size), NAPOT))
    assert [bed.can(base + n) for n in (-1, 0, size // 2, size - 1, size)] == [
        True,
        False,
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("pmpaddr", "inside", "outside"),
    [
        (napot(0, 1 << 32), [RAM], []),
        ((1 << 54) - 1, [RAM], []),  # the whole of the address space
        ((1 << 53) - 1, [RAM], []),
        (napot(RAM, 8 << 20), [RAM, DATA], [RAM + (8 << 20)]),
    ],
)
def test_large_napot(pmpaddr: int, inside: list[int], outside: list[int]) -> None:
    """A region that also covers the code would stop the fetch, so M-mode looks with MPRV."""
    bed = Protected((pmpaddr, NAPOT))
    bed.bench.look_as(HS)
    for address in inside:
        assert not bed.can(address, M)
    for address in outside:
        assert bed.can(address, M)


def test_na4() -> None:
    """A naturally aligned four-byte region."""
    bed = Protected((DATA + 8 >> 2, NA4))
    assert [bed.can(DATA + n) for n in (7, 8, 11, 12)] == [True, False, False, True]


@pytest.mark.parametrize(
    ("low", "high", "blocked"),
    [
        (DATA + 8, DATA + 20, range(8, 20)),
        (DATA + 8, DATA + 12, range(8, 12)),
        (DATA + 8, DATA + 8, range(0)),  # empty
        (DATA + 20, DATA + 8, range(0)),  # bottom above top matches nothing
    ],
)
def test_tor(low: int, high: int, blocked: range) -> None:
    """pmpaddr(i-1) <= y < pmpaddr(i), irrespective of the configuration of entry i-1."""
    for previous in (OFF, OFF | RWX):
        bed = Protected((low >> 2, previous), (high >> 2, TOR))
        assert [n for n in range(32) if not bed.can(DATA + n)] == list(blocked)


def test_tor_of_entry_0_begins_at_zero() -> None:
    bed = Protected((DATA + 8 >> 2, TOR))
    bed.bench.look_as(HS)
    assert [bed.can(address, M) for address in (RAM, DATA + 7, DATA + 8)] == [False, False, True]


@pytest.mark.parametrize("entry", range(16))
@pytest.mark.parametrize("kind", [NA4, NAPOT, TOR])
def test_every_entry_works(entry: int, kind: int) -> None:
    """Each of the 16 entries denies its own word, whatever lies in front of it."""
    bed = Protected(*[(0, OFF)] * (entry - 1 if entry else 0), open_rest=False)
    entries = [(0, OFF)] * entry
    if kind == TOR:
        if entry == 0:
            entries = [(DATA + 8 >> 2, TOR)]
        else:
            entries = [*entries[:-1], (DATA + 4 >> 2, OFF), (DATA + 8 >> 2, TOR)]
    else:
        entries.append((DATA + 4 >> 2 if kind == NA4 else napot(DATA, 8), kind))
    bed.configure(*entries, open_rest=entry < LAST)
    bed.bench.look_as(HS)
    assert not bed.can(DATA + 4, M)
    assert bed.can(DATA + 8, M) == (entry < LAST)


@pytest.mark.parametrize(
    ("first", "second", "allowed"),
    [
        (RWX, 0, True),
        (0, RWX, False),
        (R, RWX, True),
        (W | R, 0, True),
        (X, RWX, False),
    ],
)
def test_priority(first: int, second: int, allowed: bool) -> None:
    """The lowest-numbered entry that matches any byte decides alone."""
    bed = Protected((napot(DATA, 8), NAPOT | first), (napot(DATA, 64), NAPOT | second))
    assert bed.can(DATA) == allowed


@pytest.mark.parametrize("mode", [M, HS, U, VS, VU], ids=str)
@pytest.mark.parametrize(
    "line", ["ld a0, (a1)", "sd a0, (a1)", "lr.d a0, (a1)", "amoadd.d a0, a0, (a1)"]
)
@pytest.mark.parametrize("word", [0, 4])
@pytest.mark.parametrize("permissions", [0, RWX])
def test_partial_match_fails(mode: Mode, line: str, word: int, permissions: int) -> None:
    """The matching entry must match all bytes, or the operation fails, whatever L, R, W, X."""
    bed = Protected((DATA + word >> 2, NA4 | permissions))
    trap = bed.bench.step(line, mode, a1=DATA)
    assert trap is not None
    assert trap.cause == (5 if line.startswith("l") else 7)
    assert trap.tval in (DATA, DATA + word)


def test_partial_match_of_a_lower_priority_entry() -> None:
    """A full match in front of it decides; the partial one is not looked at."""
    bed = Protected((napot(DATA, 8), NAPOT | RWX), (DATA >> 2, NA4))
    assert bed.bench.step("ld a0, (a1)", HS, a1=DATA) is None


@pytest.mark.parametrize("offset", [1, 2, 3])
@pytest.mark.parametrize(("line", "cause"), [("lw a0, (a1)", 5), ("sw a0, (a1)", 7)])
def test_misaligned_access_into_a_denied_word(offset: int, line: str, cause: int) -> None:
    """Each memory operation is checked; tval is the portion (or the whole) that failed."""
    bed = Protected((DATA + 8 >> 2, NA4))
    trap = bed.bench.step(line, HS, a1=DATA + 4 + offset)
    assert trap is not None
    assert trap.cause == cause
    assert trap.tval in (DATA + 4 + offset, DATA + 8)


@pytest.mark.parametrize(("blocked", "tval"), [(0, 2), (4, 4)])
def test_instruction_across_entries(blocked: int, tval: int) -> None:
    """A 32-bit instruction at a halfword: either word may be the one without permission."""
    bed = Protected((DATA + blocked >> 2, NA4 | R))
    bed.bench.poke(DATA + 2, NOP, 4)
    trap = bed.bench.step(None, HS, pc=DATA + 2)
    assert trap is not None
    assert (trap.cause, trap.epc) == (1, DATA + 2)
    assert trap.tval in (DATA + tval, DATA + 2)


@pytest.mark.parametrize(("mpp", "allowed"), [(0, False), (1, False), (3, True)])
@pytest.mark.parametrize("mpv", [0, 1])
def test_mprv(mpp: int, allowed: bool, mpv: int) -> None:
    """PMP applies to data accesses of M-mode with MPRV set and MPP of S or U; not to fetches."""
    bed = Protected((napot(RAM, 16 << 20), NAPOT))
    bed.bench.set(mstatus=MPRV(1) | MPP(mpp) | MPV(mpv))
    assert bed.can(DATA, M) == allowed


# Writing the CSRs


@pytest.mark.parametrize("entry", range(16))
def test_locked_entry_cannot_be_written(entry: int) -> None:
    """Writes to pmpcfg and pmpaddr of a locked entry, OFF or not, are ignored until reset."""
    bench = Bench()
    config, shift = f"pmpcfg{entry // 8 * 2}", entry % 8 * 8
    bench.set(pmpcfg0=0, **{f"pmpaddr{entry}": 0x1234})
    bench.set(**{config: (L | R) << shift})
    bench.set(**{config: ONES >> 1 & 0x0F0F_0F0F_0F0F_0F0F, f"pmpaddr{entry}": 0x77})
    assert bench.get(config) >> shift & 0xFF == L | R
    assert bench.get(f"pmpaddr{entry}") == 0x1234
    bench.system.reset()
    assert bench.get(config) >> shift & (L | NAPOT) == 0
    bench.set(**{f"pmpaddr{entry}": 0x77})
    assert bench.get(f"pmpaddr{entry}") == 0x77


@pytest.mark.parametrize("entry", range(1, 16))
@pytest.mark.parametrize("kind", [OFF, TOR, NA4, NAPOT])
def test_locked_tor_locks_its_bottom(entry: int, kind: int) -> None:
    """If entry i is locked and TOR, writes to pmpaddr(i-1) are ignored as well."""
    bench = Bench()
    bench.set(pmpcfg0=0, **{f"pmpaddr{entry - 1}": 0x1000, f"pmpaddr{entry}": 0x2000})
    bench.set(**{f"pmpcfg{entry // 8 * 2}": (L | kind) << entry % 8 * 8})
    bench.set(**{f"pmpaddr{entry - 1}": 0x55})
    assert bench.get(f"pmpaddr{entry - 1}") == (0x1000 if kind == TOR else 0x55)


def test_configuration_is_warl() -> None:
    """All 256 values: bits 6:5 read zero, R=0 with W=1 is reserved, everything else is held."""
    for value in range(256):
        bench = Bench()
        bench.set(pmpcfg0=value)
        got = bench.get("pmpcfg0")
        assert got & 0x60 == 0
        assert got & 3 != W
        if value & 3 != W:
            assert got == value & 0x9F


def test_entries_of_one_csr_are_independent() -> None:
    """A locked byte of pmpcfg keeps its value while the others are written."""
    bench = Bench()
    bench.set(pmpcfg0=0)
    bench.set(pmpcfg0=(L | R) << 16)
    bench.set(pmpcfg0=0x1F1F_1F1F_1F1F_1F1F)
    assert bench.get("pmpcfg0") == 0x1F1F_1F1F_1F81_1F1F


@pytest.mark.parametrize("name", ["pmpcfg0", "pmpcfg2", "pmpaddr0", "pmpaddr15", "pmpaddr63"])
def test_only_machine_mode_writes_pmp(name: str) -> None:
    bench = Bench()
    for mode in MODES:
        assert bench.cause(f"csrrs a0, {name}, x0", mode) == (None if mode == M else 2)


def test_granularity_is_four_bytes() -> None:
    """The procedure of the manual: pmp0cfg=0, pmpaddr0=all ones; the lowest set bit is G."""
    bench = Bench()
    bench.set(pmpcfg0=0)
    bench.set(pmpaddr0=ONES)
    assert bench.get("pmpaddr0") & 1


# Page tables ("Physical Memory Protection and Paging")


@pytest.mark.parametrize("access", ACCESSES, ids=str)
@pytest.mark.parametrize("level", [0, 1, 2])
def test_page_table_reads_are_checked(access: Access, level: int) -> None:
    """A PTE that PMP does not let be read: an access fault of the original access type."""
    bed = Protected()
    table = Table(bed.bench)
    table.map(0x1000, DATA, flags("vrwxad"))
    bed.configure((napot(table.slot(0x1000, level) & ~0xFFF, 4096), NAPOT | X))
    bed.bench.set(satp=table.atp())
    if access is FETCH:
        trap = bed.bench.step(None, HS, pc=0x1000)
    else:
        bed.bench.look_as(HS)
        trap = bed.bench.step(access.line, M, a1=0x1000)
    assert trap is not None
    assert (trap.cause, trap.tval) == (access.fault, 0x1000)


@pytest.mark.parametrize(
    ("line", "bits_", "cause"),
    [
        ("lw a0, (a1)", "vrw", 5),
        ("sw a0, (a1)", "vrw", 7),
        ("sw a0, (a1)", "vrwa", 7),
        ("lw a0, (a1)", "vrwa", None),
        ("sw a0, (a1)", "vrwad", None),
    ],
)
def test_page_table_updates_are_checked(line: str, bits_: str, cause: int | None) -> None:
    """Step 9: an access fault if the store of A or D violates PMP; else W is not needed."""
    bed = Protected()
    table = Table(bed.bench)
    slot = table.map(0x1000, DATA, flags(bits_))
    bed.configure((napot(slot & ~0xFFF, 4096), NAPOT | R))
    bed.bench.set(satp=table.atp(), menvcfg=ADUE(1))
    bed.bench.look_as(HS)
    trap = bed.bench.step(line, M, a1=0x1000)
    assert (trap.cause if trap else None) == cause
    if cause:
        assert bed.bench.peek(slot) & 0xFF == flags(bits_)


@pytest.mark.parametrize("access", ACCESSES, ids=str)
@pytest.mark.parametrize("table", ["vs", "g"])
def test_guest_tables_are_checked(access: Access, table: str) -> None:
    """PMP applies to supervisor physical addresses, regardless of V: access faults, GVA set."""
    guest = Guest(VS)
    guest.map()
    slot = guest.vs.slot(GVA) if table == "vs" else guest.g.slot(GPA)
    guest.bench.set(pmpaddr0=napot(slot & ~0xFFF, 4096), pmpaddr1=ONES, pmpcfg0=0x1F00 | NAPOT | X)
    guest.bench.fence()
    if access is FETCH:
        trap = guest.access(access)
    else:
        guest.bench.look_as(VS)
        trap = guest.bench.step(access.line, M, a1=GVA)
    assert trap is not None
    assert (trap.cause, trap.tval, trap.tval2, trap.gva) == (access.fault, GVA, 0, True)


@pytest.mark.parametrize("access", ACCESSES, ids=str)
@pytest.mark.parametrize("permissions", [0, R, R | W, X, R | X, RWX])
def test_guest_data_is_checked(access: Access, permissions: int) -> None:
    guest = Guest(VU)
    guest.map()
    guest.bench.set(pmpaddr0=napot(DATA, 4096), pmpaddr1=ONES, pmpcfg0=0x1F00 | NAPOT | permissions)
    guest.bench.fence()
    trap = guest.access(access)
    if permissions & needs(access):
        assert trap is None
    else:
        assert trap is not None
        assert (trap.cause, trap.tval, trap.tval2, trap.gva) == (access.fault, GVA, 0, True)


@pytest.mark.parametrize("permissions", [0, R, R | W, X, R | X, RWX])
def test_hlvx_needs_read_and_execute(permissions: int) -> None:
    """HLVX: physical memory must grant both execute and read; a load access fault if not."""
    guest = Guest(VS, hstatus=0x100)
    guest.map()
    guest.bench.set(pmpaddr0=napot(DATA, 4096), pmpaddr1=ONES, pmpcfg0=0x1F00 | NAPOT | permissions)
    guest.bench.fence()
    trap = guest.access(HLVX)
    if permissions & (R | X) == R | X:
        assert trap is None
    else:
        assert trap is not None and (trap.cause, trap.tval) == (5, GVA)


@pytest.mark.parametrize(
    ("line", "permissions", "allowed"),
    [
        *[
            (f"cbo.{op} (a1)", p, bool(p & (R | W)))
            for op in ("clean", "flush", "inval")
            for p in (0, R, R | W)
        ],
        *[("cbo.zero (a1)", p, bool(p & W)) for p in (0, R, R | W)],
    ],
)
def test_cache_block_operations(line: str, permissions: int, allowed: bool) -> None:
    """Management where a load or store is permitted, zeroing as a store; store access faults."""
    bed = Protected((napot(DATA, 64), NAPOT | permissions))
    bed.bench.set(menvcfg=ONES)
    trap = bed.bench.step(line, HS, a1=DATA + 5)
    assert (trap is None) == allowed
    assert trap is None or (trap.cause, trap.tval) == (7, DATA + 5)


def test_locked_entry_holds_for_machine_fetches() -> None:
    """L applies the permissions to M-mode's own code."""
    bed = Protected((napot(DATA, 64), NAPOT | L | R | W))
    assert not bed.allowed(FETCH, DATA, M)
    assert bed.allowed(LOAD, DATA, M)
    assert bed.allowed(STORE, DATA, M)


def test_every_pair_of_entries_by_number() -> None:
    """Priority is by number alone, for every pair of entries."""
    for low, high in itertools.combinations(range(LAST), 2):
        entries = [(0, OFF)] * (high + 1)
        entries[low] = (napot(DATA, 8), NAPOT | R)
        entries[high] = (napot(DATA, 8), NAPOT)
        bed = Protected(*entries)
        assert bed.can(DATA)
        entries[low], entries[high] = entries[high], entries[low]
        bed.configure(*entries)
        assert not bed.can(DATA)
