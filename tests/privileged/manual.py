"""Names and numbers of the Privileged Architecture, typed in from the manual and not from the core.

The tests judge the core by these tables; `test_names_agree` compares them with the core's own.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

ONES = (1 << 64) - 1


class Mode(NamedTuple):
    """A privilege mode (Privileged spec, hypervisor chapter, "Privilege Modes")."""

    name: str
    privilege: int
    virtual: bool

    def __str__(self) -> str:
        return self.name


M = Mode("M", 3, False)
HS = Mode("HS", 1, False)
U = Mode("U", 0, False)
VS = Mode("VS", 1, True)
VU = Mode("VU", 0, True)
MODES = (M, HS, U, VS, VU)
BELOW_M = MODES[1:]


class Cause(IntEnum):
    """Synchronous exception codes (hypervisor chapter, "Trap Cause Codes")."""

    FETCH_MISALIGNED = 0
    FETCH_ACCESS = 1
    ILLEGAL = 2
    BREAKPOINT = 3
    LOAD_MISALIGNED = 4
    LOAD_ACCESS = 5
    STORE_MISALIGNED = 6
    STORE_ACCESS = 7
    ECALL_U = 8
    ECALL_HS = 9
    ECALL_VS = 10
    ECALL_M = 11
    FETCH_PAGE = 12
    LOAD_PAGE = 13
    STORE_PAGE = 15
    FETCH_GUEST_PAGE = 20
    LOAD_GUEST_PAGE = 21
    VIRTUAL = 22
    STORE_GUEST_PAGE = 23


class Irq(IntEnum):
    """Interrupt codes (hypervisor chapter, "Trap Cause Codes")."""

    SSI = 1
    VSSI = 2
    MSI = 3
    STI = 5
    VSTI = 6
    MTI = 7
    SEI = 9
    VSEI = 10
    MEI = 11
    SGEI = 12
    LCOFI = 13


def bits(*numbers: int) -> int:
    """A mask with these bits set."""
    return sum(1 << n for n in numbers)


class Field(NamedTuple):
    """A field of a CSR: where it is."""

    high: int
    low: int

    @property
    def mask(self) -> int:
        return (1 << self.high + 1) - (1 << self.low)

    def of(self, value: int) -> int:
        return (value & self.mask) >> self.low

    def __call__(self, value: int) -> int:
        return value << self.low & self.mask


def _bit(n: int) -> Field:
    return Field(n, n)


# mstatus, sstatus and vsstatus share the layout; hstatus has its own.
SIE, MIE, SPIE, UBE, MPIE, SPP = map(_bit, (1, 3, 5, 6, 7, 8))
VEC, MPP, FS, XS = Field(10, 9), Field(12, 11), Field(14, 13), Field(16, 15)
MPRV, SUM, MXR, TVM, TW, TSR = map(_bit, (17, 18, 19, 20, 21, 22))
UXL, SXL = Field(33, 32), Field(35, 34)
SBE, MBE, GVA, MPV, SD = map(_bit, (36, 37, 38, 39, 63))
H_VSBE, H_GVA, H_SPV, H_SPVP, H_HU = map(_bit, (5, 6, 7, 8, 9))
H_VGEIN, H_VTVM, H_VTW, H_VTSR, H_VSXL = Field(17, 12), _bit(20), _bit(21), _bit(22), Field(33, 32)
# menvcfg, henvcfg and senvcfg
FIOM, CBIE, CBCFE, CBZE = _bit(0), Field(5, 4), _bit(6), _bit(7)
ADUE, PBMTE, STCE = _bit(61), _bit(62), _bit(63)
SE0, ENVCFG = _bit(63), _bit(62)
# address translation roots
MODE, ASID, VMID, PPN = Field(63, 60), Field(59, 44), Field(57, 44), Field(43, 0)

#: CSR name -> (address, extensions of which one must be there), from "CSR Listing" and the chapters
CSRS: dict[str, tuple[int, str]] = {
    "fflags": (0x001, "f"),
    "frm": (0x002, "f"),
    "fcsr": (0x003, "f"),
    "cycle": (0xC00, "zicntr"),
    "time": (0xC01, "zicntr"),
    "instret": (0xC02, "zicntr"),
    **{f"hpmcounter{n}": (0xC00 + n, "zihpm") for n in range(3, 32)},
    "sstatus": (0x100, "s"),
    "sie": (0x104, "s"),
    "stvec": (0x105, "s"),
    "scounteren": (0x106, "s"),
    "senvcfg": (0x10A, "s"),
    **{f"sstateen{n}": (0x10C + n, "ssstateen") for n in range(4)},
    "sscratch": (0x140, "s"),
    "sepc": (0x141, "s"),
    "scause": (0x142, "s"),
    "stval": (0x143, "s"),
    "sip": (0x144, "s"),
    "stimecmp": (0x14D, "sstc"),
    "satp": (0x180, "s"),
    "scountovf": (0xDA0, "sscofpmf"),
    "hstatus": (0x600, "h"),
    "hedeleg": (0x602, "h"),
    "hideleg": (0x603, "h"),
    "hie": (0x604, "h"),
    "htimedelta": (0x605, "h"),
    "hcounteren": (0x606, "h"),
    "hgeie": (0x607, "h"),
    "henvcfg": (0x60A, "h"),
    **{f"hstateen{n}": (0x60C + n, "h ssstateen") for n in range(4)},
    "htval": (0x643, "h"),
    "hip": (0x644, "h"),
    "hvip": (0x645, "h"),
    "htinst": (0x64A, "h"),
    "hgatp": (0x680, "h"),
    "hgeip": (0xE12, "h"),
    "vsstatus": (0x200, "h"),
    "vsie": (0x204, "h"),
    "vstvec": (0x205, "h"),
    "vsscratch": (0x240, "h"),
    "vsepc": (0x241, "h"),
    "vscause": (0x242, "h"),
    "vstval": (0x243, "h"),
    "vsip": (0x244, "h"),
    "vstimecmp": (0x24D, "h sstc"),
    "vsatp": (0x280, "h"),
    "mvendorid": (0xF11, ""),
    "marchid": (0xF12, ""),
    "mimpid": (0xF13, ""),
    "mhartid": (0xF14, ""),
    "mconfigptr": (0xF15, ""),
    "mstatus": (0x300, ""),
    "misa": (0x301, ""),
    "medeleg": (0x302, "s"),
    "mideleg": (0x303, "s"),
    "mie": (0x304, ""),
    "mtvec": (0x305, ""),
    "mcounteren": (0x306, "u"),
    "menvcfg": (0x30A, "u"),
    **{f"mstateen{n}": (0x30C + n, "smstateen") for n in range(4)},
    "mcountinhibit": (0x320, ""),
    **{f"mhpmevent{n}": (0x320 + n, "") for n in range(3, 32)},
    "mscratch": (0x340, ""),
    "mepc": (0x341, ""),
    "mcause": (0x342, ""),
    "mtval": (0x343, ""),
    "mip": (0x344, ""),
    "mtinst": (0x34A, "h"),
    "mtval2": (0x34B, "h"),
    **{f"pmpcfg{n}": (0x3A0 + n, "") for n in range(0, 16, 2)},
    **{f"pmpaddr{n}": (0x3B0 + n, "") for n in range(64)},
    "mcycle": (0xB00, ""),
    "minstret": (0xB02, ""),
    **{f"mhpmcounter{n}": (0xB00 + n, "") for n in range(3, 32)},
}
ADDRESS = {name: address for name, (address, _) in CSRS.items()}

#: supervisor CSR -> the VS CSR that takes its place when V=1 (hypervisor chapter, "Hypervisor and
#: Virtual Supervisor CSRs"); the others (senvcfg, scounteren, sstateen) keep their function.
_WITH_TWIN = "sstatus sie stvec sscratch sepc scause stval sip stimecmp satp"
VS_TWINS = {name: "v" + name for name in _WITH_TWIN.split()}

#: CSRs of RV32 (upper halves) and of debug mode, which RV64 and M-mode must not have
ABSENT = {
    "sieh": 0x114,
    "siph": 0x154,
    "stimecmph": 0x15D,
    "vstimecmph": 0x25D,
    "mstatush": 0x310,
    "medelegh": 0x312,
    "menvcfgh": 0x31A,
    "mstateen0h": 0x31C,
    "hedelegh": 0x612,
    "htimedeltah": 0x615,
    "henvcfgh": 0x61A,
    "hstateen0h": 0x61C,
    "pmpcfg1": 0x3A1,
    "pmpcfg15": 0x3AF,
    "mcycleh": 0xB80,
    "minstreth": 0xB82,
    "mhpmcounter3h": 0xB83,
    "mhpmevent3h": 0x723,
    "cycleh": 0xC80,
    "timeh": 0xC81,
    "instreth": 0xC82,
    "hpmcounter3h": 0xC83,
    "dcsr": 0x7B0,
    "dpc": 0x7B1,
    "dscratch0": 0x7B2,
}


def lowest_privilege(address: int) -> int:
    """Bits 9:8 of a CSR address: 0 user, 1 supervisor, 2 hypervisor, 3 machine."""
    return address >> 8 & 3


def read_only(address: int) -> bool:
    """Bits 11:10 of a CSR address are 11 for read-only CSRs."""
    return address >> 10 == 3


# PTE bits (supervisor chapter, "Sv39": bits 9-0 as in Sv32, 62-61 PBMT, 63 N).
PTE_V, PTE_R, PTE_W, PTE_X, PTE_U, PTE_G, PTE_A, PTE_D = (1 << n for n in range(8))
PTE_RSW = 3 << 8
PTE_N = 1 << 63
RWX = PTE_R | PTE_W | PTE_X


def pbmt(value: int) -> int:
    """The PBMT field of a PTE (Svpbmt)."""
    return value << 61


def flags(text: str) -> int:
    """PTE flags by letter: "vrwxugad"."""
    return sum(1 << "vrwxugad".index(letter) for letter in text)


#: a leaf that permits everything, for supervisor and for user
S_ALL = flags("vrwxad")
U_ALL = flags("vrwxuad")
