"""Debian's kernel on several harts, each on a thread of its own."""

from __future__ import annotations

import re
import time

import pytest

import rvvm

pytestmark = pytest.mark.xdist_group("debian")
PROMPT = re.compile(r"[#$] $")
LONG = pytest.mark.long


def two_seconds(machine: rvvm.Machine) -> float:
    """The host's processor time that two seconds of the guest cost."""
    begun = time.process_time()
    machine.run(until=rvvm.seconds(2))
    return time.process_time() - begun


@pytest.mark.parametrize("accel", ["auto", pytest.param("interp", marks=LONG)])
@pytest.mark.parametrize("harts", [2, *(pytest.param(n, marks=LONG) for n in (1, 4, 8))])
def test_debian(harts: int, accel: str) -> None:
    """To the shell, programs on all harts, idle without cost, and power-off."""
    machine = rvvm.Machine(kernel="debian", memory="512M", harts=harts, accel=accel)
    machine.console.expect(PROMPT, timeout=600)
    work = " ".join(["dd if=/dev/zero bs=64k count=200 2>&- | md5sum &"] * (2 * harts))
    machine.console.send(f"nproc; ({work} wait) | sort -u | wc -l; echo end=$?\n")
    printed = machine.console.expect(re.compile(r"end=0\r?\n"), timeout=300)
    assert re.findall(r"^\d+\r?$", printed, re.MULTILINE)[:2] == [f"{harts}\r", "1\r"], printed
    machine.console.expect(PROMPT, timeout=60)
    # Behind the prompt the kernel has work of its own, which takes longer on a busy host.
    assert any(two_seconds(machine) < 0.2 for _ in range(60))
    machine.console.send("poweroff -f\n")
    stop = machine.run(timeout=120)
    assert (stop.reason, stop.detail) == ("halt", 0)
