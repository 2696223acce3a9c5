"""A balloon in Debian: the host has the memory of what is in it."""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import rvvm
from rvvm.py.devices.virtio.balloon import Balloon

pytestmark = [pytest.mark.xdist_group("debian"), pytest.mark.long]
PROMPT = re.compile(r"[#$] $")
PAGE = 4096


def boot(device: str) -> rvvm.Machine:
    machine = rvvm.Machine(
        kernel="debian",
        memory="512M",
        append="console=ttyS0 quiet rvvm.modules=virtio_balloon",
        device=device,
    )
    machine.console.expect(PROMPT, timeout=600)
    return machine


def shell(machine: rvvm.Machine, command: str, timeout: float = 120) -> str:
    machine.console.send(f"{command}; echo status=$?\n")
    text = machine.console.expect(re.compile(r"status=(\d+)\r?\n"), timeout)
    machine.console.expect(PROMPT, timeout)
    return text


def resident() -> int:
    """Bytes of this process in the host's memory, without machines that nobody has any more."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def free(machine: rvvm.Machine) -> int:
    text = shell(machine, "cat /proc/meminfo")
    return int(re.findall(r"MemFree: +(\d+)", text)[0]) << 10


def until(machine: rvvm.Machine, condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        machine.run(until=rvvm.seconds(0.2))


TAKE = "dd if=/dev/zero of=/tmp/x bs=1M count=200 2>/dev/null"
GIVE = "rm /tmp/x"
FILL = f"{TAKE}; {GIVE}"


def test_a_balloon() -> None:
    machine = boot("virtio-balloon")
    (balloon,) = machine.board.functions
    assert isinstance(balloon, Balloon)
    shell(machine, FILL)
    before, had = resident(), free(machine)
    balloon.target = 256 << 20
    until(machine, lambda: balloon.actual == 256 << 20)
    assert had - free(machine) > 200 << 20
    assert before - resident() > 150 << 20, "the host has it back"
    balloon.statistics.clear()
    balloon.ask()
    until(machine, lambda: bool(balloon.statistics))
    assert abs(balloon.statistics["free"] - free(machine)) < 32 << 20
    balloon.target = 512 << 20
    until(machine, lambda: balloon.actual == 512 << 20)
    assert abs(free(machine) - had) < 64 << 20
    assert "status=0" in shell(machine, FILL), "what comes back is memory"


def test_free_pages_are_reported() -> None:
    machine = boot("virtio-balloon,free-page-reporting=on")
    before = resident()
    shell(machine, TAKE)
    assert resident() - before > 150 << 20
    shell(machine, GIVE)
    until(machine, lambda: resident() - before < 100 << 20)
