"""The translating engine beside the interpreter, on one program in one world."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from engines.jit_programs import (
    CODE_POINTER,
    DATA_POINTER,
    NOP,
    Maker,
    Slot,
    data,
    listing,
    register_values,
)
from privileged.bench import PLAIN_HOST, RAM, Bench, permissive
from privileged.manual import (
    ADDRESS,
    FS,
    HS,
    ONES,
    PTE_A,
    PTE_D,
    S_ALL,
    U_ALL,
    VS,
    VU,
    M,
    Mode,
    U,
    bits,
)
from privileged.pages import SV39, Table

RAM_SIZE = 1 << 20
PAGE = 0x1000
POOL = RAM + 0x4_0000
HANDLERS = {M: RAM + 0x8000, HS: RAM + 0x9000, VS: RAM + 0xA000}
CODE_PAGES = 3
PROGRAM = RAM + 0x1000  # the program starts somewhere in the first of its pages
DATA = RAM + 0x2_1000  # in the middle of four pages, behind which nothing is mapped
SEEN = RAM, 0x3_0000  # what is compared: all but page tables
VIRTUAL = 0x10_0000_0000  # RAM, where there is paging
ALIAS = 1 << 30  # further on the program is mapped again
DEVICE = 0x1000_0000
FETCH_FAULTS = bits(0, 1, 12, 20)
TICK = 100  # instructions

#: returns behind the instruction, and from lost ways to the middle of the program
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
        {x}ret
    lost: csrw  {x}epc, x30
        {x}ret
    interrupt: {lower}
        csrr  x29, time
        addi  x29, x29, {period}
        csrw  {timer}, x29
        {x}ret
"""


@dataclass(frozen=True)
class World:
    """Where a program runs."""

    mode: Mode
    delegated: bool = False
    paged: bool = False
    interrupts: bool = False
    devices: bool = False
    harts: int = 1
    without: tuple[str, ...] = ()

    def __str__(self) -> str:
        flags = ("delegated", "paged", "interrupts", "devices")
        said = [name for name in flags if getattr(self, name)]
        said += [f"{self.harts} harts"] * (self.harts > 1)
        return " ".join([str(self.mode), *said, *(f"without {name}" for name in self.without)])


WORLDS = [
    World(M),
    World(M, interrupts=True),
    World(M, interrupts=True, devices=True),
    World(M, without=("c", "zcb", "zcmop")),
    World(M, without=("d", "zfh", "zfa")),
    World(M, harts=2),
    World(HS, paged=True, interrupts=True, harts=3),
    World(HS, paged=True),
    World(HS, paged=True, delegated=True, interrupts=True),
    World(U, paged=True, delegated=True),
    World(U),
    World(VS, paged=True),
    World(VS, paged=True, delegated=True, interrupts=True),
    World(VU, paged=True, delegated=True),
]

#: settings of the engine; "hot" is when a block is translated
ENGINES: list[dict[str, Any]] = [
    {},
    {"hot": 1},
    {"hot": 2, "chain": False},
    {"hot": 1, "unit_limit": 1},
    {"hot": 1, "unit_limit": 5},
    {"hot": 1, "code_size": 1},
    {"hot": 1, "swap_worth": 1},
    {"hot": 1, "swap_worth": 1, "host_lacks": ["avx512"]},
    {"hot": 1, "background": True},
    {"hot": 1, "background": True, "disturb": 2},
    {"hot": 1, "chain": False, "unit_limit": 1},
    {"hot": 1, "disturb": 1},
    {"hot": 1, "check_translations": True},
    {"hot": 1, **PLAIN_HOST},
    {"hot": 1, "host_lacks": ["fma"]},
    {"hot": 1, "host_lacks": ["avx512"]},
]


@dataclass
class Case:
    """A program with all that decides its run."""

    seed: int
    world: World
    engine: dict[str, Any]
    chunks: int = 10
    longest: int = 700
    slots: list[Slot] = field(default_factory=list)
    stores_to_code: bool = False

    def __post_init__(self) -> None:
        chance = Random(f"program {self.seed}")
        self.start = PAGE - 4 * chance.randrange(0, 120) + 2 * (chance.random() < 0.5)
        if "c" in self.world.without:
            self.start &= ~3
        if not self.slots:
            count = chance.choice([6, 20, 60, 60, 200])
            self.slots = Maker(chance, count, self.stores_to_code).program()

    def __str__(self) -> str:
        text = listing(self.slots, PROGRAM + self.start)
        return f"seed {self.seed} in {self.world} with {self.engine}\n{text}"


