"""The CLINT's map and what its registers do to the harts."""

from __future__ import annotations

import pytest

from board.fake_core import FakeHart, FakeSystem
from devices.access import Guest
from rvvm.py.devices.clint import Clint
from rvvm.py.devices.device import Target

MSIP, MTIMECMP, MTIME = 0, 0x4000, 0xBFF8
NEVER = (1 << 64) - 1


@pytest.fixture
def system() -> FakeSystem:
    return FakeSystem()


@pytest.fixture
def harts() -> list[FakeHart]:
    return [FakeHart(identity, "i") for identity in (0, 1, 4)]


@pytest.fixture
def clint(system: FakeSystem, harts: list[FakeHart]) -> Clint:
    return Clint(system, [Target(hart, number) for hart in harts for number in (3, 7)])


@pytest.fixture
def guest(clint: Clint) -> Guest:
    return Guest(clint)


def test_msip_is_one_bit(guest: Guest, harts: list[FakeHart]) -> None:
    guest.store(MSIP + 4, 0xFFFF_FFFF)
    assert guest.load(MSIP + 4) == 1
    assert [hart.interrupts.get(3) for hart in harts] == [None, True, None]
    guest.store(MSIP + 4, 0xFFFF_FFFE)
    assert harts[1].interrupts[3] is False


def test_index_is_the_hart_id(guest: Guest, harts: list[FakeHart]) -> None:
    guest.store(MSIP + 16, 1)
    assert harts[2].interrupts == {3: True}
    guest.store(MSIP + 8, 1)  # no hart 2: the register is there, no wire is
    guest.store(MSIP + 20, 1)
    assert guest.load(MSIP + 20) == 0


def test_index_counts_from_the_first_hart(system: FakeSystem) -> None:
    hart = FakeHart(6, "i")
    guest = Guest(Clint(system, [Target(hart, 3), Target(hart, 7)], first=5))
    guest.store(MSIP + 4, 1)
    guest.store(MTIMECMP + 8, 9, width=8)
    assert hart.interrupts == {3: True} and hart.deadline == 9


def test_mtimecmp(guest: Guest, harts: list[FakeHart]) -> None:
    assert guest.load(MTIMECMP, 8) == NEVER
    guest.store(MTIMECMP + 8, 0x1_0000_0002, width=8)
    assert harts[1].deadline == 0x1_0000_0002 == guest.load(MTIMECMP + 8, 8)


def test_mtimecmp_in_halves(guest: Guest, harts: list[FakeHart]) -> None:
    guest.store(MTIMECMP, 0x1234)
    assert harts[0].deadline == 0xFFFF_FFFF_0000_1234
    guest.store(MTIMECMP + 4, 5)
    assert harts[0].deadline == 0x5_0000_1234
    assert (guest.load(MTIMECMP), guest.load(MTIMECMP + 4)) == (0x1234, 5)


def test_mtime(guest: Guest, system: FakeSystem) -> None:
    system.time = 0x1_2345_6789
    assert guest.load(MTIME, 8) == 0x1_2345_6789
    assert (guest.load(MTIME), guest.load(MTIME + 4)) == (0x2345_6789, 1)
    guest.store(MTIME + 4, 9)
    assert system.time == 0x9_2345_6789
    guest.store(MTIME, 7, width=8)
    assert system.time == 7


def test_only_what_the_tree_wires(system: FakeSystem, harts: list[FakeHart]) -> None:
    guest = Guest(Clint(system, [Target(harts[0], 7)]))
    guest.store(MSIP, 1)
    guest.store(MTIMECMP, 5, width=8)
    assert harts[0].interrupts == {} and harts[0].deadline == 5


def test_reset(clint: Clint, guest: Guest, harts: list[FakeHart]) -> None:
    guest.store(MSIP, 1)
    guest.store(MTIMECMP, 5, width=8)
    clint.reset()
    assert harts[0].interrupts == {3: False} and harts[0].deadline == NEVER
