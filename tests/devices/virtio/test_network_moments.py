"""Frames that wait for a link, in a machine that goes on elsewhere."""

from __future__ import annotations

import pytest

from devices.virtio.driver import Placed
from devices.virtio.test_network import LAYOUTS, MRG, PLAIN, bench
from rvvm.py.host import Clock


@LAYOUTS
def test_what_a_full_link_held_goes_on_with_another(packed: bool) -> None:
    it, wire = bench(MRG, packed)
    device, wire.full = it.function, True
    frames = [bytes([number]) * 60 for number in range(3)]
    for frame in frames:
        it.queues[1].add(Placed(it.system, [PLAIN + frame]))
    it.kick(1)
    assert not wire.sent
    state = device.state()
    wire.full = False
    device.clock = Clock(lambda: 0)
    device.load_state(state)
    assert not wire.sent, "not before all of the machine is back"
    device.clock.poll()
    assert wire.sent == frames and len(it.queues[1].collect()) == 3
    device.load_state(device.state())
    assert device.clock.next_alarm is None


@pytest.mark.parametrize("kicked", [False, True])
def test_only_what_was_held_is_sent(kicked: bool) -> None:
    """Frames that the driver has not told of stay where they are."""
    it, wire = bench()
    it.function.clock = Clock(lambda: 0)
    it.queues[1].add(Placed(it.system, [PLAIN + bytes(60)]))
    if kicked:
        it.kick(1)
    it.function.load_state(it.function.state())
    it.function.clock.poll()
    assert len(wire.sent) == kicked
