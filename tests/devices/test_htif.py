"""HTIF: exit and console, through the program's own words and through registers."""

from __future__ import annotations

import struct

import pytest

from board.fake_core import FakeSystem
from devices.access import Guest
from rvvm.py.devices.htif import Htif
from rvvm.py.host import SerialPort

TOHOST, FROMHOST = 0x8000_1000, 0x8000_1040


class Bench:
    def __init__(self) -> None:
        self.system = FakeSystem()
        self.system.add_ram(0x8000_0000, 1 << 16)
        self.port = SerialPort()
        self.htif = Htif(self.system, self.system.halt, self.port)
        self.htif.attach_symbols({"tohost": TOHOST, "fromhost": FROMHOST, "main": 1})

    def put(self, device: int, command: int, payload: int) -> None:
        self.system.store(TOHOST, 8, device << 56 | command << 48 | payload)

    def word(self, address: int) -> int:
        return self.system.load(address, 8)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize("code", [0, 1, 1337])
def test_exit(bench: Bench, code: int) -> None:
    bench.put(0, 0, code << 1 | 1)
    assert bench.system.halted == [code]


def test_exit_in_halves(bench: Bench) -> None:
    bench.system.store(TOHOST, 4, 3)
    assert bench.system.halted == [1]
    bench.system.store(TOHOST + 4, 4, 0)
    assert bench.system.halted == [1]


def test_console_output(bench: Bench) -> None:
    for byte in b"hi":
        bench.put(1, 1, byte)
        assert bench.word(TOHOST) == 0, "taken"
        assert bench.word(FROMHOST) == 1 << 56 | 1 << 48 | 0x100 | byte
    assert bench.port.output == b"hi"


def test_output_in_halves(bench: Bench) -> None:
    bench.system.store(TOHOST, 4, ord("B"))
    bench.system.store(TOHOST + 4, 4, 0x0101_0000)
    assert bench.port.output == b"B"


def test_console_input_waits(bench: Bench) -> None:
    bench.put(1, 0, 0)
    assert bench.word(FROMHOST) == 0
    bench.port.send(b"xy")
    assert bench.word(FROMHOST) == 1 << 56 | 0x100 | ord("x")
    bench.put(1, 0, 0)
    assert bench.word(FROMHOST) == 1 << 56 | 0x100 | ord("y")


def call(bench: Bench, *arguments: int) -> int:
    bench.system.write(0x8000_2000, struct.pack(f"<{len(arguments)}Q", *arguments))
    bench.put(0, 0, 0x8000_2000)
    assert bench.word(FROMHOST) == 1
    (result,) = struct.unpack("<q", bench.system.read(0x8000_2000, 8))
    return result


def test_write_system_call(bench: Bench) -> None:
    bench.system.write(0x8000_3000, b"hello")
    assert call(bench, 64, 1, 0x8000_3000, 5) == 5
    assert bench.port.output == b"hello"


def test_other_system_calls_are_refused(bench: Bench) -> None:
    assert call(bench, 63, 0, 0x8000_3000, 5) == -38


def test_bad_addresses_and_unknown_devices_do_no_harm(bench: Bench) -> None:
    bench.put(0, 0, 0x10)
    bench.put(9, 9, 9)
    assert bench.system.halted == [] and bench.port.output == b""


def test_as_registers() -> None:
    system, port = FakeSystem(), SerialPort()
    guest = Guest(Htif(system, system.halt, port), width=8)
    guest.store(8, 1 << 56 | 1 << 48 | ord("A"))
    assert port.output == b"A" and guest.load(8) == 0
    assert guest.load(0) == 1 << 56 | 1 << 48 | 0x141
    guest.store(0, 0)
    guest.store(8, 5)
    assert system.halted == [2]


def test_without_symbols_nothing_is_watched() -> None:
    system = FakeSystem()
    Htif(system, system.halt).attach_symbols({"main": 1})
    assert system.watched == []
