"""Which engine a host has, whatever host this is."""

from __future__ import annotations

import platform
from functools import partial
from pathlib import Path

import pytest

import rvvm
from machine import elves
from rvvm import _core
from rvvm.py.cli import main


@pytest.fixture
def greeting(tmp_path: Path) -> str:
    return str(elves.write(tmp_path / "greeting.elf", elves.GREETING))


@pytest.fixture
def other_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of another architecture."""
    monkeypatch.setattr(_core, "System", partial(_core.System, host_lacks=["x86-64"]))


def test_the_fastest_engine_is_had() -> None:
    machine = rvvm.Machine()
    assert machine.system.accel == ("jit" if platform.machine() == "x86_64" else "interp")
    assert rvvm.Machine(accel="interp").slow_engine == ""


def test_other_hosts_interpret_and_say_so(
    other_host: None, greeting: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([greeting]) == 0
    said = capfd.readouterr()
    assert said.out == "Hello, world\n"
    assert said.err.endswith(" hosts have no translator: the interpreter runs\n")
    assert said.err.startswith("rvvm: ") and said.err.count("\n") == 1


def test_who_asks_for_the_interpreter_is_told_nothing(
    other_host: None, greeting: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["--accel", "interp", greeting]) == 0
    assert capfd.readouterr().err == ""


def test_the_translator_cannot_be_had_everywhere(
    other_host: None, greeting: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["--accel", "jit", greeting]) == 2
    assert capfd.readouterr().err == "rvvm: --accel jit: made for x86-64 hosts only\n"


def test_features_can_only_be_taken_away() -> None:
    with pytest.raises(ValueError, match="unknown host feature wings"):
        _core.System(host_lacks=["wings"])
