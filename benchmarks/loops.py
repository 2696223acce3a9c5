"""The bare loops compiled: an image for the start of RAM, and where each loop begins."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import bare
from rvvm.py.errors import UserError
from rvvm.py.program import read_program

SOURCE = Path(__file__).with_name("bare") / "loops.S"
SCRIPT = Path(__file__).parents[1] / "firmware/lib/bare.ld"
FLAGS = ("-target", "riscv64-freestanding-none", "-mcpu=baseline_rv64", "-nostdlib", "-static")


@dataclass(frozen=True)
class Loops:
    """What runs, and from where."""

    image: bytes
    starts: Mapping[str, int]
    touches: Mapping[str, int]
    """What `benchmarks.mmu` runs."""


def build() -> Loops:
    """Assemble and link the loops with zig."""
    with tempfile.TemporaryDirectory() as folder:
        elf = Path(folder) / "loops.elf"
        link = [f"-Wl,-T,{SCRIPT}", f"-Wl,-e,{bare.LOOPS[0]}", "-o", str(elf)]
        command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, *link, str(SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise UserError(f"the loops do not assemble: {done.stderr[-500:]}")
        program = read_program(elf, "loops")
    text = program.segments[0]
    assert text.address == bare.RAM
    starts, touches = (
        {name: program.symbols[name] for name in names} for names in (bare.LOOPS, bare.TOUCHES)
    )
    return Loops(text.data, starts, touches)
