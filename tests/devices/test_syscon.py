"""Power-off and reboot: the SiFive test finisher and a plain syscon."""

from __future__ import annotations

import pytest

from devices.access import Guest
from rvvm.py.devices.sifive_test import SifiveTest
from rvvm.py.devices.syscon import Rule, Syscon, SysconPoweroff


@pytest.fixture
def calls() -> list[object]:
    return []


@pytest.fixture
def finisher(calls: list[object]) -> Guest:
    return Guest(SifiveTest(calls.append, lambda: calls.append("reboot")))


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (0x5555, 0),
        (0x0007_3333, 7),
        (0xFFFF_3333, 0xFFFF),
        (0x3333, 1),
        (0x7777, "reboot"),
    ],
)
def test_finisher(finisher: Guest, calls: list[object], value: int, what: object) -> None:
    finisher.store(0, value)
    assert calls == [what]


def test_finisher_takes_halfwords(finisher: Guest, calls: list[object]) -> None:
    finisher.store(0, 0x5555, width=2)
    assert calls == [0]


def test_finisher_ignores_the_rest(finisher: Guest, calls: list[object]) -> None:
    finisher.store(0, 0x1234)
    finisher.store(4, 0x5555)
    assert calls == [] and finisher.load(0) == 0x1234


def test_syscon_is_words_that_keep_their_values(calls: list[object]) -> None:
    syscon = Syscon(size=4)
    SysconPoweroff(syscon, Rule(1, 0xFF, 0x55, calls.append))
    guest = Guest(syscon)
    guest.store(0, 0x55)
    guest.store(8, 0xDEADBEEF)
    assert calls == [] and guest.load(8) == 0xDEADBEEF and guest.load(16) == 0
    guest.store(4, 0x1155)
    assert calls == [0x1155], "only the bits under the mask count"
