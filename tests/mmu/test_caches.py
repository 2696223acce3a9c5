"""What translation caches hold, and when they must let go of it: large working sets, mappings that
all address spaces share, leaves larger than a page."""

from __future__ import annotations

import pytest

from mmu.guest import GVA, Guest
from mmu.rules import FETCH, LOAD, STORE, Access
from mmu.test_fences import NEW, OLD, OneStage, fill, look, run_fence
from privileged.bench import CODE, DATA, Bench
from privileged.manual import HS, PTE_V, S_ALL, U_ALL, VS, M, Mode, U, flags
from privileged.pages import Table, page_size, pte

SHARED = 0xFFFF_FFFF_C000_0000  # a kernel's address
GLOBAL = S_ALL | flags("g")
ASID, OTHER, VMID = 1, 2, 3


def everywhere(bench: Bench, targets: list[int], count: int) -> Table:
    """A table that maps ``count`` 2 MiB regions from GVA on, each page to one of the targets."""
    table = Table(bench)
    last = bench.pages()
    for index in range(512):
        bench.poke(last + 8 * index, pte(targets[index % len(targets)], S_ALL))
    for region in range(count):
        bench.poke(table.slot(GVA + (region << 21), 1), pte(last, PTE_V))
    table.map(CODE, CODE)
    return table


