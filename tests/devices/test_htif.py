"""HTIF: exit and console, through the program's own words and through registers."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import rvvm
from board.fake_core import FakeHart, FakeSystem
from devices.access import Guest
from machine import elves
from rvvm.py.devices.htif import PATIENCE, PIECE, Htif
from rvvm.py.host import SerialPort

TOHOST, FROMHOST = 0x8000_1000, 0x8000_1040


class Bench:
    def __init__(self) -> None:
        self.system = FakeSystem()
        self.system.add_ram(0x8000_0000, 1 << 16)
        self.system.harts = [FakeHart(0, "i")]
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
    """riscv-tests, env/p/riscv_test.h: the lower half, then zero to the upper one."""
    bench.system.store(TOHOST, 4, 3)
    assert bench.system.halted == []
    bench.system.store(TOHOST + 4, 4, 0)
    assert bench.system.halted == [1]


def test_the_lower_half_of_an_exit_alone(bench: Bench) -> None:
    """Complete when no more is to be expected: Spike, too, looks at the word only now and then."""
    (hart,) = bench.system.harts
    bench.system.store(TOHOST, 4, 3)
    hart.instret = PATIENCE - 1
    bench.system.end_turn()
    assert bench.system.halted == []
    hart.instret = PATIENCE
    bench.system.end_turn()
    assert bench.system.halted == [1] and bench.system.deferred == []


def test_the_lower_half_of_an_exit_and_a_hart_that_waits(bench: Bench) -> None:
    bench.system.store(TOHOST, 4, 3)
    bench.system.harts[0].waiting = True
    bench.system.end_turn()
    assert bench.system.halted == [1]


def test_the_lower_half_of_an_exit_again_and_again(bench: Bench) -> None:
    bench.system.store(TOHOST, 4, 3)
    bench.system.store(TOHOST, 4, 3)
    assert bench.system.halted == [1]


def test_half_a_word_in_a_machine_that_was_loaded(bench: Bench) -> None:
    bench.system.store(TOHOST, 4, ord("C"))
    other = Bench()
    other.system.write(TOHOST, bench.system.read(TOHOST, 8))
    other.htif.load_state(bench.htif.state())
    other.system.end_turn()
    other.system.store(TOHOST + 4, 4, 0x0101_0000)
    assert other.port.output == b"C"
    other.system.end_turn()
    assert other.system.halted == [] and other.system.deferred == []


def test_console_output(bench: Bench) -> None:
    for byte in b"hi":
        bench.put(1, 1, byte)
        assert bench.word(TOHOST) == 0, "taken"
        assert bench.word(FROMHOST) == 1 << 56 | 1 << 48 | 0x100 | byte
    assert bench.port.output == b"hi"


ORDERS = [
    *itertools.permutations([(0, 4), (4, 4)]),
    *itertools.permutations([(0, 2), (2, 2), (4, 2), (6, 2)]),
    tuple((at, 1) for at in range(8)),
    tuple((at, 1) for at in reversed(range(8))),
    ((0, 4), (4, 2), (6, 1), (7, 1)),
    ((7, 1), (4, 2), (6, 1), (0, 4)),
    ((0, 8),),
]


def _store_parts(
    store: Callable[[int, int, int], None], word: int, parts: Sequence[tuple[int, int]]
) -> None:
    for at, width in parts:
        store(at, width, word >> 8 * at & (1 << 8 * width) - 1)


@pytest.mark.parametrize("parts", ORDERS)
def test_output_in_parts(bench: Bench, parts: Sequence[tuple[int, int]]) -> None:
    """Odd characters and even ones, stored in any order: the word has 64 bits."""
    text = b"abc\0\n\xff"
    for byte in text:
        word = 1 << 56 | 1 << 48 | byte
        _store_parts(lambda at, *what: bench.system.store(TOHOST + at, *what), word, parts)
        assert bench.word(TOHOST) == 0, "taken"
    assert bench.port.output == text and bench.system.halted == []


@pytest.mark.parametrize("parts", ORDERS)
def test_output_in_parts_as_registers(parts: Sequence[tuple[int, int]]) -> None:
    system, port = FakeSystem(), SerialPort()
    system.harts = [FakeHart(0, "i")]
    guest = Guest(Htif(system, system.halt, port), width=8)
    for byte in b"ab\0":
        word = 1 << 56 | 1 << 48 | byte
        _store_parts(lambda at, width, value: guest.store(8 + at, value, width), word, parts)
    assert port.output == b"ab\0" and system.halted == []
    _store_parts(lambda at, width, value: guest.store(8 + at, value, width), 3, parts)
    assert system.halted == [1]


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


def test_a_long_write_is_done_in_pieces(bench: Bench) -> None:
    """Not more in a turn than a machine that is to pause can wait for; the answer comes last."""
    length = 10 * PIECE + 5
    text = bytes(k % 251 for k in range(length))
    bench.system.write(0x8000_3000, text)
    bench.system.write(0x8000_2000, struct.pack("<4Q", 64, 1, 0x8000_3000, length))
    bench.put(0, 0, 0x8000_2000)
    bench.put(1, 1, ord("."))
    turns = 0
    while bench.word(FROMHOST) == 0:
        assert len(bench.port.output) == (turns + 1) * PIECE and bench.word(TOHOST) != 0
        turns += 1
        if turns == 5:  # from here on in another machine
            other = Bench()
            other.system.write(0x8000_0000, bench.system.read(0x8000_0000, 1 << 16))
            other.port.output += bench.port.output
            other.htif.load_state(bench.htif.state())
            bench = other
        bench.system.end_turn()
    assert bench.port.output == text + b"." and turns == 10 and bench.word(TOHOST) == 0
    assert struct.unpack("<q", bench.system.read(0x8000_2000, 8)) == (length,)
    assert bench.system.deferred == []


def test_a_write_ends_with_a_reset(bench: Bench) -> None:
    bench.system.write(0x8000_2000, struct.pack("<4Q", 64, 1, 0x8000_3000, 3 * PIECE))
    bench.put(0, 0, 0x8000_2000)
    bench.htif.reset()
    bench.system.end_turn()
    assert len(bench.port.output) == PIECE and bench.system.deferred == []


@pytest.mark.parametrize("length", [1 << 32, (1 << 64) - 1])
def test_a_write_of_what_is_not_there(bench: Bench, length: int) -> None:
    bench.system.write(0x8000_2000, struct.pack("<4Q", 64, 1, 0x8000_3000, length))
    bench.put(0, 0, 0x8000_2000)
    assert bench.word(FROMHOST) == 1 and bench.port.output == b""


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


PRINT = """
    la      t0, tohost
    la      t1, text
