"""Unicorn behind the Engine contract, as far as it goes: one hart, RV64GC, machine mode.

What it lacks or does wrong is listed in ``HOLES``; a test runs each entry's probe, so that an
entry which a newer unicorn makes obsolete is noticed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import unicorn as _unicorn
from unicorn import riscv_const as names

from rvvm import _core
from rvvm.py.engines.engine import Exit
from rvvm.py.tree import Region
from rvvm.py.views.registers import FLOATING, FLOATING_NUMBER, INTEGER, INTEGER_NUMBER

unicorn: Any = _unicorn  # its annotations are partial

ReadWindow = Callable[[int, int], int]
WriteWindow = Callable[[int, int, int], None]

_PAGE = 0x1000
_FS_DIRTY = 3 << 13
_FETCH_FAULT, _BREAKPOINT, _LOAD_FAULT, _STORE_FAULT = 1, 3, 5, 7
_ECALL_FROM_U, _ECALL_FROM_M = 8, 11
_CAUSES = {
    unicorn.UC_ERR_READ_UNMAPPED: _LOAD_FAULT,
    unicorn.UC_ERR_WRITE_UNMAPPED: _STORE_FAULT,
    unicorn.UC_ERR_FETCH_UNMAPPED: _FETCH_FAULT,
    unicorn.UC_ERR_INSN_INVALID: _BREAKPOINT,  # what is illegal comes through the hook
}
_X = [names.UC_RISCV_REG_X0 + number for number in range(32)]
_F = [names.UC_RISCV_REG_F0 + number for number in range(32)]
_CSRS = {
    "fflags": names.UC_RISCV_REG_FFLAGS,
    "frm": names.UC_RISCV_REG_FRM,
    "mscratch": names.UC_RISCV_REG_MSCRATCH,
}
_NUMBERS = {
    "pc": names.UC_RISCV_REG_PC,
    **{name: _X[number] for name, number in INTEGER_NUMBER.items()},
    **{name: _F[number] for name, number in FLOATING_NUMBER.items()},
    **_CSRS,
}
_NOWHERE = (1 << 64) - 1


@dataclass
class Mmio:
    """A device's window: page-aligned base and size in bytes, and the calls the core makes too."""

    region: Region
    read: ReadWindow
    write: WriteWindow


