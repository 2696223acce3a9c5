"""Machine code as a listing: address, symbol, bytes, and capstone's text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from rvvm.py.views.table import Hex, Table

if TYPE_CHECKING:
    import capstone

# BITMANIP would cover these too, but together with ZB* it raises CS_ERR_MODE.
_EXTENSIONS = ("C", "A", "FD", "V", "ZBA", "ZBB", "ZBC", "ZBS", "ZBKB")

Namer = Callable[[int], str]


@dataclass(frozen=True)
class Line:
    """One instruction: ``bits`` are its 2 or 4 bytes as a little-endian integer."""

    address: int
    bits: int
    size: int
    text: str
    symbol: str = ""


@cache
def _capstone() -> capstone.Cs:
    import capstone  # takes longer to import than a board to make

    modes = (getattr(capstone, f"CS_MODE_RISCV_{name}") for name in _EXTENSIONS)
    return capstone.Cs(capstone.CS_ARCH_RISCV, capstone.CS_MODE_RISCV64 | sum(modes))


def instruction_size(low: int) -> int:
    """2 or 4, from the low byte: unprivileged manual, section 1.5."""
    return 4 if low & 3 == 3 else 2


def disassemble(code: bytes, address: int, count: int, name: Namer | None = None) -> list[Line]:
    """Up to ``count`` instructions from ``code``, which lies at ``address``.

    What capstone does not know is shown as ``.4byte`` or ``.2byte``, and the listing goes on.

    >>> [line.text for line in disassemble(bytes.fromhex("130515000100"), 0x1000, 2)]
    ['addi a0, a0, 1', 'nop']
    """
    lines: list[Line] = []
    offset = 0
    while len(lines) < count and offset + 2 <= len(code):
        size = instruction_size(code[offset])
        piece = code[offset : offset + size]
        if len(piece) < size:
            break
        at = address + offset
        symbol = name(at) if name else ""
        bits = int.from_bytes(piece, "little")
        lines.append(Line(Hex(at), Hex(bits), size, _text(piece, at), symbol))
        offset += size
    return lines


def _text(piece: bytes, address: int) -> str:
    for instruction in _capstone().disasm(piece, address, 1):
        return f"{instruction.mnemonic} {instruction.op_str}".strip()
    return f".{len(piece)}byte {int.from_bytes(piece, 'little'):#x}"


class Listing(list[Line]):
    """Lines of code that print as a listing; the one at ``pc`` is marked."""

    def __init__(self, lines: list[Line], pc: int | None = None) -> None:
        super().__init__(lines)
        self.pc = pc

    def table(self) -> Table:
        """Address, symbol, bytes and text of every line."""
        rows = [
            (f"{line.address:x}", line.symbol, f"{line.bits:0{line.size * 2}x}", line.text)
            for line in self
        ]
        marked = {index for index, line in enumerate(self) if line.address == self.pc}
        return Table("", ("address", "symbol", "bytes", "instruction"), rows, marked)

    def __repr__(self) -> str:
        return self.table().text()

    def _repr_html_(self) -> str:
        return self.table().html()