next:
    lbu     t2, 0(t1)
    beqz    t2, done
    {store}
again:
    ld      t4, 0(t0)
    bnez    t4, again
    addi    t1, t1, 1
    j       next
done:
    li      t2, 7           # (3 << 1) | 1
    {end}
text:
    .word   0x0a636261, 0   # abc
    .align  6
tohost:
    .dword  0
"""
UPPER = "    li t3, 0x01010000\n    sw t3, 4(t0)\n"
LOWER = "    sw t2, 0(t0)\n"
STORES = {
    "lower first": LOWER + UPPER,
    "upper first": UPPER + LOWER,
    "at once": "    li t3, 0x0101000000000000\n    or t3, t3, t2\n    sd t3, 0(t0)\n",
}
ENDS = {
    "whole": "sd t2, 0(t0)\nstay: j stay",
    "halves": LOWER + "    sw zero, 4(t0)\nstay: j stay",
    "lower half": LOWER + "stay: j stay",
    "lower half, then waits": LOWER + "stay: wfi\n    j stay",
    "lower half for ever": "stay:\n" + LOWER + "    j stay",
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("store", STORES)
def test_a_program_prints_and_exits(tmp_path: Path, store: str, end: str) -> None:
    """Also in steps: where a run ends, in the midst of a word for instance, changes nothing."""
    source = PRINT.format(store=STORES[store], end=ENDS[end])
    kernel = elves.write(tmp_path / "program.elf", source)
    for engine in ("interp", "auto"):
        it = rvvm.Machine(kernel=kernel, bios="none", memory="4M", accel=engine)
        for _ in range(200):
            it.step()
        stop = it.run(timeout=60)
        assert (it.console.text, stop.reason, stop.detail) == ("abc\n", "halt", 3)
