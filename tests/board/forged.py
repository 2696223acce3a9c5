"""Devicetrees that nobody would write: each is one line, or a board.

PYTHONPATH=.:tests .venv/bin/python -m board.forged --seconds 300
"""

from __future__ import annotations

import argparse
import random
import struct
import tempfile
import time
from pathlib import Path

import rvvm
from rvvm.py import dtb, fdt
from rvvm.py.resources import resource
from rvvm.py.tree import Node, Tree

CELLS = (0, 1, 2, 3, 4, 5, 16, 0x1000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)
NAMES = (
    "reg", "ranges", "interrupts", "interrupts-extended", "interrupt-map", "interrupt-map-mask",
    "#address-cells", "#size-cells", "#interrupt-cells", "phandle", "interrupt-parent", "status",
    "compatible", "riscv,isa", "riscv,isa-extensions", "mmu-type", "device_type", "reg-shift",
    "riscv,ndev", "regmap", "offset", "value", "timebase-frequency", "stdout-path",
)  # fmt: skip


def value(rng: random.Random, old: bytes) -> bytes:
    """Another value for a property."""
    data = bytearray(old)
    act = rng.randrange(7)
    if act == 0:
        return bytes(data[: rng.randrange(len(data) + 1)])
    if act == 1:
        return bytes(data) * rng.choice((2, 3, 100))
    if act == 2 and data:
        data[rng.randrange(len(data))] = rng.randrange(256)
    elif act == 3 and len(data) >= 4:
        struct.pack_into(">I", data, 4 * rng.randrange(len(data) // 4), rng.choice(CELLS))
    elif act == 4:
        return b"".join(struct.pack(">I", rng.choice(CELLS)) for _ in range(rng.randrange(9)))
    elif act == 5:
        return rng.randbytes(rng.randrange(9))
    else:
        return rng.choice(
            (b"", b"\0", b"okay\0", b"memory\0", b"ns16550a\0", b"\xff\0", b"x" * 5000)
        )
    return bytes(data)


def change(rng: random.Random, tree: Tree) -> None:
    """One change somewhere."""
    node = rng.choice(list(tree.walk()))
    act = rng.random()
    if act < 0.7 and node.properties:
        prop = rng.choice(list(node.properties.values()))
        prop.value = value(rng, prop.value)
    elif act < 0.8:
        node.delete(rng.choice([*node.properties, *node.children, "none"]))
    elif act < 0.9:
        node.set(rng.choice(NAMES), value(rng, bytes(4)))
    else:
        other = rng.choice(list(tree.walk()))
        name = f"{other.name or 'root'}.{rng.randrange(1000)}"
        copy = Node(name, node, node.source)
        node.children[name] = copy
        for prop in other.properties.values():
            copy.set(prop.name, prop.value)


def blob(rng: random.Random, base: Tree) -> bytes:
    """A tree with changes; sometimes its bytes are changed, too."""
    tree = base.copy()
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        change(rng, tree)
    data = bytearray(dtb.export(tree))
    if rng.random() < 0.3:
        for _ in range(rng.choice((1, 1, 4, 30))):
            at = rng.randrange(rng.choice((60, len(data))))
            data[at] = rng.choice((0, 1, 2, 0xFF, rng.randrange(256)))
        del data[rng.choice((len(data), rng.randrange(len(data)))) :]
    return bytes(data)


def check(path: Path) -> bool:
    """One line, or a board; whether it is one."""
    kernel = resource("firmware/hello.elf")
    try:
        with rvvm.Machine(dtb=path, kernel=kernel, bios="none", drive=path) as machine:
            machine.run(until=rvvm.instructions(20_000), timeout=20)
            machine.fork().close()
    except rvvm.UserError as error:
        assert "\n" not in str(error)
        return False
    return True


def run(folder: Path, seconds: float, first: int = 0) -> None:
    """Try seeds from ``first`` for so long."""
    boards = [fdt.load(resource(f"devicetree/{name}.dts")) for name in ("virt", "spike")]
    path = folder / "board.dtb"
    begun, seed, made = time.monotonic(), first, 0
    while time.monotonic() - begun < seconds:
        started = time.monotonic()
        rng = random.Random(seed)
        path.write_bytes(blob(rng, rng.choice(boards)))
        try:
            made += check(path)
        except BaseException:
            print("seed", seed)
            raise
        if time.monotonic() - started > 10:
            print("seed", seed, "took", time.monotonic() - started, flush=True)
        seed += 1
    print(f"{seed - first} trees, of which {made} were boards")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), arguments.seconds, arguments.seed)
