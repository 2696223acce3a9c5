"""Small trees for tests, written as a user would."""

from __future__ import annotations

import textwrap
from pathlib import Path

from rvvm.py import fdt
from rvvm.py.tree import Tree

ROOT = Path(__file__).resolve().parents[2]
BOARDS = sorted((ROOT / "devicetree").glob("*.dts"))
VIRT = ROOT / "devicetree/virt.dts"

CPU = """
cpus {
    #address-cells = <1>;
    #size-cells = <0>;
    cpu0: cpu@0 {
        device_type = "cpu"; reg = <0>; mmu-type = "riscv,sv39";
        riscv,isa-base = "rv64i"; riscv,isa-extensions = "i", "m", "a", "c";
        intc: interrupt-controller {
            compatible = "riscv,cpu-intc"; #interrupt-cells = <1>; interrupt-controller;
        };
    };
};
"""
MEMORY = 'memory@80000000 { device_type = "memory"; reg = <0 0x80000000 0 0x100000>; };'


def write(folder: Path, text: str, name: str = "board.dts") -> Path:
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


def tree(folder: Path, body: str) -> Tree:
    """A tree whose first line of ``body`` is line 3 of board.dts."""
    root = "/dts-v1/;\n/ { #address-cells = <2>; #size-cells = <2>;\n"
    return fdt.load(write(folder, root + textwrap.dedent(body).lstrip("\n") + "\n};\n"))
