"""Declarations, dispatch of accesses of any width, state as data."""

from __future__ import annotations

import pytest

from devices.access import Guest
from rvvm.py.devices.device import Device
from rvvm.py.register import Line, Register, Registers, State


class Sample(Device):
    control = Register(0x00, reset=0x11223344, ENABLE=0, MODE=(6, 4))
    status = Register(0x04, access="r", reset=0xFF)
    half = Register(0x08, width=2, writable=0x0FF0)
    data = Register(0x0C, access="r", width=1, stored=False)
    command = Register(0x0C, access="w", width=1, stored=False)
    wide = Register(0x10, width=8)
    table = Registers(0x20, count="entries", stride=8, reset=7)
    grid = Registers(0x40, count=(2, 3), stride=(0x10, 2), width=2)
    queue = State[list[int]](list)

    def __init__(self, entries: int = 2) -> None:
        self.entries = entries
        self.reads = 0
        super().__init__()
        self.irq = self.line()

    def on_data_read(self) -> int:
        self.reads += 1
        return self.queue.pop(0) if self.queue else 0

    def on_command_write(self, value: int) -> None:
        self.queue.append(value)
        self.irq.set(True)

    def on_grid_write(self, index: int, value: int) -> None:
        self.grid[index] = value + 1


@pytest.fixture
def device() -> Sample:
    return Sample()


@pytest.fixture
def guest(device: Sample) -> Guest:
    return Guest(device)


def test_reset_values_and_plain_store(device: Sample, guest: Guest) -> None:
    assert guest.load(0) == 0x11223344
    guest.store(0, 0xAABBCCDD)
    assert device.control == guest.load(0) == 0xAABBCCDD


def test_read_only_and_writable_bits(device: Sample, guest: Guest) -> None:
    guest.store(4, 0)
    assert device.status == 0xFF
    guest.store(8, 0xFFFF, width=2)
    assert device.half == 0x0FF0


def test_fields_are_masks() -> None:
    assert Sample.control.MODE == 0x70
    assert Sample.control.MODE.get(0x11223344) == 4
    with pytest.raises(AttributeError):
        _ = Sample.control.NOTHING


def test_read_and_write_registers_share_an_offset(device: Sample, guest: Guest) -> None:
    guest.store(0x0C, 5, width=1)
    assert device.irq.level
    assert guest.load(0x0C, width=1) == 5


@pytest.mark.parametrize(
    ("offset", "width", "value"),
    [(0, 1, 0x44), (1, 1, 0x33), (2, 2, 0x1122), (0, 8, 0xFF_11223344), (3, 2, 0xFF11)],
)
def test_narrow_wide_and_crooked_reads(guest: Guest, offset: int, width: int, value: int) -> None:
    for _ in range(2):  # found out, then remembered
        assert guest.load(offset, width) == value


def test_narrow_writes_are_merged(device: Sample, guest: Guest) -> None:
    guest.store(1, 0xEE, width=1)
    assert device.control == 0x1122EE44
    guest.store(0x14, 0x01020304)
    assert device.wide == 0x01020304_00000000


def test_wide_writes_are_split(device: Sample, guest: Guest) -> None:
    guest.store(0x0C, 0x12345678_000000AB, width=8)
    assert device.queue == [0xAB]
    assert device.wide == 0x12345678, "0x10 to 0x13 is the low half of wide"


def test_a_wide_read_reads_each_register_once(device: Sample, guest: Guest) -> None:
    device.queue = [1, 2]
    assert guest.load(0x0C, width=4) == 1
    assert device.reads == 1


def test_what_is_not_declared_reads_zero_and_ignores_writes(guest: Guest, device: Sample) -> None:
    before = device.state()
    guest.store(0x1000, 1)
    guest.store(0x0A, 1, width=2)
    assert guest.load(0x1000) == guest.load(0x0A, 2) == 0
    assert device.state() == before


def test_arrays(device: Sample, guest: Guest) -> None:
    guest.store(0x28, 9)
    assert device.table == [7, 9]
    assert guest.load(0x24) == 0, "between the elements"
    assert guest.load(0x30) == 0, "after the last"
    guest.store(0x52, 4, width=2)
    assert device.grid == [0, 0, 0, 0, 5, 0]


def test_state_is_plain_data(device: Sample, guest: Guest) -> None:
    guest.store(0x0C, 5, width=1)
    guest.store(0, 1)
    saved = device.state()
    assert saved["queue"] == [5] and saved["control"] == 1 and saved["lines"] == {"irq": True}
    other = Sample()
    assert other.diff(saved)["control"] == (0x11223344, 1)
    other.load_state(saved)
    assert other.diff(saved) == {} and repr(other) == repr(device)
    Guest(other).store(0x20, 3)
    assert saved["table"] == [7, 7], "a saved state is a copy"
    device.reset()
    assert device.state() == Sample().state()


def test_it_shows_itself(device: Sample) -> None:
    assert device.show()[0] == "control 0x11223344 (ENABLE=0 MODE=4)"
    assert "irq low" in repr(device)


def test_lines_pass_on_changes_only() -> None:
    seen: list[bool] = []
    line = Line()
    line.connect(seen.append)
    for level in (True, True, False, False):
        line.set(level)
    line.set(True)
    line.connect(seen.append)
    assert seen == [True, False, True, True]


def test_bad_declarations_are_refused() -> None:
    with pytest.raises(TypeError, match="3"):
        Register(0, width=3)

    class Overlapping(Device):
        a = Register(0)
        b = Register(2)

    with pytest.raises(TypeError, match="two registers at offset 0x2"):
        Overlapping().window()
    with pytest.raises(TypeError, match="ns16550a is both"):

        class Twin(Device, compatible="ns16550a"):
            pass
