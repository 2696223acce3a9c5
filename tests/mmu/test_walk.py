"""The shape of the walk: levels, superpages, canonical addresses, reserved bits, Svnapot, Svpbmt.

Supervisor chapter, "Virtual Address Translation Process", "Sv39" to "Sv57"; Svnapot; Svpbmt.
Each case runs for satp, and where it says so for both stages of V=1.
"""

from __future__ import annotations

import pytest

from privileged.bench import DATA, NOWHERE, POOL, RAM, Bench, Trap
from privileged.manual import (
    ADUE,
    HS,
    PBMTE,
    PTE_N,
    PTE_V,
    S_ALL,
    U_ALL,
    VS,
    Cause,
    M,
    flags,
    pbmt,
)
from privileged.pages import SCHEMES, SV39, SV48, Scheme, Table, page_size, pte

ONE_STAGE, VS_STAGE, G_STAGE = "satp", "vsatp", "hgatp"
STAGES = (ONE_STAGE, VS_STAGE, G_STAGE)
LEVELS = [(scheme, level) for scheme in SCHEMES for level in range(scheme.levels)]


class Stage:
    """One stage on trial: M-mode looks through it with MPRV, as S-mode or as VS-mode.

    The other stage of V=1 is Bare, so that its addresses are the same.
    """

    def __init__(self, stage: str, scheme: Scheme = SV39, without: tuple[str, ...] = ()):
        self.bench, self.stage = Bench(without=without), stage
        self.table = Table(self.bench, scheme, gstage=stage == G_STAGE)
        self.all = U_ALL if stage == G_STAGE else S_ALL
        self.bench.set(**{stage: self.table.atp()})
        self.bench.look_as(HS if stage == ONE_STAGE else VS)

    def load(self, address: int) -> Trap | None:
        return self.bench.step("lw a0, (a1)", M, a1=address)

    def fails(self, address: int) -> bool:
        """Did a load fault in this stage (with all that a fault must tell)?"""
        trap = self.load(address)
        if trap is None:
            return False
        guest = self.stage == G_STAGE
        assert trap.cause == (Cause.LOAD_GUEST_PAGE if guest else Cause.LOAD_PAGE)
        assert trap.tval == address
        assert trap.tval2 == (address >> 2 if guest else 0)
        assert trap.gva == (self.stage != ONE_STAGE)
        return True

    def value(self, address: int) -> int:
        assert self.load(address) is None
        return self.bench.x("a0") & 0xFFFF_FFFF


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(("scheme", "level"), LEVELS, ids=str)
def test_leaf_at_every_level(stage: str, scheme: Scheme, level: int) -> None:
    """A leaf may be at any level: pa takes the low bits of va, which may be anything."""
    bed = Stage(stage, scheme)
    size = page_size(level)
    base = 5 * size
    target = RAM & ~(size - 1)  # 2 GiB for the largest ones: RAM begins within the page
    bed.table.map(base, target, bed.all, level)
    for offset, number in ((RAM - target + 0x10_0000, 0x1111), (RAM - target + 0x10_0FF8, 0x2222)):
        bed.bench.poke(target + offset, number)
        if offset < size:
            assert bed.value(base + offset) == number
    if level == 0:
        bed.bench.poke(target + 0x123 * 4, 0x3333)
        assert bed.value(base + 0x123 * 4) == 0x3333
    assert bed.fails(base - 4)
    assert bed.fails(base + size)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(("scheme", "level"), [x for x in LEVELS if x[1]], ids=str)
def test_misaligned_superpage(stage: str, scheme: Scheme, level: int) -> None:
    """Step 5: any of ppn[i-1:0] set in a superpage leaf is a page fault."""
    bed = Stage(stage, scheme)
    size = page_size(level)
    for n, bit in enumerate(range(12, 12 + 9 * level)):
        bed.table.map(n * size, 1 << bit, bed.all, level)
        assert bed.fails(n * size), f"ppn bit {bit - 12}"


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_pointer_at_the_last_level(stage: str, scheme: Scheme) -> None:
    """Step 4: a pointer at level 0 is a page fault."""
    bed = Stage(stage, scheme)
    bed.bench.poke(bed.table.slot(DATA), pte(DATA, PTE_V))
    assert bed.fails(DATA)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("bits_", ["u", "a", "d", "uad"])
