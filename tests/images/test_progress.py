"""What takes long is told, also where no terminal is."""

from __future__ import annotations

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
    time = Time()
    monkeypatch.setattr(progress, "time", time)
    with progress.bar(True, decimal) as bar:
        task = bar.add_task("fetching it", total=112_000_000)
        for tenths in range(200):  # seconds: 20
            time.now = tenths / 10
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


def test_a_step_goes_on_until_it_is_over(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.001)
    err = ""
    with progress.step("making it"):
        while err.count("\n") < 3:
            err += capfd.readouterr().err
    first, *more = err[: err.rindex("\n")].splitlines()  # the last one may still be on its way
    assert first == "rvvm: making it" and set(more) <= {"rvvm: making it: 0 s"} | {
        f"rvvm: making it: {seconds} s" for seconds in range(1, 100)
    }


def test_nothing_where_nothing_is_to_be_shown(capfd: pytest.CaptureFixture[str]) -> None:
    with progress.bar(False, str) as bar, progress.step("x", False):
        bar.advance(bar.add_task("y", total=3))
    assert capfd.readouterr() == ("", "")
