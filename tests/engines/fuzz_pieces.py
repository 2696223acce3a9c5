"""Pieces of random programs: a few instructions that do something together."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from random import Random
from typing import Any

from asm import asm, assemble
from engines.jit_programs import ILLEGAL, Maker, Slot, groups, is_access
from privileged.manual import (
    FS,
    MPP,
    MPRV,
    MPV,
    MXR,
    PTE_A,
    PTE_D,
    PTE_R,
    PTE_U,
    PTE_W,
    PTE_X,
    SPIE,
    SPP,
    SUM,
)
from semantics.integer_programs import letters, scattered, table

Piece = list[Slot]

# Registers that programs read and do not write; 28 and 29 are the handlers'.
CODE_LEAVES, LEAVES, OTHER_ROOT, OTHER_CODE, OTHER_DATA, LOOPS = range(22, 28)
CODE, DATA = 30, 31
KEPT = {CODE_LEAVES, LEAVES, OTHER_ROOT, OTHER_CODE, OTHER_DATA, LOOPS, 28, 29, CODE, DATA}
#: pointers into data at the start of a run: some live in host registers, others do not
BASES = (2, 3, 5, 8, 9, 10, 11, 12, 13, 14, 15, 18)

#: rows that name floating-point registers, and write an integer one all the same
TO_INTEGER = re.compile(r"fcvt_(w|l)u?_|fcvtmod|fmvh?_x_|fclass|feq|flt|fle")
MIDDLE = 32  # the place in a program that CODE points to, in slots


class PieceMaker(Maker):
    """Draws instructions that leave the pointers alone."""

    def __init__(self, chance: Random):
        super().__init__(chance, 2 * MIDDLE)

    def operand(self, row: dict[str, Any], letter: str) -> int:
        integer = "fp" not in row["flags"] or TO_INTEGER.match(row["name"])
        if letter == "d" and integer:
            return self.target()
        if letter == "s" and is_access(row):
            return self.chance.choice((DATA, DATA, OTHER_DATA, *BASES))
        return super().operand(row, letter)

    def target(self) -> int:
        while (register := self.register()) in KEPT:
            pass
        return register

    def named(self, name: str, **fields: int) -> Slot:
        """A row with some of its fields, the others random."""
        row = table()[name]
        found = {x: self.operand(row, x) for x in sorted(set(letters(row)) - set("01-"))} | fields
        bits = int(row["match"]) | sum(scattered(row, x, value) for x, value in found.items())
        return bits.to_bytes(4, "little")

    def any(self) -> Slot:
        return self.slot(MIDDLE)


@cache
def fixed(source: str) -> Piece:
    """Assembly as slots."""
    code = assemble(source, 0).code
    return [code[at : at + 4] for at in range(0, len(code), 4)]


#: plain loads and stores; the letter is what they move
ACCESS = re.compile(r"f?[ls]([bhwd])u?")
WIDTH = {"b": 1, "h": 2, "w": 4, "d": 8}


@cache
def loads_and_stores() -> dict[str, int]:
    """Names with the bytes that they move."""
    found = ((name, ACCESS.fullmatch(name)) for name in table())
    return {name: WIDTH[match[1]] for name, match in found if match}


@cache
def atomic_rows() -> list[str]:
    """Everything else that reaches memory."""
    both = [*groups()["accesses"], *groups()["atomics"]]
    return [name for name in both if name not in loads_and_stores()]


def plain(make: PieceMaker) -> Piece:
    return [make.any()]


def floats(make: PieceMaker) -> Piece:
    count = make.chance.randrange(1, 6)
    return [make.named(make.chance.choice(groups()["floats"])) for _ in range(count)]


def accesses(make: PieceMaker) -> Piece:
    """Loads and stores near each other through one base, which now and then moves in between."""
    chance = make.chance
    base = chance.choice(BASES)
    start = chance.choice((DATA, DATA, OTHER_DATA))
    near = chance.choice((0, 0, 8, -8, 2040, -2048, chance.randrange(-2048, 2048)))
    piece = fixed(f"addi x{base}, x{start}, {near}") * (chance.random() < 0.7)
    lowest = chance.choice((0, 0, -16, 1, 2024, -2048, chance.randrange(-2048, 2000)))
    reach = chance.choice((8, 32, 32, 64, 900))
    for _ in range(chance.randrange(2, 9)):
        name, width = chance.choice(list(loads_and_stores().items()))
        there = min(lowest + chance.randrange(reach), 2047)
        if chance.random() < 0.85:
            there &= -width
        fields = {"s": base, "i": there & 0xFFF}
        if "f" not in name[0] and chance.random() < 0.9:
            fields |= {"d": _not(make, base)} if "d" in letters(table()[name]) else {}
        piece = [*piece, make.named(name, **fields)]
        if chance.random() < 0.3:
            piece.append(make.any())
        if chance.random() < 0.1:
            piece += fixed(f"addi x{base}, x{base}, {chance.choice((8, 16, -8, 1, 2000))}")
    return piece


def _not(make: PieceMaker, register: int) -> int:
    while (other := make.target()) == register:
        pass
    return other


def atomics(make: PieceMaker) -> Piece:
    """LR and SC with or without something between, and other atomics on the same place."""
    chance = make.chance
    size, other = chance.choice(("w", "d")), chance.choice(("w", "d"))
    base = chance.choice((DATA, OTHER_DATA))
    between = [make.any() for _ in range(chance.choice((0, 0, 0, 1, 2)))]
    row = chance.choice(atomic_rows())
    amo = make.named(row, **{"s": base} if "s" in letters(table()[row]) else {})
    lr = make.named(f"lr_{size}", s=base)
    sc = make.named(f"sc_{size if chance.random() < 0.9 else other}", s=base)
    return chance.choice(([amo], [amo, amo], [lr, *between, sc], [lr, amo, sc], [sc]))


def loop(make: PieceMaker) -> Piece:
    """Back to what came before, as often as one register still says."""
    back = -4 * make.chance.choice((2, 3, 5, 8, 12, 20))
    return fixed(f"addi x{LOOPS}, x{LOOPS}, -1; bge x{LOOPS}, x0, {back} + 4")


def far(make: PieceMaker) -> Piece:
    """To some other program, mostly on another page."""
    chance = make.chance
    place = 4 * chance.randrange(-2000, 2000)
    link = chance.choice((0, 1, 1, 5))
    return chance.choice((fixed(f"jal x{link}, {place}"), fixed("ret"), fixed("jalr x1, 0(x1)")))


def call(make: PieceMaker) -> Piece:
    return [*fixed("jal x1, 12"), make.any(), *fixed("j 12"), make.any(), *fixed("ret")]


def table_jump(make: PieceMaker) -> Piece:
    """An indirect jump that knows where it is, with more than one target."""
    over = fixed("auipc x5, 0; andi x6, x10, 4; add x5, x5, x6; jalr x0, 16(x5)")
    return [*over, make.any(), make.any()]


def rounding(make: PieceMaker) -> Piece:
    chance = make.chance
    csr = chance.choice(("frm", "fcsr", "fflags"))
    mode = chance.choice((0, 1, 2, 3, 4, 4, 5, 7)) << 5 * (csr == "fcsr") & 0x1F
    begin = fixed(f"csrrwi x{chance.choice((0, 7))}, {csr}, {mode}")
    end = fixed(chance.choice(("csrrw x7, fflags, x0", "csrrs x9, fcsr, x0", "csrrwi x0, frm, 0")))
    return [*begin, *floats(make), *end]


def _status(make: PieceMaker) -> str:
    return make.chance.choice(("mstatus", "sstatus", "sstatus"))


def float_csrs(make: PieceMaker) -> Piece:
    """fflags, frm and fcsr in every form, between instructions that raise flags."""
    chance = make.chance
    piece = floats(make)
    for _ in range(chance.randrange(1, 5)):
        form = chance.choice(("csrrw", "csrrs", "csrrc"))
        operand = f"x{chance.choice((0, make.register()))}"
        if chance.random() < 0.4:
            form, operand = form + "i", str(chance.choice((0, 1, 2, 16, 31)))
        csr = chance.choice(("fflags", "fflags", "frm", "fcsr"))
        piece += fixed(f"{form} x{chance.choice((0, make.target()))}, {csr}, {operand}")
        piece += floats(make)[:2]
    if chance.random() < 0.7:  # else most modes are none that the host has
        piece += fixed("csrrwi x0, frm, 0")
    return piece


def unit_off(make: PieceMaker) -> Piece:
    """FS to off, initial, clean, and back to dirty."""
    chance, status = make.chance, _status(make)
    left = FS(chance.choice((1, 2, 3)))
    off = f"lui x5, {FS(3) >> 12}; csrc {status}, x5; lui x6, {left >> 12}"
    use = [make.any() for _ in range(chance.choice((0, 1, 3)))]
    on = f"csrs {status}, x6"
    return [
        *fixed(off),
        *floats(make)[:1] * (chance.random() < 0.2),
        *fixed(on),
        *floats(make),
        *use,
    ]


def permissions(make: PieceMaker) -> Piece:
    """SUM, MXR and MPRV change around accesses."""
    chance, status = make.chance, _status(make)
    bits = chance.choice((SUM(1), SUM(1), MXR(1), SUM(1) | MXR(1), MPRV(1), MPRV(1) | SUM(1)))
    first, then = chance.choice((("s", "c"), ("c", "s"), ("s", "s")))
    begin = fixed(f"lui x7, {bits >> 12}; csr{first} {status}, x7")
    return [*begin, *accesses(make), *fixed(f"lui x7, {bits >> 12}; csr{then} {status}, x7")]


def other_space(make: PieceMaker) -> Piece:
    """The other address space: the same code, other data."""
    swap = fixed(f"csrrw x{OTHER_ROOT}, satp, x{OTHER_ROOT}")
    fence = ("sfence.vma x0, x0", "sfence.vma x31, x0", "sfence.vma x26, x5", "hfence.vvma x0, x0")
    fenced = fixed(make.chance.choice(fence)) * (make.chance.random() < 0.3)
    back = swap * (make.chance.random() < 0.5)
    return [*swap, *fenced, *accesses(make), *back]


#: x6 points to the leaf entry of the page that a register points into
ENTRY = "srli x6, x{of}, 9; andi x6, x6, 0x7f8; add x6, x6, x{leaves}; ld x5, 0(x6)"
#: both address spaces of a hypervisor; traps in a guest, which needs no more than its own
ALL_FENCES = "sfence.vma x0, x0; hfence.vvma x0, x0"
#: the pages of the entry at x6 and of the next, where the supervisor has them: the table is mapped
#: 3 GiB behind the first page that it maps
TWO_FENCES = """sub x7, x6, x{leaves}; slli x7, x7, 9; add x7, x7, x{leaves}
    lui x6, 0xc0000; add x7, x7, x6; add x7, x7, x6; add x7, x7, x6
    sfence.vma x7, x0; hfence.vvma x7, x0
    lui x6, 1; add x7, x7, x6; sfence.vma x7, x0; hfence.vvma x7, x0"""


def other_leaf(make: PieceMaker) -> Piece:
    """Two pages change places, or a leaf loses a bit for a while, with the fences that it takes.

    Nothing that the change is about may be reached between the store and the fence, for that might
    go by the old leaf or by the new one. Fetches do, where the page has code.
    """
    chance = make.chance
    of, leaves = chance.choice(((CODE, CODE_LEAVES), (DATA, LEAVES), (DATA, LEAVES)))
    begin = fixed(ENTRY.format(of=of, leaves=leaves))
    fence = chance.choice((ALL_FENCES, TWO_FENCES.format(leaves=leaves)))
    if chance.random() < 0.5:
        swap = fixed(f"ld x7, 8(x6); sd x7, 0(x6); sd x5, 8(x6); {fence}")
        return [*begin, *swap, *(accesses(make) if of == DATA else plain(make))]
    bit = chance.choice((PTE_W, PTE_R | PTE_W, PTE_U, PTE_A, PTE_D, PTE_X))
    change = fixed(f"xori x5, x5, {bit}; sd x5, 0(x6); {fence}")
    used = accesses(make) if of == DATA else fixed(f"jalr x1, 8(x{CODE})") * chance.getrandbits(1)
    return [*begin, *change, *used, *begin, *change]


def returns(make: PieceMaker) -> Piece:
    """sret or mret to the next instruction, in any mode."""
    chance = make.chance
    letter = chance.choice("sssm")
    set_bits = f"li x5, {chance.choice((SPP(1) | SPIE(1), SPP(1), SPIE(1)))}; csrs sstatus, x5"
    clear_bits = f"li x5, {SPP(1)}; csrc sstatus, x5"
    virtual = "li x5, 0x80; csrs hstatus, x5"
    change = chance.choice((set_bits, set_bits, clear_bits, f"{set_bits}; {virtual}"))
    if letter == "m":
        mode = MPP(chance.choice((0, 1, 1, 3))) | MPV(chance.random() < 0.3) | FS(3)
        change = f"li x5, {mode}; csrw mstatus, x5"
    return fixed(f"{change}; auipc x5, 0; addi x5, x5, 16; csrw {letter}epc, x5; {letter}ret")


def calls_above(make: PieceMaker) -> Piece:
    return fixed(make.chance.choice(("ecall", "ecall", "ebreak")))


def changes_code(make: PieceMaker) -> Piece:
    """Stores an instruction that data holds, behind itself or somewhere in a program."""
    chance = make.chance
    load = f"lw x5, {4 * chance.randrange(-512, 512)}(x{DATA})"
    if chance.random() < 0.5:
        source = f"{load}; sw x5, {4 * chance.randrange(-20, 20)}(x{CODE})"
    else:
        source = f"{load}; auipc x6, 0; sw x5, {4 * chance.choice((1, 2, 3, 5, 9))}(x6)"
    return [*fixed(source), *fixed("fence.i") * (chance.random() < 0.6)]


def system(make: PieceMaker) -> Piece:
    return [make.named(make.chance.choice(groups()["system"]))]


def illegal(make: PieceMaker) -> Piece:
    return [make.chance.choice(ILLEGAL)]


def short_branches(make: PieceMaker) -> Piece:
    """Forward over one or two, on a comparison just made."""
    chance = make.chance
    skipped = [make.any() for _ in range(chance.choice((1, 1, 2)))]
    name = chance.choice(("beq", "bne", "blt", "bge", "bltu", "bgeu"))
    one, two = make.register(), make.register()
    branch = asm(f"{name} x{one}, x{two}, {4 + 4 * len(skipped)}").to_bytes(4, "little")
    return [branch, *skipped]


WEIGHTS: dict[Callable[[PieceMaker], Piece], int] = {
    plain: 50,
    floats: 8,
    accesses: 12,
    atomics: 4,
    loop: 5,
    far: 1,
    call: 2,
    table_jump: 1,
    rounding: 3,
    float_csrs: 3,
    unit_off: 1,
    permissions: 2,
    other_space: 2,
    other_leaf: 1,
    returns: 3,
    calls_above: 1,
    changes_code: 1,
    system: 2,
    illegal: 1,
    short_branches: 5,
}
PIECES = 4000
KINDS, SHARES = tuple(WEIGHTS), tuple(WEIGHTS.values())


@dataclass(frozen=True)
class Pool:
    """What programs are made of."""

    pieces: list[Piece]
    fenceless: list[Piece]  # without those that need a fence
    code: bytes

    @classmethod
    @lru_cache(2)
    def of(cls, number: int) -> Pool:
        chance = Random(f"pieces {number}")
        make = PieceMaker(chance)
        kinds = chance.choices(KINDS, SHARES, k=PIECES)
        found = [kind(make) for kind in kinds]
        both = zip(kinds, found, strict=True)
        fenceless = [piece for kind, piece in both if kind is not other_leaf]
        return cls(found, fenceless, b"".join(slot for piece in found for slot in piece))
