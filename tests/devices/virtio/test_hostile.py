"""Every device, given requests of random shape and content: at worst it stops until it is reset."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from devices.virtio import fuzz
from devices.virtio.driver import BASE, INDIRECT, NEEDS_RESET, SIZE, Bench, Placed
from devices.virtio.fuzz import DEVICES, likely

ROUNDS = 400


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


@pytest.mark.parametrize("session", range(2 * len(fuzz.DEVICES)))
def test_random_rings(session: int) -> None:
    """The first sessions of the fuzzer, which can run for longer."""
    fuzz.run(1, session)
