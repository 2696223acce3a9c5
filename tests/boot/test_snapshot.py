"""Debian at any moment: what goes on from there does what the original does, to the bit."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import rvvm
from machine.moments import all_of, check_goes_on

pytestmark = [pytest.mark.xdist_group("debian")]
PROMPT = re.compile(r"[#$] $")
BOOT = 1_400_000_000
"""Instructions to the prompt, modules and all."""
WORK = "dd if=/dev/vda bs=64k | md5sum; dd if=/dev/hwrng bs=64 count=99 | md5sum; echo x >/dev/vda"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(random.Random(1).randbytes(8 << 20))
    return path


def made(image: Path, **options: object) -> rvvm.Machine:
    return rvvm.Machine(
        kernel="debian",
        memory="256M",
        append="console=ttyS0 quiet rvvm.modules=virtio_blk,virtio_rng",
        drive=f"file={image},bus=pci",
        device="virtio-rng,bus=pci",
        clock="instructions",
        **options,
    )


def moments(machine: rvvm.Machine, pick: random.Random, count: int) -> Iterator[int]:
    """Random moments of the boot, then as many of disk and random bytes in use."""
    edges = sorted(pick.randrange(BOOT) for _ in range(count))
    for before, edge in zip([0, *edges], edges, strict=False):
        machine.run(until=rvvm.instructions(edge - before + 1), timeout=600)
        yield edge
    machine.console.expect("~ # ", timeout=600)
    machine.console.send(f"while true; do {WORK}; done\n")
    for _ in range(count):
        machine.run(until=rvvm.instructions(pick.randrange(200_000_000)), timeout=600)
        yield machine.instret


@pytest.mark.long
@pytest.mark.parametrize("accel", ["interp", "auto"])
@pytest.mark.parametrize("harts", [1, 2])
def test_any_moment(image: Path, harts: int, accel: str, tmp_path: Path) -> None:
    pick = random.Random(f"{harts} {accel}")
    machine = made(image, harts=harts, accel=accel)
    for _ in moments(machine, pick, 6):
        budgets = [pick.randrange(1, 300_000), 3_000_000, pick.randrange(30_000_000)]
        check_goes_on(machine, budgets, tmp_path / "saved")
    (disk,) = (it.function for it in machine.board.host.cards if hasattr(it.function, "disk"))
    assert disk.queues[0].state()["position"][0], "it was used"


@pytest.mark.long
def test_engines_go_on_from_each_other(image: Path, tmp_path: Path) -> None:
    """What the interpreter saved the translator loads, and they stay the same machine."""
    machine = made(image, accel="interp")
    for moment in (200_000_000, 700_000_000):
        machine.run(until=rvvm.instructions(moment), timeout=600)
        machine.save(tmp_path / "saved")
        other = rvvm.Machine.load(tmp_path / "saved", accel="auto")
        for one in (machine, other):
            one.run(until=rvvm.instructions(50_000_000), timeout=600)
        assert all_of(machine) == all_of(other)


def test_a_prompt_comes_back(tmp_path: Path) -> None:
    """With the host's time and harts on threads: commands work after each way to go on."""
    machine = rvvm.Machine(kernel="debian", memory="256M", append="console=ttyS0 quiet", harts=2)
    machine.console.expect(PROMPT, timeout=600)
    snapshot = machine.snapshot()
    machine.save(tmp_path / "saved")

    def answers(one: rvvm.Machine, word: str) -> None:
        one.console.send(f"cat /tmp/* 2>&-; echo {word} > /tmp/{word}; sleep 0.1; date +%Y\n")
        said = one.console.expect(re.compile(r"20\d\d\r?\n"), timeout=120)
        found = {name for name in ("other", "a", "b") if f"\n{name}\r\n" in said}
        assert not found, "a file of another machine"
        one.console.expect(PROMPT, timeout=120)

    answers(machine, "other")
    machine.restore(snapshot)
    for word, one in (("a", machine), ("b", rvvm.Machine.load(tmp_path / "saved"))):
        answers(one, word)
    machine.restore(snapshot)
    clones = [machine.fork() for _ in range(3)]
    for clone in clones:
        answers(clone, "c")