@pytest.mark.parametrize(("scheme", "level"), [(s, n) for s, n in LEVELS if n], ids=str)
def test_reserved_bits_of_pointers(stage: str, bits_: str, scheme: Scheme, level: int) -> None:
    """For non-leaf PTEs D, A and U are reserved: step 3 makes them a page fault."""
    bed = Stage(stage, scheme)
    bed.table.map(DATA, DATA, bed.all)
    slot = bed.table.slot(DATA, level)
    bed.bench.poke(slot, bed.bench.peek(slot) | flags(bits_))
    assert bed.fails(DATA)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("level", range(3))
def test_global_bit_of_pointers(stage: str, level: int) -> None:
    """G and RSW are not reserved anywhere; in G-stage PTEs G is ignored."""
    bed = Stage(stage)
    bed.table.map(DATA, DATA, bed.all)
    slot = bed.table.slot(DATA, level)
    bed.bench.poke(slot, bed.bench.peek(slot) | flags("g") | 0x300)
    assert not bed.fails(DATA)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("bit", range(54, 61))
@pytest.mark.parametrize("level", [0, 1])
def test_reserved_high_bits(stage: str, bit: int, level: int) -> None:
    """Bits 60-54 are reserved for future standard use: a page fault, in leaves and pointers."""
    bed = Stage(stage)
    bed.table.map(DATA, DATA, bed.all)
    slot = bed.table.slot(DATA, level)
    bed.bench.poke(slot, bed.bench.peek(slot) | 1 << bit)
    assert bed.fails(DATA)


@pytest.mark.parametrize("stage", [ONE_STAGE, VS_STAGE])
@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_canonical_addresses(stage: str, scheme: Scheme) -> None:
    """Bits 63 down to the width must all equal the top translated bit."""
    bed = Stage(stage, scheme)
    width = scheme.width
    low, high = (1 << width - 1) - 0x1000, (1 << 64) - (1 << width - 1)
    for address in (low, high, (1 << 64) - 0x1000, 0):
        bed.table.map(address, DATA, bed.all)
    bed.bench.poke(DATA, 0x77, 4)
    for address in (low, high, (1 << 64) - 0x1000, 0):
        assert bed.value(address) == 0x77
    for bit in range(width, 64):
        assert bed.fails(low ^ 1 << bit), bit
        assert bed.fails(high ^ 1 << bit), bit
    assert bed.fails(1 << width - 1)
    assert bed.fails(high - 0x1000)


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_guest_physical_width(scheme: Scheme) -> None:
    """Sv39x4 takes 41 bits (48: 50, 57: 59); any higher bit is a guest-page fault."""
    bed = Stage(G_STAGE, scheme)
    width = scheme.width + 2
    bed.bench.poke(DATA, 0x77, 4)
    for address in (0x1000, 1 << width - 1, 1 << width - 2, (1 << width) - 0x1000):
        bed.table.map(address, DATA, U_ALL)
        assert bed.value(address) == 0x77
    for bit in range(width, 64):
        assert bed.fails(0x1000 | 1 << bit), bit


# Svnapot


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("scheme", [SV39, SV48], ids=str)
def test_napot_64k(stage: str, scheme: Scheme) -> None:
    """N=1 with ppn[3:0]=1000: the low 4 bits of the ppn are those of the vpn, for 16 pages."""
    bed = Stage(stage, scheme)
    base = DATA & ~0xFFFF
    for page in range(16):
        bed.bench.poke(base + page * 0x1000, 0x100 + page, 4)
        bed.table.map(0x4_0000 + page * 0x1000, base | 0x8000, bed.all | PTE_N)
    for page in range(16):
        assert bed.value(0x4_0000 + page * 0x1000) == 0x100 + page


