"""Every device, given requests of random shape and content: at worst it stops until it is reset."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from devices.virtio.driver import BASE, INDIRECT, NEEDS_RESET, SIZE, Bench, Placed
from devices.virtio.test_network import Wire
from rvvm.py.devices.virtio.block import Block
from rvvm.py.devices.virtio.console import Console, Port
from rvvm.py.devices.virtio.entropy import Entropy
from rvvm.py.devices.virtio.function import Function
from rvvm.py.devices.virtio.network import Network
from rvvm.py.devices.virtio.shared_folder import SharedFolder
from rvvm.py.disk import open_disk
from rvvm.py.ninep import MESSAGES, Server
from rvvm.py.share import open_folder
from rvvm.py.stream import MemoryStream

Make = Callable[[Path], Function]
ROUNDS = 400


def _block(folder: Path) -> Function:
    (folder / "disk").write_bytes(bytes(1 << 20))
    return Block(open_disk(folder / "disk"), queues=2)


def _share(folder: Path) -> Function:
    (folder / "shared").mkdir()
    return SharedFolder(Server(open_folder(folder / "shared", read_only=False)), "tag")


DEVICES: dict[str, Make] = {
    "entropy": lambda _: Entropy(),
    "block": _block,
    "network": lambda _: Network(Wire(), bytes(6)),
    "console": lambda _: Console([Port(MemoryStream()), Port(MemoryStream(), "name")]),
    "share": _share,
}


def likely(name: str, rng: random.Random) -> bytes:
    """The begin of a request that gets past the first check."""
    if name == "block":
        return struct.pack("<IIQ", rng.choice((0, 1, 4, 8, 11, 13, 99)), 0, rng.randrange(3000))
    if name == "network":
        return struct.pack("<BBHHHHH", rng.randrange(4), 0, 0, 0, *rng.choices(range(99), k=3))
    if name == "console":
        return struct.pack("<IHH", rng.randrange(3), rng.randrange(8), rng.randrange(2))
    kind = rng.choice((*MESSAGES, 116, 118))
    return struct.pack("<IBHII", 99, kind, 1, rng.randrange(3), rng.randrange(3))


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
@pytest.mark.parametrize("name", DEVICES)
def test_random_requests(name: str, packed: bool, tmp_path: Path) -> None:
    rng = random.Random(f"{name} {packed}")
    function = DEVICES[name](tmp_path)
    it = Bench(function)
    served = 0
    for _ in range(ROUNDS):
        if it.status & NEEDS_RESET or not it.status:
            it.reports.clear()
            it.system._free = BASE + 0x1000
            it.start(it.offered() & ~(1 << 34) | INDIRECT, packed)
        queue = rng.randrange(len(it.queues))
        ring = it.queues[queue]
        reads = [
            likely(name, rng),
            *(rng.randbytes(rng.randrange(99)) for _ in range(rng.randrange(3))),
        ]
        writes = [rng.choice((0, 1, 7, 20, 600)) for _ in range(rng.randrange(4))]
        it.system._free = min(it.system._free, BASE + SIZE - 0x4000)
        ring.add(Placed(it.system, [*reads[rng.randrange(2) :], *writes] or [1]), indirect=True)
        it.kick(queue)
        served += len(ring.collect())
        if rng.random() < 0.1 or (rng.random() < 0.5 and served and len(ring.chains) > 8):
            it.guest.store(0x70, 0)
        it.acknowledge()
    assert served > 10