@pytest.mark.usefixtures("accel")
@pytest.mark.parametrize("count", [300, 20_000])
def test_many_pages_are_told_apart(count: int) -> None:
    """Each page leads where its table says, however many there are, and again the next time."""
    bench = Bench()
    targets = [DATA + (k << 12) for k in range(7)]
    for k, target in enumerate(targets):
        bench.poke(target, 10**k)
    bench.set(satp=everywhere(bench, targets, count // 512 + 1).atp())
    program = """
        li s1, 3
    again:
        mv s0, a0
        mv t0, a1
    next:
        ld t1, (s0)
        add a2, a2, t1
        sd t1, (s0)
        add s0, s0, a3
        addi t0, t0, -1
        bnez t0, next
        addi s1, s1, -1
        bnez s1, again
    done:
        j done
    """
    bench.load(program)
    bench.regs(a0=GVA, a1=count, a2=0, a3=page_size(0))
    bench.enter(HS, CODE)
    bench.run(limit=count * 24)
    sequence = [10 ** (page % 512 % 7) for page in range(count)]
    assert bench.x("a2") == 3 * sum(sequence) and bench.hart.traps == 0


class TwoSpaces:
    """A page that is global in one address space, and not mapped at all in another."""

    def __init__(self, level: int = 0) -> None:
        self.bed = OneStage(asid=ASID)
        self.bench = self.bed.bench
        self.level = level
        self.slot = self.bed.table.map(SHARED, OLD if level == 0 else 0x8000_0000, GLOBAL, level)
        self.page = SHARED if level == 0 else SHARED + OLD - 0x8000_0000
        self.other = Table(self.bench)
        self.other.map(CODE, CODE)

    def see(self, asid: int, access: Access) -> int | None:
        table = self.bed.table if asid == ASID else self.other
        self.bench.set(satp=table.atp(asid))
        return self.bed.see(self.page, access)

    def warm(self, access: Access) -> None:
        assert self.see(ASID, access) == 1


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("access", [LOAD, STORE, FETCH], ids=str)
def test_global_mappings_are_found_in_other_address_spaces(access: Access, level: int) -> None:
    """ "Global mappings are those that exist in all address spaces": no walk needs to find it."""
    spaces = TwoSpaces(level)
    spaces.warm(access)
    assert spaces.see(OTHER, access) == 1
    spaces.bed.fence("sfence.vma x0, a3", HS, a3=OTHER)  # "except ... global mappings"
    assert spaces.see(OTHER, access) == 1


@pytest.mark.parametrize("operands", ["x0, x0", "a2, x0"])
@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("access", [LOAD, STORE, FETCH], ids=str)
@pytest.mark.parametrize("mode", [M, HS], ids=str)
def test_fences_for_all_address_spaces_order_global_mappings(
    operands: str, level: int, access: Access, mode: Mode
) -> None:
    """Wherever the mapping was used; any address of a leaf names it."""
    spaces = TwoSpaces(level)
    spaces.warm(access)
    assert spaces.see(OTHER, access) == 1
    spaces.bench.poke(spaces.slot, 0)
    spaces.bed.fence(f"sfence.vma {operands}", mode, a2=SHARED + page_size(level) - 0x800)
    assert spaces.see(OTHER, access) is None
    assert spaces.see(ASID, access) is None


@pytest.mark.parametrize("access", [LOAD, STORE, FETCH], ids=str)
def test_a_fence_orders_global_mappings_that_no_context_holds(access: Access) -> None:
    """Many address spaces come between: what was cached for the first is long given up."""
    spaces = TwoSpaces()
    spaces.warm(access)
    for asid in range(100, 140):
        spaces.bench.set(satp=spaces.other.atp(asid))
        assert spaces.bed.see(OLD, access) is None
    spaces.bench.poke(spaces.slot, 0)
    spaces.bed.fence("sfence.vma a2, x0", HS, a2=SHARED)
    assert spaces.see(ASID, access) is None


def test_what_is_global_for_hs_mode_is_not_for_user_mode_or_a_guest() -> None:
    spaces = TwoSpaces()
    spaces.warm(LOAD)
    assert look(spaces.bench, SHARED, LOAD, U) is None
    guest = Guest(VS)
    fill(guest.bench)
    hs = Table(guest.bench)
    hs.map(CODE, CODE)
    hs.map(SHARED, NEW, GLOBAL)
    guest.bench.set(satp=hs.atp())
    assert look(guest.bench, SHARED, LOAD, HS) == 2
    assert look(guest.bench, SHARED, LOAD, VS) is None


def test_dirty_is_set_behind_a_global_mapping_that_was_only_read() -> None:
    spaces = TwoSpaces()
    spaces.bench.poke(spaces.slot, pte(OLD, flags("vrwxag")))
    spaces.warm(LOAD)
    assert spaces.see(OTHER, LOAD) == 1
    spaces.bench.set(menvcfg=1 << 61)  # ADUE
    assert spaces.see(ASID, STORE) == 1
    assert spaces.bench.peek(spaces.slot) == pte(OLD, flags("vrwxagd"))


def test_pmp_guards_global_mappings() -> None:
    """PMP is asked anew after it has changed."""
    spaces = TwoSpaces()
    spaces.warm(LOAD)
    before = spaces.bench.get("pmpaddr0")
    spaces.bench.set(pmpaddr0=OLD >> 2 | 0x1FF, pmpcfg0=0x1F18, pmpaddr1=before)
    assert spaces.see(OTHER, LOAD) is None


@pytest.mark.parametrize(
    ("line", "mode", "ordered"),
    [
        ("sfence.vma x0, x0", VS, True),
        ("sfence.vma a2, x0", VS, True),
        ("hfence.vvma x0, x0", HS, True),
        ("hfence.vvma a2, x0", HS, True),
        ("sfence.vma x0, x0", HS, False),
        ("sfence.vma x0, a3", VS, False),
    ],
)
@pytest.mark.parametrize("access", [LOAD, STORE, FETCH], ids=str)
def test_global_mappings_of_a_guest(line: str, mode: Mode, ordered: bool, access: Access) -> None:
    """They are its own: fences of its VS-stage order them, HS-mode's own do not."""
    guest = Guest(VS)
    fill(guest.bench)
    other = Table(guest.bench)
    other.map(CODE, CODE)
    slot = guest.vs.map(SHARED, OLD, GLOBAL)
    guest.bench.set(hgatp=guest.g.atp(VMID), vsatp=guest.vs.atp(ASID))
    assert look(guest.bench, SHARED, access, VS) == 1
    guest.bench.set(vsatp=other.atp(OTHER))
    assert look(guest.bench, SHARED, access, VS) == 1
    guest.bench.poke(slot, 0)
    run_fence(guest.bench, line, mode, a2=SHARED, a3=OTHER)
    assert look(guest.bench, SHARED, access, VS) == (None if ordered else 1)


@pytest.mark.parametrize("access", [LOAD, STORE, FETCH], ids=str)
def test_global_mappings_of_a_guest_follow_the_g_stage(access: Access) -> None:
    """HFENCE.GVMA orders what they lead to, and another virtual machine has its own."""
    guest = Guest(VS)
    fill(guest.bench)
    guest.map(SHARED, 0x1_0000_0000, OLD, vs=GLOBAL)
    guest.bench.set(hgatp=guest.g.atp(VMID))
    assert look(guest.bench, SHARED, access, VS) == 1
    guest.g.map(0x1_0000_0000, NEW)
    run_fence(guest.bench, "hfence.gvma x0, a3", HS, a3=VMID)
    assert look(guest.bench, SHARED, access, VS) == 2
    elsewhere = Table(guest.bench, gstage=True)
    elsewhere.identity(0x8000_0000, 16 << 20)
    elsewhere.map(0x1_0000_0000, OLD, U_ALL)
    guest.bench.set(hgatp=elsewhere.atp(VMID + 1))
    assert look(guest.bench, SHARED, access, VS) == 1


@pytest.mark.parametrize("access", [LOAD, STORE, FETCH], ids=str)
@pytest.mark.parametrize("level", [1, 2])
def test_a_fence_of_one_address_drops_the_whole_leaf(access: Access, level: int) -> None:
    """All pages of it that were used before see the change."""
    bed = OneStage()
    base = 4 * page_size(2)
    slot = bed.table.map(base, 0x8000_0000, S_ALL, level)
    old, new = base + OLD - 0x8000_0000, base + NEW - 0x8000_0000
    beside = base - page_size(0)
    bed.table.map(beside, OLD)
    assert [bed.see(at, access) for at in (old, new, beside)] == [1, 2, 1]
    bed.bench.poke(slot, pte(0x8000_0000, flags("vad")))
    bed.bench.poke(slot, 0)
    bed.fence("sfence.vma a2, x0", HS, a2=base)
    assert [bed.see(at, access) for at in (old, new, beside)] == [None, None, 1]


def test_a_leaf_becomes_a_table() -> None:
    """ "Sv32 Algorithm": a fence on the address orders a leaf that became a pointer."""
    bed = OneStage()
    base = 4 * page_size(2)
    slot = bed.table.map(base, 0x8000_0000, S_ALL, 1)
    inside = base + OLD - 0x8000_0000
    assert bed.see(inside) == 1
    small = bed.bench.pages()
    bed.bench.poke(small + 8 * (inside >> 12 & 0x1FF), pte(NEW, S_ALL))
    bed.bench.poke(slot, pte(small, PTE_V))
    bed.fence("sfence.vma a2, x0", HS, a2=inside)
    assert bed.see(inside) == 2


class Kernel:
    """Code in a global page that calls a function, in address spaces of its own making."""

    CALLER, CALLEE = SHARED + 0x40_0000, SHARED + 0x50_0000
    FIRST, SECOND = DATA + 0x4000, DATA + 0x5000  # functions, physically

    def __init__(self) -> None:
        self.bench = Bench()
        self.spaces: list[Table] = []
        self.bench.load("addi a3, a3, 1\nret", self.FIRST)
        self.bench.load("addi a4, a4, 1\nret", self.SECOND)
        self.bench.regs(a3=0, a4=0)

    def space(self, callee: int, kind: int) -> int:
        """A new address space, as a value for satp."""
        table = Table(self.bench)
        table.map(self.CALLER, DATA, GLOBAL)
        table.map(self.CALLEE, callee, kind)
        self.spaces.append(table)
        return table.atp(len(self.spaces))

    def run(self, program: str, **registers: int) -> tuple[int, int]:
        """Runs it in the present address space; how often each function was called so far."""
        self.bench.load(program, DATA)
        self.bench.regs(a0=self.CALLEE, s0=50, **registers)
        self.bench.enter(HS, self.CALLER)
        self.bench.run()
        assert self.bench.hart.traps == 0
        return self.bench.x("a3"), self.bench.x("a4")


CALLS = """
again:
    jalr ra, (a0)
    addi s0, s0, -1
    bnez s0, again
done:
    j done
"""


@pytest.mark.usefixtures("accel")
@pytest.mark.parametrize("shared_first", [True, False])
def test_code_of_one_address_space_is_not_that_of_another(shared_first: bool) -> None:
    """Ways to global code are shared; a page that is not global is found by its own space alone."""
    kernel = Kernel()
    first = kernel.space(Kernel.FIRST, S_ALL)
    second = kernel.space(Kernel.SECOND, S_ALL)
    expected = 50
    if shared_first:
        for satp in (kernel.space(Kernel.FIRST, GLOBAL), kernel.space(Kernel.FIRST, GLOBAL)):
            kernel.bench.set(satp=satp)
            assert kernel.run(CALLS) == (expected, 0)
            expected += 50
        kernel.bench.fence()  # the page ceases to be global
    kernel.bench.set(satp=first)
    switching = """
    again:
        jalr ra, (a0)
        csrw satp, a1
        jalr ra, (a0)
        csrw satp, a2
        addi s0, s0, -1
        bnez s0, again
    done:
        j done
    """
    assert kernel.run(switching, a1=second, a2=first) == (expected, 50)


@pytest.mark.usefixtures("accel")
@pytest.mark.parametrize("between", [0, 40])
@pytest.mark.parametrize("fence", ["sfence.vma x0, x0", "sfence.vma a5, x0"])
def test_shared_ways_to_code_end_with_a_fence(fence: str, between: int) -> None:
    """Also where the context that found them has been given up since."""
    kernel = Kernel()
    satp = [kernel.space(Kernel.FIRST, GLOBAL) for _ in range(between + 2)]
    for n in (0, -1):
        kernel.bench.set(satp=satp[n])
        kernel.run(CALLS)
    idle = "done:\n j done"
    for value in satp[1:-1]:
        kernel.bench.set(satp=value)
        kernel.run(idle)
    for table in kernel.spaces:
        table.map(Kernel.CALLEE, Kernel.SECOND, GLOBAL)
    kernel.bench.set(satp=satp[-1])
    assert kernel.run(fence + "\n" + CALLS, a5=Kernel.CALLEE) == (100, 50)
    kernel.bench.set(satp=satp[0])
    assert kernel.run(CALLS) == (100, 100)


@pytest.mark.usefixtures("accel")
def test_a_fence_of_an_address_space_leaves_global_mappings_alone() -> None:
    """Data of its own is looked up anew; "except ... global mappings" need not be, nor code."""
    kernel = Kernel()
    satp = kernel.space(Kernel.FIRST, GLOBAL)
    table = kernel.spaces[0]
    slot = table.map(GVA, OLD, S_ALL)
    fill(kernel.bench)
    kernel.bench.set(satp=satp)
    kernel.run(CALLS)
    assert kernel.bench.peek(table.map(Kernel.CALLEE, Kernel.SECOND, GLOBAL)) != 0
    load = "lw t0, (a6)\n sfence.vma x0, a7\n sd t3, (t4)\n sfence.vma x0, a7\n lw t1, (a6)\n"
    table.map(SHARED, slot & ~0xFFF, GLOBAL)
    registers = {"a6": GVA, "a7": 1, "t3": pte(NEW, S_ALL), "t4": SHARED | slot & 0xFFF}
    kernel.run(load + CALLS, **registers)
    old, new = (kernel.bench.peek(at, 4) for at in (OLD, NEW))
    assert (kernel.bench.x("t0"), kernel.bench.x("t1")) == (old, new)