@pytest.mark.parametrize("stage", STAGES)
def test_napot_reserved_encodings(stage: str) -> None:
    """N=1 with any other ppn[3:0] is reserved: a page fault."""
    bed = Stage(stage)
    base = DATA & ~0xFFFF
    for low in range(16):
        bed.table.map(0x40_0000 + low * 0x1_0000, base | low << 12, bed.all | PTE_N)
        assert bed.fails(0x40_0000 + low * 0x1_0000) == (low != 8), bin(low)


@pytest.mark.parametrize("stage", STAGES)
def test_napot_only_in_leaves_of_level_0(stage: str) -> None:
    bed = Stage(stage)
    bed.table.map(0, 0x8000_0000, bed.all | PTE_N, level=2)
    assert bed.fails(DATA & 0x3FFF_FFFF)
    bed.table.map(0x4000_0000, 0x8000_0000, bed.all | PTE_N, level=1)
    assert bed.fails(0x4000_0000)
    bed.table.map(DATA, DATA, bed.all)
    slot = bed.table.slot(DATA, 1)
    bed.bench.poke(slot, bed.bench.peek(slot) | PTE_N)
    assert bed.fails(DATA)


@pytest.mark.parametrize("stage", STAGES)
def test_without_svnapot(stage: str) -> None:
    """If Svnapot is not implemented, bit 63 remains reserved."""
    bed = Stage(stage, without=("svnapot",))
    bed.table.map(0x4_8000, DATA & ~0xFFFF | 0x8000, bed.all | PTE_N)
    assert bed.fails(0x4_8000)


# Svpbmt


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("value", range(4))
@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("enabled", [True, False])
def test_pbmt(stage: str, value: int, level: int, enabled: bool) -> None:
    """PBMT 1 and 2 are memory types of leaves; 3 is reserved, so is any where PBMTE is clear."""
    bed = Stage(stage)
    # menvcfg.PBMTE is for satp and hgatp; henvcfg.PBMTE (which needs menvcfg's) for vsatp
    bed.bench.set(menvcfg=PBMTE(enabled or stage == VS_STAGE), henvcfg=PBMTE(enabled))
    bed.table.map(0x4020_0000, RAM, bed.all | pbmt(value), level)
    legal = value == 0 or (enabled and value != 3)
    assert bed.fails(0x4020_0000) == (not legal)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("value", [1, 2, 3])
def test_pbmt_of_pointers(stage: str, value: int) -> None:
    """For non-leaf PTEs bits 62-61 are reserved: a page fault."""
    bed = Stage(stage)
    bed.bench.set(menvcfg=PBMTE(1), henvcfg=PBMTE(1))
    bed.table.map(DATA, DATA, bed.all)
    slot = bed.table.slot(DATA, 1)
    bed.bench.poke(slot, bed.bench.peek(slot) | pbmt(value))
    assert bed.fails(DATA)


@pytest.mark.parametrize("stage", STAGES)
def test_without_svpbmt(stage: str) -> None:
    bed = Stage(stage, without=("svpbmt",))
    bed.table.map(DATA, DATA, bed.all | pbmt(1))
    assert bed.fails(DATA)


# Which PTEs are updated, and by which enable


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("menvcfg", [0, 1])
@pytest.mark.parametrize("henvcfg", [0, 1])
@pytest.mark.parametrize("line", ["lw a0, (a1)", "sw a0, (a1)"])
def test_ad_update_by_stage(stage: str, menvcfg: int, henvcfg: int, line: str) -> None:
    """menvcfg.ADUE is for satp and hgatp, henvcfg.ADUE (gated by menvcfg's) for vsatp."""
    bed = Stage(stage)
    bed.bench.set(menvcfg=ADUE(menvcfg), henvcfg=ADUE(henvcfg))
    updates = menvcfg and (henvcfg or stage != VS_STAGE)
    clean = bed.all & ~flags("ad")
    slot = bed.table.map(DATA, DATA, clean)
    trap = bed.bench.step(line, M, a1=DATA)
    assert (trap is None) == bool(updates)
    new = clean | (0 if not updates else flags("ad") if line.startswith("s") else flags("a"))
    assert bed.bench.peek(slot) == pte(DATA, new)


