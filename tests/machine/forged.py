"""Saved machines that nobody saved: parts with other values, and right checksums.

PYTHONPATH=.:tests .venv/bin/python -m machine.forged --seconds 300
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import rvvm
from rvvm.py import savefile
from rvvm.py.resources import resource

VALUES = (
    *(None, True, False, 0, 1, -1, 2, 3, 255, 256, 1 << 12, (1 << 31) - 1, 1 << 32, (1 << 63) - 1),
    *((1 << 64) - 1, 1 << 64, -(1 << 63), 10**40, 0.5, float("nan"), float("inf"), "", "x", "/"),
    *(
        "../../secret",
        "a\0b",
        "\ud800",
        "é" * 200,
        "\x1b[2J",
        "none",
        [],
        {},
        [[]],
        [0],
        {"$bytes": "00"},
    ),
    *({"$bytes": "x"}, {"$map": [[0, 0]]}, {"$map": 5}, "0" * 3000, [0] * 3000),
)
DEVICES = (
    "virtio-rng", "virtio-balloon,free-page-reporting=on", "virtio-console,name=agent",
    "virtio-rng,bus=mmio",
)  # fmt: skip


def save(path: Path, image: Path) -> None:
    """A machine with every kind of device that needs nothing of the host's."""
    with rvvm.Machine(
        kernel=resource("firmware/hello.elf"),
        bios="none",
        memory="4M",
        harts=2,
        clock="instructions",
        drive=f"{image},limit=1M,throttling.iops-total=100",
        netdev=f"socket,path={path.parent / 'net'}",
        share=f"{path.parent}:host",
        device=[*DEVICES, f"virtio-vsock,path={path.parent / 'vsock'}"],
        serial="null",
    ) as machine:
        machine.run(until=rvvm.instructions(20_000))
        machine.board.host.cards[0].function.disk.write([memoryview(b"1" * 4096)], 0)  # type: ignore[attr-defined]
        machine.save(path)


def places(data: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of each value in plain data."""
    items = data.items() if isinstance(data, dict) else enumerate(data)
    found = []
    for key, value in items:
        found.append((*at, key))
        if isinstance(value, dict | list):
            found += places(value, (*at, key))
    return found


def changed(rng: random.Random, data: Any) -> Any:
    """Plain data with some values replaced, left out or doubled."""
    data = copy.deepcopy(data)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        every = places(data)
        # Long lists of registers are not all that is to be tried.
        depth = rng.choice([len(path) for path in rng.sample(every, min(len(every), 30))])
        path = rng.choice([path for path in every if len(path) == depth])
        holder = data
        for key in path[:-1]:
            holder = holder[key]
        act = rng.random()
        if act < 0.1:
            del holder[path[-1]]
        elif act < 0.15 and isinstance(holder, list):
            holder.append(rng.choice(VALUES))
        elif act < 0.3 and type(holder[path[-1]]) is int:
            holder[path[-1]] ^= 1 << rng.randrange(64)
        else:
            holder[path[-1]] = copy.deepcopy(rng.choice(VALUES))
    return data


def forge(rng: random.Random, parts: list[tuple[bytes, bytes]], path: Path) -> None:
    """A file of these parts, one of them changed."""
    number = rng.randrange(len(parts))
    kind, data = parts[number]
    if kind in (b"info", b"stat"):
        data = json.dumps(changed(rng, json.loads(data))).encode()
    else:
        forged = bytearray(data)
        for _ in range(rng.choice((1, 1, 4, 30))):
            forged[rng.randrange(min(len(forged), rng.choice((16, 64, 4096))))] = rng.randrange(256)
        data = bytes(forged[: rng.choice((len(forged), rng.randrange(len(forged) + 1)))])
    new = [*parts[:number], (kind, data), *parts[number + 1 :]]
    if rng.random() < 0.05:
        rng.shuffle(new)
    with savefile.writing(path) as file:
        for kind, data in new:
            file.put(kind, data)


def check(path: Path) -> bool:
    """One line, or a machine that runs; whether it runs."""
    try:
        machine = rvvm.Machine.load(path)
    except rvvm.UserError as error:
        line = str(error)
        assert line and "\n" not in line and len(line) < 500 + len(str(path)), line
        return False
    with contextlib.suppress(rvvm.UserError), machine:
        try:
            machine.run(until=rvvm.instructions(3000), timeout=20)
            for _ in range(2):
                for device in machine.board.devices.values():
                    repr(device)
                machine.run(until=rvvm.instructions(20_000), timeout=20)
        except TimeoutError:
            assert all(hart.waiting for hart in machine.harts), "a guest may wait for ever"
        machine.save(path)
    return True


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RVVM_CACHE"] = folder
        run(Path(folder), arguments.seconds, arguments.seed)


def run(folder: Path, seconds: float, only: int | None = None, first: int = 0) -> None:
    """Try seeds from ``first`` for so long, or one of them."""
    (folder / "disk.img").write_bytes(bytes(64 << 10))
    save(folder / "saved", folder / "disk.img")
    parts = [(part.kind, part.data()) for part in savefile.read(folder / "saved")]
    begun, seed, ran = time.monotonic(), first if only is None else only, 0
    while time.monotonic() - begun < seconds:
        started = time.monotonic()
        forge(random.Random(seed), parts, folder / "forged")
        try:
            ran += check(folder / "forged")
        except BaseException:
            print("seed", seed)
            raise
        if time.monotonic() - started > 20:
            print("seed", seed, "took", time.monotonic() - started, flush=True)
        seed += 1
        if only is not None:
            break
    print(f"{seed - first} files, of which {ran} ran")


if __name__ == "__main__":
    main()
