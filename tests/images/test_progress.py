"""What takes long is told, also where no terminal is."""

from __future__ import annotations

import time

import pytest
from rich.filesize import decimal

from rvvm.py import progress


class Time:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_a_line_when_it_begins_and_every_few_seconds(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Time()
    monkeypatch.setattr(progress, "time", clock)
    with progress.bar(True, decimal) as bar:
        task = bar.add_task("fetching it", total=112_000_000)
        for tenths in range(200):  # seconds: 20
            clock.now = tenths / 10
            bar.update(task, completed=tenths * 500_000)
        bar.update(task, description="unpacking it")
        bar.advance(task)
    out, err = capfd.readouterr()
    assert (out, err.splitlines()) == (
        "",
        [
            "rvvm: fetching it: 112.0 MB",
            "rvvm: fetching it: 25.0 MB of 112.0 MB",
            "rvvm: fetching it: 50.0 MB of 112.0 MB",
            "rvvm: fetching it: 75.0 MB of 112.0 MB",
            "rvvm: unpacking it: 99.5 MB of 112.0 MB",
        ],
    )


def test_a_step_goes_on_until_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(progress, "EVERY", 0.001)
    monkeypatch.setattr(progress, "_say", said.append)
    with progress.step("making it"):
        while len(said) < 3:
            time.sleep(0.001)
    first, *more = said
    assert first == "making it"
    assert set(more) <= {f"making it: {seconds} s" for seconds in range(100)}


def test_nothing_where_nothing_is_to_be_shown(capfd: pytest.CaptureFixture[str]) -> None:
    with progress.bar(False, str) as bar, progress.step("x", False):
        bar.advance(bar.add_task("y", total=3))
    assert capfd.readouterr() == ("", "")