@pytest.mark.parametrize("stage", STAGES)
def test_without_svadu(stage: str) -> None:
    """Svade alone: ADUE is read-only zero and a clear A bit is a page fault."""
    bed = Stage(stage, without=("svadu",))
    bed.bench.set(menvcfg=ADUE(1), henvcfg=ADUE(1))
    bed.table.map(DATA, DATA, bed.all & ~flags("ad"))
    assert bed.fails(DATA)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("line", ["lw a0, (a1)", "sw a0, (a1)"])
def test_without_svade(stage: str, line: str) -> None:
    """Svadu alone: the walk updates A and D from reset on; a guest's, as its hypervisor says."""
    bed = Stage(stage, without=("svade",))
    if stage == VS_STAGE:
        bed.bench.set(henvcfg=ADUE(1))
    slot = bed.table.map(DATA, DATA, bed.all & ~flags("ad"))
    assert bed.bench.step(line, M, a1=DATA) is None
    set_ = flags("ad") if line.startswith("s") else flags("a")
    assert bed.bench.peek(slot) == pte(DATA, bed.all & ~flags("ad") | set_)


@pytest.mark.parametrize("stage", STAGES)
def test_a_bit_alone_suffices_for_loads(stage: str) -> None:
    """Svade: D matters for stores only."""
    bed = Stage(stage)
    bed.table.map(DATA, DATA, bed.all & ~flags("d"))
    assert not bed.fails(DATA)
    trap = bed.bench.step("sw a0, (a1)", M, a1=DATA)
    assert trap is not None
    assert trap.cause == (Cause.STORE_GUEST_PAGE if stage == G_STAGE else Cause.STORE_PAGE)


def test_superpage_update_sets_one_pte() -> None:
    """Step 9 stores the PTE of the leaf's own level, not its pointers."""
    bed = Stage(ONE_STAGE)
    bed.bench.set(menvcfg=ADUE(1))
    slot = bed.table.map(0x4020_0000, RAM, flags("vrw"), level=1)
    pointer = bed.table.slot(0x4020_0000, 2)
    before = bed.bench.peek(pointer)
    assert bed.bench.step("sw x0, (a1)", M, a1=0x4030_0000) is None
    assert bed.bench.peek(slot) == pte(RAM, flags("vrwad"))
    assert bed.bench.peek(pointer) == before


# Physical addresses that lead nowhere


@pytest.mark.parametrize(
    ("line", "cause"), [("lw a0, (a1)", 5), ("sw a0, (a1)", 7), ("amoor.w a0, x0, (a1)", 7)]
)
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("target", [NOWHERE, (1 << 56) - 0x1000], ids=hex)
def test_page_without_memory(line: str, cause: int, stage: str, target: int) -> None:
    """A translation to nothing is an access fault; tval is still the virtual address."""
    bed = Stage(stage)
    bed.table.map(DATA, target, bed.all)
    trap = bed.bench.step(line, M, a1=DATA + 8)
    assert trap is not None
    assert (trap.cause, trap.tval, trap.tval2, trap.gva) == (cause, DATA + 8, 0, stage != ONE_STAGE)


@pytest.mark.parametrize(("line", "cause"), [("lw a0, (a1)", 5), ("sw a0, (a1)", 7)])
@pytest.mark.parametrize("stage", STAGES)
def test_table_without_memory(line: str, cause: int, stage: str) -> None:
    """Step 2: a PTE that cannot be read is an access fault of the original access type."""
    bed = Stage(stage)
    bed.bench.poke(bed.table.slot(DATA, 1), pte(NOWHERE, PTE_V))
    trap = bed.bench.step(line, M, a1=DATA + 8)
    assert trap is not None
    assert (trap.cause, trap.tval, trap.tval2, trap.gva) == (cause, DATA + 8, 0, stage != ONE_STAGE)


def test_bare_is_untranslated() -> None:
    """MODE=Bare: virtual addresses are physical addresses, of all 64 bits."""
    bed = Stage(ONE_STAGE)
    bed.bench.set(satp=0)
    bed.bench.poke(DATA, 0x77, 4)
    assert bed.value(DATA) == 0x77
    trap = bed.load(DATA | 1 << 63)
    assert trap is not None and trap.cause == Cause.LOAD_ACCESS


