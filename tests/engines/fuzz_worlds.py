"""Where random programs run: modes, address spaces, handlers, and registers to start with."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from engines.fuzz_pieces import (
    BASES,
    CODE_LEAVES,
    LEAVES,
    LOOPS,
    OTHER_CODE,
    OTHER_DATA,
    OTHER_ROOT,
)
from engines.jit_programs import CODE_POINTER, DATA_POINTER, data, register_values
from privileged.bench import RAM, Bench, permissive
from privileged.manual import (
    ADUE,
    FS,
    HS,
    MIE,
    MPP,
    ONES,
    PTE_A,
    PTE_D,
    PTE_R,
    PTE_U,
    PTE_W,
    S_ALL,
    SIE,
    U_ALL,
    VS,
    VU,
    M,
    Mode,
    U,
    bits,
)
from privileged.pages import SCHEMES, SV39, Scheme, Table, pte

RAM_SIZE = 6 << 20
LARGE_PAGE = 2 << 20
PAGE = 0x1000
HANDLERS = {M: RAM + 0x8000, HS: RAM + 0x9000, VS: RAM + 0xA000}
DATA = RAM + LARGE_PAGE + 0x2_1000  # in the middle of four pages, behind which nothing is mapped
DATA_PAGES = [DATA - PAGE, DATA, DATA + PAGE]
PROGRAM = RAM + 0x4_0000
CODE_PAGES = 0x40
POOL = RAM + 2 * LARGE_PAGE  # page tables
VIRTUAL = 0x10_0000_0000  # RAM, where a world has it elsewhere
ALIAS = 1 << 30  # further on all is mapped again for the other privilege
LARGE = 2 << 30  # and once more by a large page
TABLE = 3 << 30  # and there each address space has its last-level tables
#: what is compared now and then
SEEN = [(RAM, 0x8_0000), (DATA_PAGES[0], 3 * PAGE), (POOL, 0x8_0000)]
FETCH_FAULTS = bits(0, 1, 12, 20)

#: returns behind the instruction; where there is no code, to a place where there may be
HANDLER = """
    handler: csrr  x29, {x}cause
        blt   x29, x0, interrupt
        li    x28, {lost}
        srl   x28, x28, x29
        andi  x28, x28, 1
        bnez  x28, lost
        csrr  x29, {x}epc
        addi  x29, x29, 4 - {odd}
        andi  x29, x29, -4
        addi  x29, x29, {odd}
        csrw  {x}epc, x29
        {fence}
        {exit}
        {x}ret
    lost: csrr x29, {x}epc
        csrw  {x}epc, x30
        bne   x29, x30, done
        csrw  {x}epc, x25
    done: {x}ret
    interrupt: {quiet}
        {x}ret
