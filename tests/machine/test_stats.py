"""What the engine says it has done, and what it tells Linux perf."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import rvvm
from machine import elves
from rvvm import _core

LOOP = """
    _start: li a0, 3000000
    again: addi a0, a0, -1
    bnez a0, again
    li a1, 0x100000
    li a2, 0x5555
    sw a2, 0(a1)
    end: j end
"""


def machine(tmp_path: Path, **options: object) -> rvvm.Machine:
    program = elves.write(tmp_path / "program.elf", LOOP)
    m = rvvm.Machine(kernel=program, bios="none", memory="16M", **options)
    m.run(timeout=60)
    return m


@pytest.mark.parametrize("accel", ["interp", "jit"])
def test_counters(tmp_path: Path, accel: str) -> None:
    stats = machine(tmp_path, accel=accel, clock="instructions").stats()
    assert stats["instructions"] > 6_000_000
    assert (stats["units"] > 0) == (accel == "jit")
    assert stats["slow_stores"] > 0, "of the device that ends the machine"
    assert stats["flushes_fence_all"] == 0
    exits = sum(stats[f"exits_{why}"] for why in ("budget", "attention", "trap", "target"))
    assert exits == stats["entries"]
    assert "instructions" in repr(stats) and "flushes_fence_all" not in repr(stats)
    if accel == "jit":
        assert 1 < stats.bytes_an_instruction < 500 and stats["translation_ns"] > 0


@pytest.mark.parametrize("accel", ["interp", "jit"])
def test_the_hottest_place_is_the_loop(tmp_path: Path, accel: str) -> None:
    m = machine(tmp_path, accel=accel, clock="instructions")
    hottest = m.stats().hottest(3)
    assert hottest[0].share > 0.9
    assert hottest[0].address == m.address("again") & -64
    assert sum(place.share for place in hottest) <= 1


def test_perf_map(tmp_path: Path) -> None:
    path = Path(f"/tmp/perf-{os.getpid()}.map")
    path.unlink(missing_ok=True)
    machine(tmp_path, accel="jit", perf_map=True)
    lines = path.read_text().splitlines()
    path.unlink()
    parsed = [
        re.fullmatch("([0-9a-f]+) ([0-9a-f]+) (rvvm_thunks|guest_[0-9a-f]+)", x) for x in lines
    ]
    assert all(parsed) and len(parsed) > 1
    regions = sorted((int(m[1], 16), int(m[2], 16)) for m in parsed if m)
    for (start, size), (next_start, _) in zip(regions, regions[1:], strict=False):
        assert size > 0 and start + size <= next_start
    assert lines[0].endswith("rvvm_thunks")


def test_perf_takes_names_from_its_map(tmp_path: Path) -> None:
    """It looks there for code in memory that no file has, which is named so."""
    m = machine(tmp_path, accel="jit", perf_map=True)
    assert m.stats()["units"]
    path = Path(f"/tmp/perf-{os.getpid()}.map")
    unit = int(path.read_text().splitlines()[-1].split()[0], 16)
    path.unlink()
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(x, 16) for x in line.split()[0].split("-"))
        if start <= unit < end:
            assert line.split()[1].startswith("r-x") and "/dev/zero" in line
            return
    pytest.fail("not mapped")


def test_samples_take_bounded_memory() -> None:
    """A guest that is everywhere does not fill the host, nor hide where it is most."""
    rare = [pc for round in range(3) for pc in range(30_000)]
    pcs = [pc for k, pc in enumerate(rare) for pc in ([pc, 1 << 40] if k % 10 == 0 else [pc])]
    kept = _core.count_samples(pcs)
    assert len(kept) <= 16384
    assert max(kept, key=lambda pc: kept[pc]) == 1 << 40
    assert _core.count_samples([1, 2, 1]) == {1: 2, 2: 1}