# Accesses that cross a page


@pytest.mark.parametrize("stage", [ONE_STAGE, VS_STAGE])
@pytest.mark.parametrize("offset", range(1, 8))
def test_crossing_to_a_distant_page(stage: str, offset: int) -> None:
    """A misaligned access takes each part from its own page."""
    bed = Stage(stage)
    first, second = bed.bench.pages(), bed.bench.pages(4) + 0x3000
    bed.table.map(0x1000, first, bed.all)
    bed.table.map(0x2000, second, bed.all)
    address = 0x2000 - offset
    assert bed.bench.step("sd a0, (a1)", M, a1=address, a0=0x8877_6655_4433_2211) is None
    assert (
        bed.bench.peek(first + 0x1000 - offset, offset)
        == 0x8877_6655_4433_2211 & (1 << 8 * offset) - 1
    )
    assert bed.bench.peek(second, 8 - offset) == 0x8877_6655_4433_2211 >> 8 * offset
    assert bed.bench.step("ld a2, (a1)", M, a2=0) is None
    assert bed.bench.x("a2") == 0x8877_6655_4433_2211


@pytest.mark.parametrize(("line", "cause"), [("ld a0, (a1)", 13), ("sd a0, (a1)", 15)])
@pytest.mark.parametrize(("pages", "tval"), [("-x", 0x1FFD), ("x-", 0x2000), ("--", 0x1FFD)])
def test_crossing_into_a_fault(line: str, cause: int, pages: str, tval: int) -> None:
    """tval is the faulting portion: the access's own address, or the page boundary above it."""
    bed = Stage(ONE_STAGE)
    for n, mapped in enumerate(pages):
        if mapped == "x":
            bed.table.map(0x1000 * (n + 1), DATA, bed.all)
    trap = bed.bench.step(line, M, a1=0x1FFD)
    assert trap is not None
    assert (trap.cause, trap.tval) == (cause, tval)


@pytest.mark.parametrize(
    ("low", "high", "tval"),
    [
        ("vrxad", None, 0x2000),
        (None, "vrxad", 0x1FFE),
        ("vrxad", "vrad", 0x2000),
        ("vrad", "vrxad", 0x1FFE),
    ],
)
def test_instruction_across_pages(low: str | None, high: str | None, tval: int) -> None:
    """tval of a fetch fault is the portion that faulted; epc the instruction's beginning."""
    bed = Stage(ONE_STAGE)
    bed.bench.look_as(None)
    for address, text in ((0x1000, low), (0x2000, high)):
        if text is not None:
            bed.table.map(address, POOL + 0x40_0000, flags(text))
    bed.bench.poke(POOL + 0x40_0FFE, 0x0013, 2)  # the lower half of an addi
    trap = bed.bench.step(None, HS, pc=0x1FFE)
    assert trap is not None
    assert (trap.cause, trap.tval, trap.epc) == (Cause.FETCH_PAGE, tval, 0x1FFE)


def test_compressed_instruction_at_the_end_of_a_page() -> None:
    """It does not touch the next page; a 32-bit one across two mapped pages works."""
    bed = Stage(ONE_STAGE)
    bed.bench.look_as(None)
    page = bed.bench.pages()
    other = bed.bench.pages(3) + 0x2000
    bed.table.map(0x1000, page, flags("vrxad"))
    assert bed.bench.step(0x0001, HS, pc=0x1FFE, at=page + 0xFFE) is None
    bed.table.map(0x3000, page, flags("vrxad"))
    bed.table.map(0x4000, other, flags("vrxad"))
    bed.bench.poke(page + 0xFFE, 0x0505_0513 & 0xFFFF, 2)  # addi a0, a0, 80
    bed.bench.poke(other, 0x0505_0513 >> 16, 2)
    assert bed.bench.step(None, HS, pc=0x3FFE, a0=1) is None
    assert (bed.bench.x("a0"), bed.bench.hart.pc) == (81, 0x4002)