class UnicornEngine:
    """A copy of a hart's registers, over RAM that is shared with whoever gives it.

    ``rams`` pairs each region with its bytes, writable; the engine stores to them directly.
    """

    name = "unicorn"

    def __init__(
        self, rams: Sequence[tuple[Region, memoryview]], windows: Sequence[Mmio] = ()
    ) -> None:
        self._uc = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV64)
        self._rams = dict(rams)
        self._buffers: list[Any] = []  # unicorn keeps only the address
        self._trap: int | None = None
        for region, data in rams:
            buffer = (ctypes.c_char * region.size).from_buffer(data)
            self._buffers.append(buffer)
            self._uc.mem_map_ptr(
                region.base, region.size, unicorn.UC_PROT_ALL, ctypes.addressof(buffer)
            )
        for window in windows:
            self._map(window)
        self._uc.hook_add(unicorn.UC_HOOK_INTR, self._on_trap)
        self._uc.reg_write(names.UC_RISCV_REG_MSTATUS, _FS_DIRTY)

    def _map(self, window: Mmio) -> None:
        size = (window.region.size + _PAGE - 1) & -_PAGE
        limit = window.region.size

        def read(_uc: Any, offset: int, width: int, _data: Any) -> int:
            return window.read(offset, width) if offset < limit else 0

        def write(_uc: Any, offset: int, width: int, value: int, _data: Any) -> None:
            if offset < limit:
                window.write(offset, width, value)

        self._uc.mmio_map(window.region.base, size, read, None, write, None)

    # The contract.

    def run(self, budget: int) -> Exit:
        """Up to ``budget`` instructions; a trap is not entered but ends the run, at its pc."""
        self._trap = None
        try:
            self._uc.emu_start(self.pc, _NOWHERE, count=budget)
        except unicorn.UcError as error:
            if error.errno not in _CAUSES:
                raise
            return Exit("trap", detail=_CAUSES[error.errno])
        if self._trap is None:
            return Exit("budget")
        self.pc -= 4  # unicorn steps over what trapped, by 4 even when it was compressed
        return Exit("trap", detail=self._trap)

    def _on_trap(self, uc: Any, number: int, _data: Any) -> None:
        """Unicorn reports any ecall as one from U-mode."""
        self._trap = _ECALL_FROM_M if number == _ECALL_FROM_U else number
        uc.emu_stop()

    def stop(self) -> None:
        """From a device: come back after this instruction."""
        self._uc.emu_stop()

    def registers(self) -> Mapping[str, int]:
        """pc, x, f, fflags, frm and mscratch."""
        read = self._uc.reg_read
        values = {"pc": self.pc}
        values |= {name: read(_X[number]) for number, name in enumerate(INTEGER) if number}
        values |= {name: read(_F[number]) for number, name in enumerate(FLOATING)}
        return values | {name: read(number) for name, number in _CSRS.items()}

    def rams(self) -> Sequence[Region]:
        """As given."""
        return list(self._rams)

    def ram(self, region: Region) -> memoryview:
        """The shared bytes."""
        return self._rams[region]

    def close(self) -> None:
        """It keeps nothing of RAM, and runs no more. Unicorn's object holds itself by its
        callbacks, and has no other way to end before Python's garbage collector comes."""
        self._uc._Uc__finalizer()
        self._uc = None
        self._buffers.clear()
        self._rams.clear()

    # The state, in and out.

    @property
    def pc(self) -> int:
        """Address of the next instruction."""
        return int(self._uc.reg_read(names.UC_RISCV_REG_PC))

    @pc.setter
    def pc(self, address: int) -> None:
        self._uc.reg_write(names.UC_RISCV_REG_PC, address)

    def set_register(self, name: str, value: int) -> None:
        """Write one of ``registers()``."""
        self._uc.reg_write(_NUMBERS[name], value)

    def load(self, hart: _core.Hart) -> None:
        """Take over a hart's pc, x, f and fcsr."""
        self.pc = hart.pc
        for number in range(32):
            self._uc.reg_write(_X[number], hart.x(number))
        if "f" in hart.extensions:
            for number in range(32):
                self._uc.reg_write(_F[number], hart.f(number))

    def save(self, hart: _core.Hart) -> None:
        """Give them back, so that the hart shows where this engine is."""
        hart.pc = self.pc
        for number in range(1, 32):
            hart.set_x(number, self._uc.reg_read(_X[number]))
        if "f" in hart.extensions:
            for number in range(32):
                hart.set_f(number, self._uc.reg_read(_F[number]))

    def forget_code(self) -> None:
        """Drop translations, after somebody else wrote to RAM."""
        self._uc.ctl_flush_tb()


@dataclass(frozen=True)
class Hole:
    """Something not compared with unicorn, and a probe that shows why.

    ``code`` runs on the registers in ``given``; the manual wants ``right``, and unicorn does
    otherwise (it traps, or gives another value). ``extensions`` are missing as a whole: unicorn
    is right about none of their instructions.
    """

    what: str
    reason: str
    code: tuple[int, ...]
    right: Mapping[str, int]
    given: Mapping[str, int] = field(default_factory=dict)
    extensions: tuple[str, ...] = ()


def open_holes() -> list[Hole]:
    """The entries of ``HOLES`` that this unicorn still has."""
    return [hole for hole in HOLES if not _is_right(hole)]


def _is_right(hole: Hole) -> bool:
    code = b"".join(word.to_bytes(4, "little") for word in hole.code)
    region = Region(0x8000_0000, 0x2000)
    memory = bytearray(code.ljust(region.size, b"\0"))
    engine = UnicornEngine([(region, memoryview(memory))])
    engine.pc = region.base
    for name, value in hole.given.items():
        engine.set_register(name, value)
    stop = engine.run(len(hole.code))
    now = engine.registers()
    return stop.reason == "budget" and all(now[name] == hole.right[name] for name in hole.right)


_word = partial(int, base=16)
_ONE_SINGLE, _ONE_DOUBLE, _BOX = 0x3F80_0000, 0x3FF0 << 48, 0xFFFF_FFFF << 32
_QUIET_NAN_SINGLE, _QUIET_NAN_DOUBLE = 0x7FC0_0000, 0x7FF8 << 48
_SIGNALLING_NAN_DOUBLE, _INFINITY_DOUBLE = (0x7FF0 << 48) | 1, 0x7FF0 << 48
_NV = 1 << 4

