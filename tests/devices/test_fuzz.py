"""No access of any width at any offset makes a device raise, or answer what does not fit."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from contextlib import nullcontext

import pytest

from board.fake_core import FakeHart, FakeSystem
from devices.access import Guest
from rvvm.py.devices.clint import Clint
from rvvm.py.devices.device import Device, Target
from rvvm.py.devices.goldfish_rtc import GoldfishRtc
from rvvm.py.devices.htif import Htif
from rvvm.py.devices.plic import Plic
from rvvm.py.devices.sifive_test import SifiveTest
from rvvm.py.devices.syscon import Syscon
from rvvm.py.devices.uart import Uart
from rvvm.py.devices.virtio.balloon import Balloon
from rvvm.py.devices.virtio.block import Block
from rvvm.py.devices.virtio.console import Console, Port
from rvvm.py.devices.virtio.entropy import Entropy
from rvvm.py.devices.virtio.function import Function
from rvvm.py.devices.virtio.mmio import VirtioMmio
from rvvm.py.devices.virtio.network import Network
from rvvm.py.devices.virtio.ram import Ram
from rvvm.py.devices.virtio.vsock import Vsock
from rvvm.py.host import Clock
from rvvm.py.net.gate import Gate
from rvvm.py.net.link import Link
from rvvm.py.net.offload import Views
from rvvm.py.stream import MemoryStream
from rvvm.py.tree import Region

SYSTEM = FakeSystem()
SYSTEM.add_ram(0x8000_0000, 0x1_0000)
HARTS = [FakeHart(0, "i"), FakeHart(1, "i")]


class NoDisk:
    """Bytes that nobody keeps."""

    name, size, read_only = "none", 1 << 20, False

    def ignore(self, *_: object) -> None:
        pass

    read = write = flush = discard = zero = close = ignore


class Unheard(Link):
    """Frames come from nowhere and go there."""

    def __init__(self) -> None:
        pass

    def send(self, frames: Sequence[Views]) -> bool:
        return True

    def ignore(self, *_: object) -> None:
        pass

    accept = start = room = close = ignore  # type: ignore[assignment]


class NoGate(Gate):
    """Nobody at the other end."""

    def __init__(self) -> None:
        pass

    def dial(self, port: int) -> None:
        return None

    def ignore(self, *_: object) -> None:
        pass

    start = close = ignore  # type: ignore[assignment]


def _with_ram(function: Function) -> Function:
    function.attach(Ram(SYSTEM, [Region(0x8000_0000, 0x1_0000)]), lambda text: None, nullcontext())
    return function


DEVICES = {
    "uart": (lambda: Uart(), 0x100),
    "uart, reg-shift 2": (lambda: Uart(shift=2), 0x100),
    "plic": (lambda: Plic(95, 4), 0x60_0000),
    "clint": (lambda: Clint(SYSTEM, [Target(h, n) for h in HARTS for n in (3, 7)]), 0x1_0000),
    "syscon": (lambda: Syscon(4), 0x1000),
    "test": (lambda: SifiveTest(lambda code: None, lambda: None), 0x1000),
    "rtc": (lambda: GoldfishRtc(Clock(lambda: 10**18)), 0x1000),
    "virtio, empty": (lambda: VirtioMmio(), 0x1000),
    "virtio, entropy": (lambda: VirtioMmio(_with_ram(Entropy())), 0x1000),
    "virtio, block": (lambda: VirtioMmio(_with_ram(Block(NoDisk(), queues=3))), 0x1000),
    "virtio, console": (
        lambda: VirtioMmio(_with_ram(Console([Port(MemoryStream()), Port(MemoryStream(), "x")]))),
        0x1000,
    ),
    "virtio, balloon": (lambda: VirtioMmio(_with_ram(Balloon(reports=True))), 0x1000),
    "virtio, network": (lambda: VirtioMmio(_with_ram(Network(Unheard(), bytes(6)))), 0x1000),
    "virtio, vsock": (lambda: VirtioMmio(_with_ram(Vsock(NoGate(), 3))), 0x1000),
    "htif": (lambda: Htif(SYSTEM, lambda code: None), 0x10),
}


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("seed", range(2))
def test_random_accesses(name: str, seed: int) -> None:
    make, size = DEVICES[name]
    device, rng = make(), random.Random(seed)
    guest = Guest(device)
    offsets = [place.offset for place in device.places()]
    for _ in range(4000):
        width = rng.choice((1, 2, 4, 8))
        if rng.random() < 0.8:
            offset = max(0, rng.choice(offsets) + rng.choice((0, 0, 0, 1, 2, 4, -1, -4)))
        else:
            offset = rng.randrange(size)
        if rng.random() < 0.5:
            assert 0 <= guest.load(offset, width) < 1 << 8 * width
        else:
            guest.store(offset, rng.choice((0, 1, rng.getrandbits(8 * width))), width)
    restored = make()
    restored.load_state(device.state())
    assert restored.state() == device.state()
    device.reset()
    expected: Device = make()
    assert device.state() == expected.state()


@pytest.mark.parametrize(
    ("name", "offset", "width"),
    [("uart", 5, 1), ("uart", 7, 1), ("clint", 0xBFF8, 8), ("plic", 0x20_0000, 4)],
)
def test_an_access_is_cheap(name: str, offset: int, width: int) -> None:
    """About a microsecond: a few calls. Calls are counted, as time depends on who else runs."""
    guest = Guest(DEVICES[name][0]())
    calls: list[str] = []
    sys.setprofile(lambda frame, event, what: calls.append(event))
    guest.read(offset, width)
    sys.setprofile(None)
    assert len([event for event in calls if event in ("call", "c_call")]) <= 30, calls
