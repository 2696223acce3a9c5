"""Endless loops for a bare hart: no firmware, no devices, nothing but an engine at work.

Also a program, as light as can be, for a profiler that counts each instruction: it loads the
core's file alone. ``bare.py CORE IMAGE COUNT PC...`` runs a new hart from each PC.
"""

from __future__ import annotations

import sys
from typing import Any

RAM = 0x8000_0000
RAM_SIZE = 1 << 20
EXTENSIONS = ("i", "m", "a", "f", "d", "c", "zicsr", "zifencei", "zicntr", "sv39")
LOOPS = (
    *("alu", "muldiv", "branches", "calls", "indirect", "memory", "paged_memory"),
    *("csr", "floating", "atomics"),
)
TOUCHES = ("touch_data", "touch_code")


def start(core: Any, image: bytes, pc: int) -> Any:
    """A system of one hart that is about to execute ``pc``."""
    system = core.System()
    system.add_ram(RAM, RAM_SIZE)
    system.add_hart(0, EXTENSIONS).pc = pc
    system.write(RAM, image)
    return system


def run(core: Any, image: bytes, pc: int, count: int) -> Any:
    """Run ``count`` instructions of the loop at ``pc``; they never trap."""
    system = start(core, image, pc)
    stop = system.run(count)
    (hart,) = system.harts
    if stop.reason != "budget" or hart.traps or hart.instret != count:
        raise RuntimeError(f"loop at {pc:#x}: {stop.reason}, {hart.traps} traps, {hart.instret}")
    return system


def _main(core_file: str, image_file: str, count: str, *pcs: str) -> None:
    from importlib.machinery import ExtensionFileLoader
    from importlib.util import module_from_spec, spec_from_loader

    loader = ExtensionFileLoader("_core", core_file)
    spec = spec_from_loader("_core", loader)
    assert spec
    core = module_from_spec(spec)
    loader.exec_module(core)
    with open(image_file, "rb") as file:
        image = file.read()
    for pc in pcs:
        run(core, image, int(pc, 0), int(count))


if __name__ == "__main__":
    _main(*sys.argv[1:])
