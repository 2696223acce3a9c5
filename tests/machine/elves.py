"""ELF files made on the spot, so that tests need no compiler."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

from asm import assemble

RAM = 0x8000_0000
UART = 0x1000_0000
FINISHER = 0x10_0000
EM_RISCV, EM_X86_64 = 243, 62
_EXECUTABLE, _LOAD, _RWX = 2, 1, 7
_SYMTAB, _STRTAB = 2, 3
_GLOBAL_NOTYPE, _ABSOLUTE = 0x10, 0xFFF1
_HEADER = struct.Struct("<4s5B7x2HI3QI6H")
_PROGRAM = struct.Struct("<2I6Q")
_SECTION = struct.Struct("<2I4Q2I2Q")
_SYMBOL = struct.Struct("<I2BH2Q")


def elf(
    code: bytes,
    *,
    address: int = RAM,
    physical: int | None = None,
    entry: int | None = None,
    bss: int = 0,
    symbols: Mapping[str, int] | None = None,
    machine: int = EM_RISCV,
    bits: int = 64,
    kind: int = _EXECUTABLE,
) -> bytes:
    """A file of one segment, with a symbol table when there are symbols."""
    names = b"\0"
    table = _SYMBOL.pack(0, 0, 0, 0, 0, 0)
    for name, value in (symbols or {}).items():
        table += _SYMBOL.pack(len(names), _GLOBAL_NOTYPE, 0, _ABSOLUTE, value, 0)
        names += name.encode() + b"\0"
    section_names = b"\0.symtab\0.strtab\0.shstrtab\0"
    code_at = _HEADER.size + _PROGRAM.size
    table_at = code_at + len(code)
    names_at = table_at + len(table)
    section_names_at = names_at + len(names)
    sections_at = section_names_at + len(section_names)
    entry = address if entry is None else entry
    header = _HEADER.pack(
        *(b"\x7fELF", bits // 32, 1, 1, 0, 0, kind, machine, 1, entry, _HEADER.size),
        *(sections_at, 0, _HEADER.size, _PROGRAM.size, 1, _SECTION.size, 4, 3),
    )
    where = address if physical is None else physical
    size = len(code)
    program = _PROGRAM.pack(_LOAD, _RWX, code_at, address, where, size, size + bss, 1)
    sections = [
        _SECTION.pack(*[0] * 10),
        _SECTION.pack(1, _SYMTAB, 0, 0, table_at, len(table), 2, 1, 8, _SYMBOL.size),
        _SECTION.pack(9, _STRTAB, 0, 0, names_at, len(names), 0, 0, 1, 0),
        _SECTION.pack(17, _STRTAB, 0, 0, section_names_at, len(section_names), 0, 0, 1, 0),
    ]
    return header + program + code + table + names + section_names + b"".join(sections)


def write(path: Path, source: str, **options: object) -> Path:
    """Assemble ``source`` into an ELF file; its labels become symbols."""
    base = int(options.pop("address", RAM))  # type: ignore[call-overload]
    program = assemble(source, base, RAM=RAM, UART=UART, FINISHER=FINISHER)
    path.write_bytes(elf(program.code, address=base, symbols=program.labels, **options))  # type: ignore[arg-type]
    return path


END = """
    li      t0, FINISHER
    li      t1, 0x5555
    sw      t1, 0(t0)
stay:
    j       stay
"""

GREETING = (
    """
    li      s0, UART
    la      s1, message
next:
    lbu     a0, 0(s1)
    beqz    a0, done
    sb      a0, 0(s0)
    addi    s1, s1, 1
    j       next
done:
"""
    + END
    + """
message:
    .word   0x6c6c6548, 0x77202c6f, 0x646c726f, 0x0a
"""
)
"""Prints "Hello, world" on the UART and powers off."""

ECHO = (
    """
    li      s0, UART
wait:
    lbu     t0, 5(s0)
    andi    t0, t0, 1
    beqz    t0, wait
    lbu     a0, 0(s0)
    sb      a0, 0(s0)
    li      t1, 0x71        # q
    bne     a0, t1, wait
"""
    + END
)
"""Echoes what is typed, polling, until a q."""

SPINNER = (
    """
    li      s0, UART
    li      s1, 0x71        # q
turn:
    li      a0, 0x2e
    call    print
    li      t2, 5000
pause:
    addi    t2, t2, -1
    bnez    t2, pause
    lbu     t0, 5(s0)
    andi    t0, t0, 1
    beqz    t0, turn
    lbu     s2, 0(s0)
    li      a0, 0x3c
    call    print
    addi    a0, s2, 0
    call    print
    bne     s2, s1, turn
    j       done
print:
    lbu     t0, 5(s0)
    andi    t0, t0, 0x20
    beqz    t0, print
    sb      a0, 0(s0)
    ret
done:
"""
    + END
)
"""Prints a dot between two looks for a key, and each key behind a <, until a q."""

SPIN = """
start:
    addi    a0, a0, 1
    j       start
"""

FAIL = """
    li      t0, FINISHER
    li      t1, 0x73333
    sw      t1, 0(t0)
stay:
    j       stay
"""
"""Powers off with exit status 7."""

TOHOST = """
    la      t0, tohost
    li      t1, 7           # (3 << 1) | 1
    sd      t1, 0(t0)
stay:
    j       stay
    .align  6
tohost:
    .dword  0
fromhost:
    .dword  0
"""
"""Ends with exit status 3 as riscv-tests do."""

SIGNATURE = """
    la      t0, begin_signature
    li      t1, 0x11223344
    sw      t1, 0(t0)
    la      t0, tohost
    li      t1, 1
    sd      t1, 0(t0)
stay:
    j       stay
    .align  6
tohost:
    .dword  0
fromhost:
    .dword  0
begin_signature:
    .word   0xdeadbeef, 0xdeadbeef, 0xdeadbeef, 0xdeadbeef
end_signature:
    .word   0
"""
