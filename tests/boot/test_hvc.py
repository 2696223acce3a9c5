"""Debian's console driver on a virtio port, in both directions."""

from __future__ import annotations

import re

import pytest

import rvvm
from rvvm.py.devices.pci.host import PciHost
from rvvm.py.stream import MemoryStream

pytestmark = pytest.mark.xdist_group("debian")
PROMPT = re.compile(r"[#$] $")


def streams(machine: rvvm.Machine) -> list[MemoryStream]:
    bridge = machine.board.devices["/soc/pci@30000000"]
    assert isinstance(bridge, PciHost)
    functions = [slot.function for slot in bridge.slots.values()]  # type: ignore[attr-defined]
    return [function.ports[0].stream for function in functions]


def test_a_console_and_a_named_port() -> None:
    machine = rvvm.Machine(
        kernel="debian",
        memory="256M",
        append="console=ttyS0 quiet",
        device=["virtio-console", "virtio-console,name=agent"],
    )
    machine.console.expect(PROMPT, timeout=600)
    console, agent = streams(machine)

    def shell(command: str) -> str:
        machine.console.send(f"{command}; echo status=$?\n")
        text = machine.console.expect(re.compile(r"status=(\d+)\r?\n"), 120)
        machine.console.expect(PROMPT, 120)
        return text

    shell("echo to the console > /dev/hvc0; echo from $(cat /sys/class/virtio-ports/*/name)")
    assert b"to the console" in console.output
    assert "from agent" in machine.console.text
    shell("port=/dev/$(basename $(dirname $(grep -l agent /sys/class/virtio-ports/*/name)))")
    agent.send(b"a question\n")
    assert "a question" in shell("head -n 1 $port; echo an answer > $port")
    assert agent.output == b"an answer\n"
    console.send(b"typed at hvc0\n")
    assert "typed at hvc0" in shell("head -n 1 < /dev/hvc0")
