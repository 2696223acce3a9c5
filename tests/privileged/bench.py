"""A bench for the privileged architecture: one hart, its RAM, and the means to step it.

    bench = Bench()
    bench.set(mstatus=TVM(1))
    trap = bench.step("csrr a0, satp", HS)      # None, or the trap that was taken

Everything goes through the Python face of the core; nothing here knows how the core works.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

from asm import REGISTERS, Program, assemble
from privileged.manual import ADDRESS, FS, HS, MPP, MPRV, MPV, ONES, PPN, VS, M, Mode
from privileged.manual import MODE as ATP_MODE
from rvvm import _core

#: every extension with a behaviour of its own that the hart may have
_EXTENSIONS = """
    i m a f d c b h s u zicsr zifencei zicntr zihpm zba zbb zbc zbs zbkb zbkx zicond zfh zfa zawrs
    zcb zimop zcmop zicbom zicboz zicbop zihintpause zihintntl zacas zabha svade svadu svinval
    svnapot svpbmt sv39 sv48 sv57 sstc smstateen ssstateen sscofpmf
"""
EXTENSIONS = tuple(_EXTENSIONS.split())

RAM = 0x8000_0000
RAM_SIZE = 16 << 20
CODE = RAM + 0x1000
M_VECTOR = RAM + 0x1_0000
HS_VECTOR = RAM + 0x1_1000
VS_VECTOR = RAM + 0x1_2000
DATA = RAM + 0x10_0000
POOL = RAM + 0x80_0000  # page tables are taken from here on
NOWHERE = 0x4000_0000  # no RAM, no device: every access is an access fault

#: what x86-64 hosts may have beyond the baseline; ``host_lacks`` takes it away
HOST_FEATURES = ("avx", "avx512", "bmi1", "bmi2", "fma", "lzcnt", "popcnt")
PLAIN_HOST: dict[str, Any] = {"host_lacks": HOST_FEATURES}

#: what engine benches are made with, where they do not say; the fixture `accel` changes it
ENGINE: dict[str, Any] = {}

_SPIN = 0x0000_006F  # j . : a hart that trapped stays where the trap took it


class Trap(NamedTuple):
    """The trap that a step took, with everything that the manual says it writes."""

    cause: int
    interrupt: bool
    epc: int
    tval: int
    tval2: int
    tinst: int
    to: str
    gva: bool


@cache
def _program(source: str, base: int, symbols: tuple[tuple[str, int], ...]) -> Program:
    return assemble(source, base, **dict(symbols))


class Bench:
    """A machine of one hart; memory and CSRs are reached directly, code runs in any mode."""

    def __init__(
        self,
        without: Iterable[str] = (),
        ram: int = RAM_SIZE,
        clock: str = "instructions",
        engine: dict[str, Any] | None = None,
    ):
        dropped = set(without)
        self.extensions = [name for name in EXTENSIONS if name not in dropped]
        self.engine = ENGINE if engine is None else engine
        self.system = _core.System(clock=clock, **self.engine)
        self.system.add_ram(RAM, ram)
        self.hart = self.system.add_hart(0, self.extensions, CODE)
        self._pool = POOL
        self.looking_as: Mode | None = None
        for vector in (M_VECTOR, HS_VECTOR, VS_VECTOR):
            self.system.write(vector, _SPIN.to_bytes(4, "little") * 64)
        self.set(mtvec=M_VECTOR, pmpaddr0=ONES, pmpcfg0=0x1F)  # NAPOT over everything, RWX
        if "s" in self.extensions:
            self.set(stvec=HS_VECTOR)
        if "h" in self.extensions:
            self.set(vstvec=VS_VECTOR)
        if "smstateen" in self.extensions:
            for n in range(4):
                self.set(**{f"mstateen{n}": ONES})

    # state

    def set(self, **csrs: int) -> None:
        for name, value in csrs.items():
            self.hart.set_csr(ADDRESS[name], value & ONES)

    def get(self, name: str) -> int:
        return self.hart.csr(ADDRESS[name])

    def change(self, **csrs: int) -> None:
        """Set bits, keeping the others."""
        for name, value in csrs.items():
            self.set(**{name: self.get(name) | value})

    def clear(self, **csrs: int) -> None:
        for name, value in csrs.items():
            self.set(**{name: self.get(name) & ~value})

    def x(self, register: str) -> int:
        return self.hart.x(REGISTERS[register])

    def regs(self, **values: int) -> None:
        for name, value in values.items():
            self.hart.set_x(REGISTERS[name], value & ONES)

    def enter(self, mode: Mode, pc: int | None = None) -> None:
        self.hart.virtual = False
        self.hart.privilege = mode.privilege
        self.hart.virtual = mode.virtual
        if pc is not None:
            self.hart.pc = pc

    def mode(self) -> tuple[int, bool]:
        return self.hart.privilege, self.hart.virtual

    # memory, by physical address

    def poke(self, address: int, value: int, size: int = 8) -> None:
        self.system.write(address, (value & (1 << 8 * size) - 1).to_bytes(size, "little"))

    def peek(self, address: int, size: int = 8) -> int:
        return int.from_bytes(self.system.read(address, size), "little")

    def pages(self, count: int = 1, align: int = 1) -> int:
        """The address of fresh zeroed pages, aligned to `align` pages."""
        self._pool += -self._pool % (align << 12)
        address, self._pool = self._pool, self._pool + (count << 12)
        self.system.write(address, bytes(count << 12))
        return address

    # running

    def load(self, source: str | int | bytes, address: int = CODE, **symbols: int) -> Program:
        """Put code at a physical address: assembly, one encoding, or bytes."""
        if isinstance(source, int):
            source = source.to_bytes(4 if source & 3 == 3 else 2, "little")
        if isinstance(source, bytes):
            program = Program(address, source)
        else:
            program = _program(source, address, tuple(sorted(symbols.items())))
        self.system.write(address, program.code)
        return program

    def step(
        self,
        source: str | int | bytes | None = None,
        mode: Mode = M,
        pc: int = CODE,
        at: int | None = None,
        **registers: int,
    ) -> Trap | None:
        """Execute one instruction at `pc` in `mode`; the trap that it took, if any.

        `at` is the physical address of the code where it differs from pc.
        """
        if self.looking_as is not None and mode == M:  # a trap before has changed MPP and MPV
            self.look_as(self.looking_as)
        if source is not None:
            self.load(source, pc if at is None else at)
        self.regs(**registers)
        self.enter(mode, pc)
        return self.resume()

    def resume(self) -> Trap | None:
        """One more step from the present state."""
        before = self.hart.traps
        self.hart.step(1)
        return self.trap() if self.hart.traps != before else None

    def trap(self) -> Trap:
        found = self.hart.last_trap
        assert found is not None
        return Trap(**{name: found[name] for name in Trap._fields})

    def cause(self, source: str | int | bytes, mode: Mode = M, **registers: int) -> int | None:
        """The cause of the exception that one instruction raises, or None."""
        trap = self.step(source, mode, **registers)
        return None if trap is None else trap.cause

    def run(self, limit: int = 10_000) -> None:
        """Run until the hart spins on a jump to itself (where programs and vectors end)."""
        translating = self.engine.get("accel") == "jit"
        for _ in range(limit // 16):
            # Single steps are the interpreter's.
            if translating:
                self.system.run(128)
            else:
                self.hart.step(16)
            if self.spinning():
                return
        raise AssertionError(
            f"no end after {limit} steps, pc {self.hart.pc:#x}, {self.hart.last_trap}"
        )

    def spinning(self) -> bool:
        before = self.hart.pc, self.hart.traps
        self.hart.step(1)
        return (self.hart.pc, self.hart.traps) == before

    def fence(self) -> None:
        """Order all page-table, PMP and hgatp.MODE changes before what follows."""
        state = self.mode(), self.hart.pc
        looking_as, self.looking_as = self.looking_as, None
        for line in ("fence.i", "sfence.vma x0, x0", "hfence.vvma x0, x0", "hfence.gvma x0, x0"):
            if "h" in self.extensions or not line.startswith("h"):
                assert self.step(line, M, pc=RAM) is None, line
        (privilege, virtual), self.hart.pc = state
        self.enter(Mode("", privilege, virtual))
        self.looking_as = looking_as

    def look_as(self, mode: Mode | None) -> None:
        """From now on M-mode's loads and stores act as those of `mode`, by MPRV, MPP and MPV.

        Hypervisor chapter, "Effect of MPRV on the translation and protection of explicit memory
        accesses".  None ends it.
        """
        self.looking_as = mode
        self.clear(mstatus=MPRV.mask | MPP.mask | MPV.mask)
        if mode is not None:
            self.change(mstatus=MPRV(1) | MPP(mode.privilege) | MPV(mode.virtual))


@cache
def permissive() -> dict[str, int]:
    """CSRs that grant every mode everything that a higher mode can grant."""
    return {
        "mcounteren": ONES,
        "menvcfg": ONES,
        "mstatus": FS(1),
        "scounteren": ONES,
        "senvcfg": ONES,
        "hcounteren": ONES,
        "henvcfg": ONES,
        **{f"hstateen{n}": ONES for n in range(4)},
        "vsstatus": FS(1),
    }


def open_bench(**csrs: int) -> Bench:
    """A bench on which nothing is withheld from any mode, but for what `csrs` then says."""
    bench = Bench()
    bench.set(**(permissive() | csrs))
    return bench


def atp(mode: int, root: int, asid: int = 0) -> int:
    """satp, vsatp or hgatp."""
    return ATP_MODE(mode) | asid << 44 | PPN(root >> 12)


def delegate_to(bench: Bench, target: Mode) -> None:
    """Delegate every exception and interrupt as far as `target`, where that is possible."""
    bench.set(
        medeleg=0 if target == M else ONES,
        mideleg=0 if target == M else ONES,
        hedeleg=ONES if target == VS else 0,
        hideleg=ONES if target == VS else 0,
    )


def handler_of(target: Mode) -> int:
    return {M: M_VECTOR, HS: HS_VECTOR, VS: VS_VECTOR}[target]