HOLES = (
    Hole(
        "Zba, Zbb, Zbc, Zbs and the other bit-manipulation sets",
        "unicorn's QEMU (5.0) is older than them: illegal instruction",
        (_word("20c5a533"),),  # sh1add a0, a1, a2
        {"a0": 4},
        {"a1": 1, "a2": 2},
        ("zba", "zbb", "zbc", "zbs", "zbkb", "zbkc", "zbkx"),
    ),
    Hole(
        "Zicond",
        "as Zba",
        (_word("0ec5d533"),),  # czero.eqz a0, a1, a2
        {"a0": 1},
        {"a1": 1, "a2": 2},
        ("zicond",),
    ),
    Hole(
        "Zacas and Zabha",
        "as Zba",
        (_word("28b6252f"),),  # amocas.w a0, a1, (a2)
        {"a0": 0x28B6_252F},
        {"a2": 0x8000_0000},
        ("zacas", "zabha"),
    ),
    Hole(
        "Zimop and Zcmop",
        "as Zba",
        (_word("81c5c573"),),  # mop.r.0 a0, a1
        {"a0": 0},
        {"a0": 1},
        ("zimop", "zcmop"),
    ),
    Hole(
        "Zcb",
        "newer too, but it does not trap: the instruction does nothing",
        (_word("00019d75"),),  # c.not a0; c.nop
        {"a0": _NOWHERE},
        {},
        ("zcb",),
    ),
    Hole(
        "Zicbom and Zicboz",
        "as Zba",
        (_word("0045200f"),),  # cbo.zero (a0)
        {"pc": 0x8000_0004},
        {"a0": 0x8000_1000},
        ("zicbom", "zicboz"),
    ),
    Hole(
        "the time CSR",
        "machine mode reads it on our harts; unicorn has no clock there: illegal instruction",
        (_word("c0102573"),),  # csrr a0, time
        {"pc": 0x8000_0004},
    ),
    Hole(
        "Smstateen, menvcfg and what came after privileged 1.11",
        "unknown CSRs: illegal instruction",
        (_word("30a02573"),),  # csrr a0, menvcfg
        {"a0": 0},
    ),
    Hole(
        "the hypervisor extension",
        "only a draft is there, and off: illegal instruction",
        (_word("6805c573"),),  # hlv.w a0, (a1)
        {"a0": 0x6805_C573},
        {"a1": 0x8000_0000},
    ),
    Hole(
        "traps",
        "they are reported to the host, not entered: mepc, mcause and the handler never see them",
        (
            _word("00000517"),  # auipc a0, 0
            _word("01050513"),  # addi a0, a0, 16
            _word("30551073"),  # csrw mtvec, a0
            _word("00000073"),  # ecall
            _word("342025f3"),  # csrr a1, mcause
        ),
        {"a1": _ECALL_FROM_M},
    ),
    Hole(
        "NaN boxing of single-precision operands",
        "an operand that is not boxed must read as the canonical NaN (F chapter, NaN boxing)",
        (_word("00c5f553"),),  # fadd.s fa0, fa1, fa2
        {"fa0": _BOX | _QUIET_NAN_SINGLE},
        {"fa1": _ONE_SINGLE, "fa2": _BOX | _ONE_SINGLE},
    ),
    Hole(
        "NaN boxing of single-precision results",
        "results are not boxed in the upper half",
        (_word("00c5f553"),),  # fadd.s fa0, fa1, fa2
        {"fa0": _BOX | 0x4000_0000},
        {"fa1": _BOX | _ONE_SINGLE, "fa2": _BOX | _ONE_SINGLE},
    ),
    Hole(
        "fmin and fmax of a signalling NaN and a number",
        "the number is the result since version 2.2 of F (IEEE 754-2019 minimumNumber)",
        (_word("2ac58553"),),  # fmin.d fa0, fa1, fa2
        {"fa0": _ONE_DOUBLE, "fflags": _NV},
        {"fa1": _SIGNALLING_NAN_DOUBLE, "fa2": _ONE_DOUBLE},
    ),
    Hole(
        "NV of infinity times zero plus a quiet NaN",
        "the F chapter asks for the invalid flag even though the addend is a quiet NaN",
        (_word("6ac5f543"),),  # fmadd.d fa0, fa1, fa2, fa3
        {"fa0": _QUIET_NAN_DOUBLE, "fflags": _NV},
        {"fa1": _INFINITY_DOUBLE, "fa2": 0, "fa3": _QUIET_NAN_DOUBLE},
    ),
)
