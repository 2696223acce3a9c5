"""A guest under two-stage translation, for the tests of the hypervisor extension's walks.

Guest physical memory is the RAM at its own addresses (2 MiB G-stage pages), so that the guest's
page tables and code are reachable; what a test looks at lies elsewhere, in pages of its own.
"""

from __future__ import annotations

from mmu.rules import AMO, FETCH, HLV, HLVX, HSV, LOAD, LR, STORE, Access
from privileged.bench import CODE, DATA, POOL, RAM, RAM_SIZE, Bench, Trap
from privileged.manual import HS, PTE_U, S_ALL, U_ALL, VS, VU, Mode, flags
from privileged.pages import SV39, Scheme, Table, page_size

NOP = 0x0000_0013
GPA = 0x1_0000_0000  # guest physical pages under test begin here
GVA = 0x20_0000_0000  # and guest virtual ones here


class Guest:
    """A bench whose hart has a VS-stage and a G-stage table; code runs in VS or in VU."""

    def __init__(
        self,
        mode: Mode = VS,
        vs: Scheme = SV39,
        g: Scheme = SV39,
        without: tuple[str, ...] = (),
        **csrs: int,
    ):
        self.bench, self.mode = Bench(without=without), mode
        self.g = Table(self.bench, g, gstage=True)
        self.vs = Table(self.bench, vs)
        self.g.identity(RAM, POOL - RAM)
        self.g.identity(POOL + page_size(1), RAM + RAM_SIZE - POOL - page_size(1))
        self.g.fill(
            POOL, U_ALL
        )  # small pages, so that a test can take one of the guest's tables away
        self.vs.map(CODE, CODE, flags("vrxad") | (PTE_U if mode == VU else 0))
        self.bench.poke(DATA, NOP, 4)
        self.lines: dict[Access, int] = {}
        for n, access in enumerate((LOAD, STORE, AMO, LR, HLV, HLVX, HSV)):
            self.lines[access] = CODE + 4 * n
            self.bench.load(access.line, CODE + 4 * n)
        self.bench.set(vsatp=self.vs.atp(), hgatp=self.g.atp())
        self.bench.set(**csrs)

    def map(
        self, gva: int = GVA, gpa: int = GPA, target: int = DATA, vs: int = 0, g: int = 0
    ) -> None:
        """One page through both stages, with the flags given or permissive ones."""
        self.vs.map(gva, gpa, vs or (U_ALL if self.mode == VU else S_ALL))
        self.g.map(gpa, target, g or U_ALL)

    def access(self, access: Access, address: int = GVA) -> Trap | None:
        """Make the access from the guest's mode; an HLV or HSV from HS with SPVP."""
        if access is FETCH:
            return self.bench.step(None, self.mode, pc=address)
        mode = HS if access in (HLV, HLVX, HSV) else self.mode
        return self.bench.step(None, mode, pc=self.lines[access], a1=address, a2=NOP)


def transformed(instruction: int, offset: int = 0, compressed: bool = False) -> int:
    """The value for htinst: "Transformed Instruction or Pseudoinstruction for mtinst or htinst".

    The Addr. Offset replaces rs1; immediates of basic loads and stores become zero.
    """
    opcode = instruction & 0x7F
    if opcode in (0x03, 0x07):  # loads: rd, funct3 and opcode stay
        value = instruction & 0x0000_7FFF
    elif opcode in (0x23, 0x27):  # stores: rs2, funct3 and opcode stay
        value = instruction & 0x01F0_707F
    elif opcode == 0x0F:  # CMO: opcode, funct3 and operation, all else zero
        return instruction & 0xFFF0_707F
    else:  # atomics and virtual-machine loads and stores: all but rs1
        value = instruction & ~0x000F_8000
    return (value | offset << 15) & ~(2 if compressed else 0)
