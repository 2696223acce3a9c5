"""Programs that no linker makes: ELF files, Linux images and gzip files with other bytes. Each is
one line, or is placed in RAM.

    PYTHONPATH=.:tests .venv/bin/python -m machine.forged_programs --seconds 300
"""

from __future__ import annotations

import argparse
import gzip
import random
import struct
import tempfile
import time
from pathlib import Path

from machine import elves
from rvvm.py import boot
from rvvm.py.errors import UserError
from rvvm.py.resources import resource
from rvvm.py.tree import Region

RAM = Region(0x8000_0000, 4 << 20)
NUMBERS = (0, 1, 2, 56, 64, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 1 << 32, (1 << 63) - 1, (1 << 64) - 1)
PROGRAMS_AT, PROGRAM_SIZE = 64, 56


def linux(rng: random.Random) -> bytes:
    """A Linux image's header before noise."""
    offset, size = rng.choice((0, 0x20_0000, *NUMBERS)), rng.choice((0, 0x1000, *NUMBERS))
    header = struct.pack(
        "<II QQQ II Q 8s 4s I", 0, 0, offset, size, 0, 2, 0, 0, b"RISCV", b"RSC\5", 0
    )
    return header + rng.randbytes(rng.randrange(3000))


def elf(rng: random.Random, whole: bytes) -> bytes:
    """An ELF with some numbers replaced, most often in its headers."""
    data = bytearray(rng.choice((whole, elves.elf(b"c" * 64, symbols={"main": 5, "x": 6}))))
    sections = struct.unpack_from("<Q", data, 40)[0]
    for _ in range(rng.choice((1, 1, 2, 5))):
        base, size = rng.choice(((0, 64), (PROGRAMS_AT, 2 * PROGRAM_SIZE), (sections, 64 * 12)))
        form, width = rng.choice((("<H", 2), ("<I", 4), ("<Q", 8)))
        at = min(base + rng.randrange(size) // width * width, len(data) - width)
        number = rng.choice((*NUMBERS, rng.getrandbits(64)))
        struct.pack_into(form, data, at, number & (1 << 8 * width) - 1)
    return bytes(data[: rng.choice((len(data), rng.randrange(len(data) + 1)))])


def program(rng: random.Random, whole: bytes) -> bytes:
    data = linux(rng) if rng.random() < 0.1 else elf(rng, whole)
    if rng.random() < 0.3:
        packed = bytearray(gzip.compress(data, 1))
        if rng.random() < 0.7:
            packed[rng.randrange(len(packed))] = rng.randrange(256)
        data = bytes(packed) * rng.choice((1, 1, 2)) + bytes(rng.choice((0, 0, 5)))
    return data


def check(path: Path) -> bool:
    """Whether it has a place in RAM; nothing of it is outside."""
    try:
        plan = boot.make_plan(boot.Images(kernel=path), [RAM], 0)
    except UserError as error:
        assert "\n" not in str(error)
        return False
    assert all(RAM.base <= it.address and it.end <= RAM.end for it in plan.segments)
    assert sum(len(it.data) for it in plan.segments) <= RAM.size
    assert all(len(it.data) <= it.size for it in plan.segments)
    return True


def run(folder: Path, seconds: float, first: int = 0) -> None:
    """Try seeds from ``first`` for so long."""
    whole = resource("firmware/hello.elf").read_bytes()
    path = folder / "program"
    begun, seed, placed = time.monotonic(), first, 0
    while time.monotonic() - begun < seconds:
        path.write_bytes(program(random.Random(seed), whole))
        try:
            placed += check(path)
        except BaseException:
            print("seed", seed)
            raise
        seed += 1
    print(f"{seed - first} programs, of which {placed} have a place")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), arguments.seconds, arguments.seed)
