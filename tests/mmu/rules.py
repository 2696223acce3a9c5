"""What the manual says a leaf PTE permits, as a function: the judge of the exhaustive tests.

Supervisor chapter, "Virtual Address Translation Process", steps 3 to 9; hypervisor chapter,
"Two-Stage Address Translation".
"""

from __future__ import annotations

from typing import NamedTuple

from privileged.manual import (
    PTE_A,
    PTE_D,
    PTE_R,
    PTE_U,
    PTE_V,
    PTE_W,
    PTE_X,
    Cause,
)


class Access(NamedTuple):
    """A kind of access: how it is made and which faults it raises."""

    name: str
    line: str
    page: Cause
    guest_page: Cause
    fault: Cause  # access fault
    needs: int  # permission bit
    writes: bool = False

    def __str__(self) -> str:
        return self.name


_L = Cause.LOAD_PAGE, Cause.LOAD_GUEST_PAGE, Cause.LOAD_ACCESS
_S = Cause.STORE_PAGE, Cause.STORE_GUEST_PAGE, Cause.STORE_ACCESS
_F = Cause.FETCH_PAGE, Cause.FETCH_GUEST_PAGE, Cause.FETCH_ACCESS

LOAD = Access("load", "lw a0, (a1)", *_L, PTE_R)
STORE = Access("store", "sw a2, (a1)", *_S, PTE_W, True)
AMO = Access("amo", "amoadd.w a0, x0, (a1)", *_S, PTE_W, True)
LR = Access("lr", "lr.w a0, (a1)", *_L, PTE_R)
FETCH = Access("fetch", "", *_F, PTE_X)
ACCESSES = (LOAD, STORE, AMO, LR, FETCH)

HLV = Access("hlv", "hlv.w a0, (a1)", *_L, PTE_R)
HLVX = Access("hlvx", "hlvx.wu a0, (a1)", *_L, PTE_X)
HSV = Access("hsv", "hsv.w a2, (a1)", *_S, PTE_W, True)
GUEST_ACCESSES = (HLV, HLVX, HSV)


class View(NamedTuple):
    """Who looks at a leaf: privilege, SUM, MXR, and whether A and D are updated (Svadu)."""

    user: bool
    sum: bool = False
    mxr: bool = False
    update: bool = False


def leaf(pte: int, access: Access, view: View) -> int | None:
    """The PTE after a permitted access, or None where it must raise a page fault."""
    if not pte & PTE_V or (pte & PTE_W and not pte & PTE_R):
        return None
    if not pte & (PTE_R | PTE_X):
        return None  # a pointer where no further level is
    if view.user and not pte & PTE_U:
        return None
    if not view.user and pte & PTE_U and (access is FETCH or not view.sum):
        return None
    readable = access.needs == PTE_R and view.mxr and pte & PTE_X
    if not pte & access.needs and not readable:
        return None
    wanted = PTE_A | (PTE_D if access.writes else 0)
    if pte & wanted != wanted and not view.update:
        return None
    return pte | wanted
