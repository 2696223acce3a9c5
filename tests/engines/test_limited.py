"""A share of a host processor, on a host whose clocks the test turns: no real time passes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from rvvm.py.engines import limited
from rvvm.py.engines.limited import Limited

SLACK = 0.03  # seconds that may be saved up (_BURST), and a slice


class Busy:
    """A host of which each thread gets one ``load``-th, and an engine that spins or waits there."""

    def __init__(self, load: float, waits: float = 0) -> None:
        self.load, self.waits = load, waits
        self.now = self.used = 0.0
        self.calls = 0

    def run(self, budget: int | None) -> SimpleNamespace:
        """A nanosecond an instruction; then the guest waits for an interrupt, if it is of those."""
        assert budget is not None
        self.calls += 1
        used = budget / 1e9
        self.used += used
        self.now += used * self.load + self.waits
        return SimpleNamespace(reason="budget")

    def pause(self) -> None:
        raise AssertionError("nobody asked")

    def sleep(self, seconds: float) -> bool:
        self.now += seconds
        return False


def share_of(share: float, host: Busy, monkeypatch: pytest.MonkeyPatch) -> float:
    """What it used of a hundred seconds."""
    clocks = SimpleNamespace(monotonic=lambda: host.now, thread_time=lambda: host.used)
    events = SimpleNamespace(wait=host.sleep, clear=lambda: None)
    monkeypatch.setattr(limited, "time", clocks)
    monkeypatch.setattr(limited, "threading", SimpleNamespace(Event=lambda: events))
    engine = Limited(host, share)
    while host.now < 100:
        engine.run()
    return host.used / host.now


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("load", [1, 1.5, 20])
def test_a_guest_that_spins_gets_its_share(
    share: float, load: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it where the host has that much to give, and never more."""
    host = Busy(load)
    got = share_of(share, host, monkeypatch)
    assert got <= share + SLACK / host.now
    assert got >= 0.99 * min(share, 1 / load) - SLACK / host.now
    assert host.calls < 100 / 0.002, "in slices of milliseconds"


def test_a_guest_that_waits_is_not_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It uses less than its share, so it never waits for time besides."""
    host = Busy(1, waits=0.1)
    host.sleep = pytest.fail  # type: ignore[assignment]
    assert share_of(0.2, host, monkeypatch) < 0.2