class Runner:
    """One engine in the case's world."""

    def __init__(self, case: Case, engine: dict[str, Any]):
        self.case, self.world = case, case.world
        chance = Random(f"world {case.seed}")
        self.bench = Bench(without=case.world.without, ram=RAM_SIZE, engine=engine)
        self.bench._pool = POOL
        self.to_virtual = VIRTUAL - RAM if case.world.paged else 0
        self.entry = PROGRAM + case.start + self.to_virtual
        self.status = FS(chance.choice([3, 3, 3, 3, 2, 1, 0]))
        self._memory(chance)
        self.written: list[tuple[int, ...]] = []
        self.bench.system.add_device("lines", DEVICE, PAGE, self._read, self._write)
        self._paging(chance)
        first = self.bench.hart
        for number in range(1, self.world.harts):
            hart = self.bench.system.add_hart(number, self.bench.extensions, self.entry)
            for csr in ("pmpaddr0", "pmpcfg0", "mstateen0", "satp", "vsatp", "hgatp"):
                hart.set_csr(ADDRESS[csr], first.csr(ADDRESS[csr]))
        for _ in self.each():
            self._csrs(chance)
        self.restart(chance)

    def each(self) -> Iterator[Bench]:
        """The bench, looking at each hart in turn."""
        for hart in reversed(self.bench.system.harts):
            self.bench.hart = hart
            yield self.bench

    def _memory(self, chance: Random) -> None:
        odd = self.case.start % 4
        timers = {M: ("m", "stimecmp"), HS: ("s", "stimecmp"), VS: ("s", "stimecmp")}
        for mode, at in HANDLERS.items():
            letter, timer = timers[mode]
            period = chance.choice([1, 2, 3, 7])
            lower = f"lui x29, {DEVICE >> 12}; sw x0, 0(x29)" if mode == M else ""
            values = {"lost": FETCH_FAULTS, "odd": odd, "period": period, "timer": timer}
            self.bench.load(HANDLER.format(x=letter, lower=lower, **values), at)
        self.bench.load("spin: j spin", HANDLERS[M] + 0x800)
        self.bench.system.write(PROGRAM + self.case.start, b"".join(self.case.slots))
        end = PROGRAM + self.case.start + 4 * len(self.case.slots)
        back = -4 * len(self.case.slots)
        self.bench.load(f"j {end + back}", end)
        self.bench.system.write(DATA - PAGE, data(chance, 3 * PAGE))

    def _read(self, offset: int, width: int) -> int:
        self.written.append((offset, width))
        return (len(self.written) & 0xFF) << 56 | offset

    def _write(self, offset: int, width: int, value: int) -> None:
        """Lines that rise and fall within the run, at this very store."""
        self.written.append((offset, width, value))
        for line in (3, 7, 9, 11):
            self.bench.hart.set_interrupt(line, bool(offset and value >> line & 1))

    def _paging(self, chance: Random) -> None:
        if not self.world.paged:
            return
        mode = self.world.mode
        leaf = S_ALL if mode.privilege else U_ALL
        table = Table(self.bench)
        pages = [*range(PROGRAM, PROGRAM + CODE_PAGES * PAGE, PAGE)]
        pages += [DATA - PAGE, DATA, DATA + PAGE]
        spoilt = chance.choice([0, 0, PTE_D, PTE_A | PTE_D])
        for page in pages:
            lost = spoilt if page == DATA + PAGE else 0
            table.map(page + self.to_virtual, page, leaf & ~lost)
            table.map(page + self.to_virtual + ALIAS, page, leaf & ~lost)
        for at in HANDLERS.values():
            table.map(at + self.to_virtual, at, S_ALL)
        if not mode.virtual:
            return self.bench.set(satp=table.atp())
        guest = Table(self.bench, SV39, gstage=True)
        for page in range(RAM, RAM + RAM_SIZE, PAGE):
            lost = PTE_D if page == DATA - PAGE and chance.random() < 0.3 else 0
            guest.map(page, page, U_ALL & ~lost)
        self.bench.set(vsatp=table.atp(), hgatp=guest.atp())

    def _csrs(self, chance: Random) -> None:
        bench, delegated = self.bench, self.world.delegated
        bench.set(**{n: v for n, v in permissive().items() if not n.endswith("status")})
        bench.set(mtvec=HANDLERS[M], stvec=HANDLERS[HS] + self.to_virtual)
        bench.set(vstvec=HANDLERS[VS] + self.to_virtual)
        virtual = self.world.mode.virtual
        bench.set(
            medeleg=ONES * delegated,
            mideleg=ONES * delegated,
            hedeleg=ONES * (delegated and virtual),
            hideleg=ONES * (delegated and virtual),
        )
        for number, csr in enumerate(("mcounteren", "scounteren", "hcounteren")):
            bench.set(**{csr: ONES * (chance.random() < 0.9 or number == 0)})
        if self.world.interrupts:
            bench.set(mie=ONES)

    def restart(self, chance: Random) -> None:
        """From the start of the program again, with other operands."""
        for _ in self.each():
            self._restart(chance)

    def _restart(self, chance: Random) -> None:
        bench, hart = self.bench, self.bench.hart
        integers, floats = register_values(chance)
        for number in range(32):
            hart.set_x(number, integers[number])
            if "d" in bench.extensions:
                hart.set_f(number, floats[number])
        bench.enter(M)
        near = chance.choice([0, 0, 0, 1, 4, -8, 2000])
        device = self.world.devices and chance.random() < 0.5
        hart.set_x(DATA_POINTER, DEVICE + 2048 if device else DATA + self.to_virtual + near)
        alias = ALIAS * (self.world.paged and chance.random() < 0.5)
        hart.set_x(CODE_POINTER, self.entry + 4 * (len(self.case.slots) // 2) + alias)
        bench.set(mstatus=self.status, fcsr=chance.choice([0, 0, 0, 0x1F, 0x21, 0x80]))
        bench.set(vsstatus=self.status | 2 * self.world.interrupts)
        if self.world.interrupts:
            bench.change(mstatus=0b1010)
        bench.enter(self.world.mode, self.entry)

    def state(self) -> dict[str, Any]:
        bench = self.bench
        found: dict[str, Any] = {"time": bench.system.time, "device": dict(enumerate(self.written))}
        for hart in bench.system.harts:
            mine = {"traps": hart.traps, "instret": hart.instret, **hart.registers()}
            found |= {f"hart {hart.index} {name}": value for name, value in mine.items()}
        return found | {"memory": bench.system.read(*SEEN)}


def difference(one: dict[str, Any], other: dict[str, Any]) -> str:
    """What differs between the interpreter's state and the other engine's."""
    lines = []
    for name in one:
        mine, its = one[name], other[name]
        if mine == its:
            continue
        if isinstance(mine, dict):
            keys = [key for key in mine | its if mine.get(key) != its.get(key)]
            mine, its = {k: mine.get(k) for k in keys}, {k: its.get(k) for k in keys}
        elif isinstance(mine, bytes):
            places = [at for at in range(len(mine)) if mine[at] != its[at]][:8]
            mine = {hex(SEEN[0] + at): mine[at] for at in places}
            its = {hex(SEEN[0] + at): its[at] for at in places}
        elif isinstance(mine, list | tuple):
            places = [n for n in range(len(mine)) if mine[n] != its[n]]
            mine = {n: hex(mine[n]) if isinstance(mine[n], int) else mine[n] for n in places}
            its = {n: hex(its[n]) if isinstance(its[n], int) else its[n] for n in places}
        lines.append(f"{name}: interpreter {mine}, translated {its}")
    return "\n".join(lines)


def compare(case: Case) -> str:
    """Runs both; the first difference, or nothing."""
    runners = [Runner(case, {}), Runner(case, {"accel": "jit", "code_size": 1 << 20} | case.engine)]
    chance = Random(f"run {case.seed}")
    for chunk in range(case.chunks):
        budget = chance.choice([1, 63, 64, 65, chance.randrange(1, 200), case.longest])
        exits = [runner.bench.system.run(budget) for runner in runners]
        states = [runner.state() for runner in runners]
        if found := difference(*states):
            return f"chunk {chunk} of {budget}\n{found}"
        assert exits[0].reason == exits[1].reason
        if chance.random() < 0.6:
            seed = chance.random()
            for runner in runners:
                runner.restart(Random(seed))
    return ""


def shrunk(case: Case, differs: Callable[[Case], str]) -> Case:
    """The case with as many instructions as possible made to do nothing."""
    step = max(1, len(case.slots) // 2)
    slots = case.slots
    while step:
        for at in range(0, len(slots), step):
            less = [NOP if at <= n < at + step else slot for n, slot in enumerate(slots)]
            if less != slots and differs(again(case, less)):
                slots = less
        step //= 2
    return again(case, slots)


def again(case: Case, slots: list[Slot]) -> Case:
    return Case(
        case.seed, case.world, case.engine, case.chunks, case.longest, slots, case.stores_to_code
    )
