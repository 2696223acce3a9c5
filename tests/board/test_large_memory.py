"""RAM that nobody uses takes nothing of the host's, however much of it there is."""

from __future__ import annotations

from pathlib import Path

from asm import assemble
from rvvm import _core

BASE, TIB = 0x8000_0000, 1 << 40
LITTLE = 64 << 20


def resident() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * 4096


def test_sixteen_tebibytes() -> None:
    before = resident()
    system = _core.System(accel="interp")
    system.add_ram(BASE, 16 * TIB)
    hart = system.add_hart(0, ["i"], BASE)
    code = assemble(
        "li t0, 0x80000000\n li t1, 1\n slli t1, t1, 43\n add t0, t0, t1\n sd t1, 0(t0)"
    )
    system.write(BASE, code.code)
    hart.step(len(code.code) // 4)
    assert system.read(BASE + 8 * TIB, 8) == (1 << 43).to_bytes(8, "little")
    assert resident() - before < LITTLE
