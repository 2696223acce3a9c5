"""Capstone as the judge of what bits mean, and words drawn from the core's own rows."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from random import Random

import capstone

PC = 0x1000
_MODES = "RISCV64 RISCV_C RISCV_A RISCV_FD RISCV_ZBA RISCV_ZBB RISCV_ZBC RISCV_ZBS"
_MODES += " RISCV_ZBKB RISCV_ZBKC RISCV_ZBKX"


@cache
def _disassembler() -> capstone.Cs:
    mode = 0
    for name in _MODES.split():
        mode |= getattr(capstone, f"CS_MODE_{name}")
    judge = capstone.Cs(capstone.CS_ARCH_RISCV, mode)
    judge.syntax = capstone.CS_OPT_SYNTAX_UNCOMPRESSED_REAL
    return judge


def text_of(word: int, length: int) -> str | None:
    """What capstone reads, without aliases and with compressed instructions expanded."""
    found = list(_disassembler().disasm_lite(word.to_bytes(length, "little"), PC))
    if not found or found[0][1] != length:
        return None
    return f"{found[0][2]} {found[0][3]}".strip()


def _free_bits(bits: str) -> int:
    """The positions of the operands; bits that are ignored stay zero."""
    digits = bits.replace(" ", "")
    return int("".join("0" if digit in "01-" else "1" for digit in digits), 2)


def _reserved(row: dict[str, object], word: int) -> bool:
    """Operands that make a well-formed encoding reserved: Zacas's odd pairs, F's rm 5 and 6."""
    if row["name"] == "amocas_q":
        return bool(word >> 7 & 1 or word >> 20 & 1)
    return "m" in str(row["bits"]) and word >> 12 & 7 in (5, 6)


def words(row: dict[str, object], count: int) -> Iterator[int]:
    """Encodings of a row with random operands, the same ones every time."""
    random = Random(str(row["name"]))
    free, match = _free_bits(str(row["bits"])), int(str(row["match"]))
    while count:
        word = match | random.getrandbits(32) & free
        if not _reserved(row, word):
            count -= 1
            yield word
