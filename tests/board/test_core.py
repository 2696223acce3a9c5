"""Boards on the real core: it accepts what the trees say, and the guest reaches the devices."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from board.trees import BOARDS, VIRT
from rvvm import _core
from rvvm.py import fdt
from rvvm.py.board import Board, timebase
from rvvm.py.completion import complete
from rvvm.py.host import Host, SerialPort

RAM = 0x8000_0000
UART_PAGE, TEST_PAGE, CLINT_PAGE = 0x10000, 0x100, 0x2000

# lui rd, imm20 and the like, by hand: this test must not depend on an assembler.
T0, T1, T2 = 5, 6, 7


def lui(rd: int, imm20: int) -> int:
    return imm20 << 12 | rd << 7 | 0x37


def addi(rd: int, rs: int, imm: int) -> int:
    return (imm & 0xFFF) << 20 | rs << 15 | rd << 7 | 0x13


def store(width: int, rs: int, base: int, offset: int) -> int:
    bits = (offset & 0xFE0) << 20 | rs << 20 | base << 15 | (offset & 0x1F) << 7
    return bits | width.bit_length() - 1 << 12 | 0x23


def load(width: int, rd: int, base: int, offset: int) -> int:
    return offset << 20 | base << 15 | width.bit_length() - 1 << 12 | rd << 7 | 0x03


def board(path: Path, harts: int | None = None) -> tuple[_core.System, Board, SerialPort]:
    tree = fdt.load(path)
    complete(tree, memory=1 << 20, harts=harts)
    system, port = _core.System(timebase(tree), "instructions"), SerialPort()
    return system, Board(tree, system, Host(serial=port)), port


def run(system: _core.System, made: Board, program: list[int], limit: int = 1000) -> _core.Exit:
    system.write(RAM, b"".join(word.to_bytes(4, "little") for word in program))
    made.harts[0].pc = RAM
    return system.run(limit)


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_the_core_accepts_every_board(path: Path) -> None:
    system, made, _ = board(path)
    assert len(system.harts) == len(made.harts) == 1


def test_a_guest_prints_and_powers_off() -> None:
    system, made, port = board(VIRT)
    hello = [word for byte in b"hi" for word in (addi(T1, 0, byte), store(1, T1, T0, 0))]
    off = [lui(T0, TEST_PAGE), lui(T1, 5), addi(T1, T1, 0x555), store(4, T1, T0, 0)]
    stop = run(system, made, [lui(T0, UART_PAGE), *hello, *off])
    assert (stop.reason, stop.detail, bytes(port.output)) == ("halt", 0, b"hi")


def test_a_guest_reads_the_console() -> None:
    system, made, port = board(VIRT)
    port.send(b"Z")
    run(system, made, [lui(T0, UART_PAGE), load(1, T1, T0, 5), load(1, T2, T0, 0)], limit=3)
    assert made.harts[0].x(T1) == 0x61 and made.harts[0].x(T2) == ord("Z")


def test_wires_reach_mip() -> None:
    system, made, port = board(VIRT, harts=2)
    mip = 0x344
    made.devices["/soc/clint@2000000"].window().locked(made.lock)[1](4, 4, 1)
    assert [hart.csr(mip) >> 3 & 1 for hart in made.harts] == [0, 1]
    plic = made.devices["/soc/interrupt-controller@c000000"].window().locked(made.lock)[1]
    plic(4 * 10, 4, 1)
    plic(0x2000 + 0x80, 4, 1 << 10)  # hart 0, S-mode
    made.devices["/soc/serial@10000000"].window().locked(made.lock)[1](1, 1, 1)
    port.send(b"x")
    assert [hart.csr(mip) >> 9 & 1 for hart in made.harts] == [1, 0]


def test_the_timer_interrupt_is_pending_at_its_time() -> None:
    system, made, _ = board(VIRT)
    clint = made.devices["/soc/clint@2000000"].window().locked(made.lock)[1]
    clint(0x4000, 8, 1 << 40)
    assert made.harts[0].csr(0x344) >> 7 & 1 == 0
    clint(0xBFF8, 8, 1 << 40)
    assert system.time >= 1 << 40
    assert made.harts[0].csr(0x344) >> 7 & 1 == 1


def test_a_device_that_raises_stops_the_run() -> None:
    system, made, port = board(VIRT)

    class Broken(Exception):
        pass

    def broken(data: int, /) -> None:
        raise Broken

    port.put = broken  # type: ignore[method-assign]
    with pytest.raises(Broken):
        run(system, made, [lui(T0, UART_PAGE), store(1, 0, T0, 0)])


def resident(system: _core.System, address: int, size: int) -> int:
    """Bytes of RAM that the host has memory for."""
    view = system.dma(address, size)
    start = ctypes.addressof(ctypes.c_char.from_buffer(view))
    with open("/proc/self/pagemap", "rb") as pagemap:
        pagemap.seek(start // 4096 * 8)
        entries = memoryview(pagemap.read(size // 4096 * 8)).cast("Q")
    return 4096 * sum([entry >> 63 for entry in entries])


def test_discarded_pages_are_zeroes_and_take_no_memory() -> None:
    system = _core.System(10_000_000)
    system.add_ram(RAM, 1 << 23)
    system.write(RAM, b"x" * (1 << 23))
    assert resident(system, RAM, 1 << 23) == 1 << 23
    system.discard(RAM + 0x20_0000, 0x40_0000)
    assert resident(system, RAM, 1 << 23) == 0x40_0000
    assert system.read(RAM + 0x1F_FFFF, 2) == b"x\0"
    assert system.read(RAM + 0x5F_FFFF, 2) == b"\0x"
    for address, size in (
        (RAM + 1, 4096),
        (RAM, 100),
        (RAM, 1 << 24),
        (0, 4096),
        (RAM - 4096, 8192),
    ):
        with pytest.raises(IndexError, match="not in one RAM"):
            system.discard(address, size)


def test_discarded_code_is_not_run() -> None:
    system, made, _ = board(VIRT)
    spin = [addi(T0, T0, 1), 0xFFDFF06F]  # j -4
    run(system, made, spin)
    assert made.harts[0].x(T0) == 500
    system.discard(RAM, 4096)
    traps = made.harts[0].traps
    run(system, made, [], 10)
    assert made.harts[0].x(T0) == 500 and made.harts[0].traps > traps