"""
LATER = "csrr x29, time; addi x29, x29, {period}"
#: how each mode's handler ends an interrupt
QUIET = {
    M: f"{LATER}; csrw stimecmp, x29",
    HS: f"{LATER}; csrw stimecmp, x29; csrw vstimecmp, x29",
    VS: f"{LATER}; csrw stimecmp, x29",
}

#: what stands for fences that trapped, by TVM or VTVM, and were left out
FENCES = {
    M: "sfence.vma x0, x0; hfence.vvma x0, x0; hfence.gvma x0, x0",
    HS: "hfence.vvma x0, x0",
    VS: "",
}

#: a guest's call ends it: on in the hypervisor, behind the call
GUEST_EXIT = """csrr x29, scause; addi x29, x29, -10
    bnez x29, back
    li x29, 0x80; csrc hstatus, x29
    back: nop"""

#: extensions that some harts lack
FEWER = [(), (), (), (), (), ("c", "zcb", "zcmop"), ("d", "zfh", "zfa"), ("zfh",), ("sstc",)]


@dataclass(frozen=True)
class World:
    """Where programs start, and how they are translated."""

    mode: Mode
    scheme: Scheme | None  # of satp and vsatp; None is Bare
    second: bool  # the guest's addresses are translated too
    moved: bool  # virtual addresses are not physical ones
    delegated: bool
    interrupts: bool
    updates: bool  # the walk sets A and D
    without: tuple[str, ...]

    @classmethod
    def random(cls, chance: Random) -> World:
        mode = chance.choice((M, M, HS, HS, HS, U, VS, VS, VU))
        scheme = None if chance.random() < 0.1 else chance.choice((SV39, *SCHEMES))
        return cls(
            mode,
            scheme,
            chance.random() < 0.8,
            scheme is not None and mode != M and chance.random() < 0.6,
            chance.random() < 0.6,
            chance.random() < 0.3,
            chance.random() < 0.5,
            chance.choice(FEWER),
        )

    def __str__(self) -> str:
        said = [str(self.mode), str(self.scheme or "Bare")]
        if self.mode.virtual and self.second:
            said.append("two stages")
        said += [name for name in ("delegated", "interrupts", "updates") if getattr(self, name)]
        return ", ".join([*said, *(f"without {name}" for name in self.without)])

    @property
    def to_virtual(self) -> int:
        return VIRTUAL - RAM if self.moved else 0

    @property
    def own(self) -> int:
        """Where its own privilege has the pages, away from where the supervisor has them."""
        return ALIAS if self.scheme and self.mode in (U, VU) else 0


def leaf(chance: Random, flags: int) -> int:
    """Mostly a good one; else without a bit that one might want."""
    spoilt = (PTE_D, PTE_A | PTE_D, PTE_W, PTE_R | PTE_W, PTE_U, PTE_D)
    return flags & ~(chance.choice(spoilt) if chance.random() < 0.08 else 0)


@dataclass
class Place:
    """A system in a world, with a program in its memory."""

    world: World
    seed: str
    program: bytes
    odd: int
    engine: dict[str, Any]
    strict: bool = False  # no translation that waits for its fence may matter
    still: bool = False  # code cannot be written
    roots: list[int] = field(default_factory=list)
    leaves: list[int] = field(default_factory=list)  # last-level tables of RAM

    def __post_init__(self) -> None:
        chance = Random(self.seed)
        self.bench = Bench(without=self.world.without, ram=RAM_SIZE, engine=self.engine)
        self.bench._pool = POOL
        self.hart, self.system = self.bench.hart, self.bench.system
        self._memory(chance)
        self._spaces(chance)
        self._csrs(chance)
        if self.still:  # "Locking and Privilege Mode": a locked entry binds M-mode too
            bits = PROGRAM >> 2 | (CODE_PAGES * PAGE >> 3) - 1
            self.bench.set(pmpaddr0=bits, pmpaddr1=ONES, pmpcfg0=0x1F9D)

    def _memory(self, chance: Random) -> None:
        for mode, at in HANDLERS.items():
            letter = "m" if mode == M else "s"
            quiet = QUIET[mode].format(period=chance.choice([1, 2, 3, 7]))
            if "sstc" in self.world.without:
                quiet = f"csrw {letter}ie, x0"
            names = {"x": letter, "lost": FETCH_FAULTS, "odd": self.odd, "quiet": quiet}
            names["exit"] = GUEST_EXIT if mode == HS else ""
            names["fence"] = FENCES[mode] if self.strict else ""
            self.bench.load(HANDLER.format(**names), at)
        self.system.write(PROGRAM + self.odd, self.program)

    def _spaces(self, chance: Random) -> None:
        """For either V, two address spaces whose data pages are in another order."""
        world, to = self.world, self.world.to_virtual
        order = DATA_PAGES[1:] + DATA_PAGES[:1]
        for targets in (DATA_PAGES, order, DATA_PAGES, order):
            table = Table(self.bench, world.scheme or SV39)
            pages = range(PROGRAM, PROGRAM + CODE_PAGES * PAGE, PAGE)
            for away, flags in ((0, S_ALL), (ALIAS, U_ALL)):
                entries = b"".join(pte(page, flags).to_bytes(8, "little") for page in pages)
                self.system.write(table.slot(PROGRAM + to + away), entries)
            for page, target in zip(DATA_PAGES, targets, strict=True):
                table.map(page + to, target, leaf(chance, S_ALL))
                table.map(page + to + ALIAS, target, leaf(chance, U_ALL))
            for at in HANDLERS.values():
                table.map(at + to, at, S_ALL)
            for region in (RAM, RAM + LARGE_PAGE):
                table.map(region + to + LARGE, region, leaf(chance, S_ALL), level=1)
                self.leaves.append(table.slot(region + to) & -PAGE)
                table.map(region + to + TABLE, self.leaves[-1], S_ALL)
            self.roots.append(table.atp(len(self.roots)) if world.scheme else 0)
        guest = Table(self.bench, SV39, gstage=True)
        guest.fill(RAM, U_ALL)
        guest.fill(RAM + LARGE_PAGE, U_ALL)
        guest.map(POOL, POOL, U_ALL, level=1)
        for page in DATA_PAGES:
            guest.map(page, page, leaf(chance, U_ALL))
        self.guest_root = guest.atp() if world.second else 0
        self.tables = {at: self.system.read(at, PAGE) for at in self.leaves}

    def _csrs(self, chance: Random) -> None:
        bench, world, to = self.bench, self.world, self.world.to_virtual
        bench.set(**{n: v for n, v in permissive().items() if not n.endswith("status")})
        bench.set(mtvec=HANDLERS[M], stvec=HANDLERS[HS] + to, vstvec=HANDLERS[VS] + to)
        all_of_them = ONES * world.delegated
        bench.set(medeleg=all_of_them, mideleg=all_of_them)
        further = all_of_them * (chance.random() < 0.7)
        bench.set(hedeleg=further, hideleg=further)
        if not world.updates:
            bench.clear(menvcfg=ADUE.mask, henvcfg=ADUE.mask)
        for csr in ("mcounteren", "scounteren", "hcounteren"):
            if chance.random() < 0.1 and csr != "mcounteren":
                bench.set(**{csr: 0})
        if world.interrupts:
            bench.set(mie=ONES)
        self.status = FS(chance.choice((3, 3, 3, 3, 3, 3, 3, 2, 1, 0)))

    def refresh(self, content: bytes) -> None:
        """Data and address spaces anew."""
        self.system.write(DATA_PAGES[0], content)
        for at, table in self.tables.items():
            self.system.write(at, table)
        self.bench.set(pmpaddr1=ONES)  # this drops all translations

    def start(self, registers: bytes, status: int, fcsr: int, swapped: bool, pc: int) -> None:
        """To the start of a program, as if nothing had been before."""
        bench, hart, world = self.bench, self.hart, self.world
        hart.set_registers(registers)
        bench.enter(M)
        bench.set(mstatus=status | self.status, fcsr=fcsr, satp=self.roots[swapped])
        bench.set(vsstatus=status & ~MPP.mask | self.status, vsatp=self.roots[2 + swapped])
        bench.set(hgatp=self.guest_root)
        if self.strict:  # the last program may have ended before its fence
            bench.set(pmpaddr1=ONES)
        bench.enter(world.mode, pc)


@dataclass
class Start:
    """Registers and CSRs that a run starts with."""

    world: World
    integers: list[int]
    floats: list[int]
    status: int
    fcsr: int
    swapped: bool

    @classmethod
    def random(cls, chance: Random, world: World, bases: int = 6) -> Start:
        integers, floats = register_values(chance)
        at = DATA + world.to_virtual + world.own
        near = chance.choice((0, 0, 0, 1, 4, -8, 2000))
        integers[DATA_POINTER] = at + near
        other = chance.choice((world.own ^ ALIAS, world.own ^ ALIAS, LARGE))
        integers[OTHER_DATA] = at - world.own + other + chance.choice((0, 0, PAGE, -8, 4))
        for base in chance.sample(BASES, bases):
            away = chance.choice((0, 16, -2048, 4000, chance.randrange(-4096, 4096)))
            integers[base] = at + (away & -8 if chance.random() < 0.8 else away)
        integers[LOOPS] = chance.choice((0, 1, 5, 15, 40))
        status = chance.choice((0, 0, SIE(1))) | MPP(chance.choice((0, 1, 1, 3)))
        if world.interrupts:
            status |= MIE(1) | SIE(1)
        fcsr = chance.choice((0, 0, 0, 0x1F, 0x21, 0x60, 0x80))
        return cls(world, integers, floats, status, fcsr, chance.random() < 0.3)

    def registers(self, place: Place, pc: int) -> bytes:
        x = self.integers.copy()
        x[OTHER_ROOT] = place.roots[2 * self.world.mode.virtual + (not self.swapped)]
        tables = RAM + self.world.to_virtual + TABLE
        x[LEAVES], x[CODE_LEAVES] = tables + LARGE_PAGE, tables * (not place.strict)
        x[CODE_POINTER], x[OTHER_CODE] = pc, pc ^ ALIAS
        return b"".join(value.to_bytes(8, "little") for value in (*x, *self.floats))


def contents(chance: Random, program: bytes) -> bytes:
    """Data to start with: operands, and instructions."""
    size = len(DATA_PAGES) * PAGE
    first, words = data(chance, size // 4), len(program) // 4
    some = b"".join(
        program[4 * at : 4 * at + 4] for at in (chance.randrange(words) for _ in range(size // 16))
    )
    return (first + some + chance.randbytes(size // 4) + first)[:size]
