"""Address translation as the manual's numbered steps, in Python, for the randomized tests.

Supervisor chapter, "Virtual Address Translation Process"; Svnapot; Svpbmt; hypervisor chapter,
"Two-Stage Address Translation" and the table of pseudoinstructions.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mmu.rules import Access, View, leaf
from privileged.bench import RAM, RAM_SIZE, Bench
from privileged.manual import (
    PTE_A,
    PTE_D,
    PTE_N,
    PTE_R,
    PTE_U,
    PTE_V,
    PTE_W,
    PTE_X,
    Cause,
    Field,
)
from privileged.pages import Scheme

PPN = Field(53, 10)
RESERVED = Field(60, 54)
PBMT = Field(62, 61)


class Fault(Exception):
    """The exception that a translation ends with."""

    def __init__(self, cause: Cause, tval2: int = 0, tinst: int | None = None):
        self.cause, self.tval2, self.tinst = cause, tval2, tinst
        super().__init__(f"{cause.name} tval2={tval2:#x}")


@dataclass
class Stage:
    """One stage: its root and what its envcfg register allows."""

    scheme: Scheme | None  # None is Bare
    root: int
    update: bool  # ADUE
    memory_types: bool  # PBMTE
    gstage: bool = False


@dataclass
class Walk:
    """A translation in the making; PTE updates are collected and not written."""

    bench: Bench
    access: Access
    first: Stage
    second: Stage | None = None  # the G-stage, when V=1
    view: View = field(default_factory=lambda: View(user=False))
    mxr: bool = False  # mstatus.MXR
    updates: dict[int, int] = field(default_factory=dict)

    def translate(self, address: int) -> int:
        address = self._stage(self.first, address, self.access, self.view)
        if self.second is None:
            return address
        return self._guest(address, self.access, self.mxr, None)

    def _guest(self, gpa: int, access: Access, mxr: bool, pseudo: int | None) -> int:
        assert self.second is not None
        view = View(user=True, mxr=mxr, update=self.second.update)
        try:
            return self._stage(self.second, gpa, access, view)
        except PageFault:
            raise Fault(self.access.guest_page, gpa >> 2, pseudo) from None

    def _reach(self, stage: Stage, address: int, write: bool) -> int:
        """Where a PTE is in physical memory; an access fault where no memory is (step 2)."""
        if self.second is not None and not stage.gstage:
            kind = IMPLICIT_WRITE if write else IMPLICIT_READ
            address = self._guest(address, kind, False, 0x3020 if write else 0x3000)
        if not RAM <= address < RAM + RAM_SIZE:
            raise Fault(self.access.fault)
        return address

    def _stage(self, stage: Stage, va: int, access: Access, view: View) -> int:
        try:
            return self._steps(stage, va, access, view)
        except PageFault:
            if stage.gstage:
                raise
            raise Fault(self.access.page) from None

    def _steps(self, stage: Stage, va: int, access: Access, view: View) -> int:
        if stage.scheme is None:
            return va
        check_width(stage, va)
        a = stage.root
        for i in range(stage.scheme.levels - 1, -1, -1):  # steps 1 and 4
            slot = a + 8 * index(stage, va, i)
            physical = self._reach(stage, slot, write=False)
            pte = self.updates.get(physical, self.bench.peek(physical))
            check_encoding(stage, pte)
            if pte & (PTE_R | PTE_X):
                break
            if pte & (PTE_U | PTE_A | PTE_D | PTE_N | PBMT.mask):  # reserved in pointers
                raise PageFault
            a = PPN.of(pte) << 12
        else:
            raise PageFault
        page = leaf_page(pte, va, i)  # step 5 and Svnapot
        after = leaf(pte, access, view)  # steps 6 to 9
        if after is None:
            raise PageFault
        if after != pte:
            self.updates[self._reach(stage, slot, write=True)] = after
        return page


class PageFault(Exception):
    """A page fault of the stage under way; the walk gives it its cause."""


IMPLICIT_READ = Access("read", "", Cause.LOAD_PAGE, Cause.LOAD_GUEST_PAGE, Cause.LOAD_ACCESS, PTE_R)
IMPLICIT_WRITE = IMPLICIT_READ._replace(name="write", needs=PTE_W, writes=True)


def index(stage: Stage, va: int, level: int) -> int:
    assert stage.scheme is not None
    root = stage.gstage and level == stage.scheme.levels - 1
    return va >> 12 + 9 * level & (0x7FF if root else 0x1FF)


def check_width(stage: Stage, va: int) -> None:
    """Sign-extended from the scheme's width; zero-extended from two bits more in the G-stage."""
    assert stage.scheme is not None
    if stage.gstage:
        legal = va >> stage.scheme.width + 2 == 0
    else:
        legal = va >> stage.scheme.width - 1 in (0, (1 << 65 - stage.scheme.width) - 1)
    if not legal:
        raise PageFault


def check_encoding(stage: Stage, pte: int) -> None:
    """Step 3."""
    memory_type = PBMT.of(pte)
    if not pte & PTE_V or (pte & PTE_W and not pte & PTE_R):
        raise PageFault
    if pte & RESERVED.mask or memory_type == 3 or (memory_type and not stage.memory_types):
        raise PageFault


def leaf_page(pte: int, va: int, level: int) -> int:
    """Step 5, and the 64 KiB NAPOT encoding at level 0."""
    ppn, low = PPN.of(pte), (1 << 9 * level) - 1
    if pte & PTE_N:
        if level or ppn & 15 != 8:
            raise PageFault
        low, ppn = 15, ppn & ~15
    if ppn & low:
        raise PageFault
    return (ppn | va >> 12 & low) << 12 | va & 0xFFF
