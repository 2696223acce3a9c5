"""A patient port: input waits in it until the guest reads."""

from __future__ import annotations

import pytest

from rvvm.py.devices.uart import POLLS, Uart
from rvvm.py.host import SerialPort

DLAB, LOOP = 0x80, 0x10


@pytest.fixture
def uart() -> Uart:
    port = SerialPort()
    port.patient = True
    uart = Uart(port)
    port.send(b"hello")
    return uart


def poll(uart: Uart, times: int) -> bool:
    """Whether the last look says that there is data."""
    return bool([uart.on_lsr_read() for _ in range(times)][-1] & Uart.lsr.DR)


def read(uart: Uart, count: int) -> bytes:
    return bytes(uart.on_rbr_read() for _ in range(count))


def test_setting_it_up_loses_nothing(uart: Uart) -> None:
    """As Linux does (8250_port.c, startup): clear the FIFOs, read all, enable interrupts."""
    for value in (0x01, 0x07, 0x00):
        uart.on_fcr_write(value)
    poll(uart, 2)
    assert read(uart, 2) == b"\0\0"
    uart.on_fcr_write(0x01)
    uart.on_ier_write(Uart.ier.ERBFI)
    assert uart.irq.level
    assert read(uart, 5) == b"hello"


def test_polling_is_reading(uart: Uart) -> None:
    assert not poll(uart, POLLS - 1)
    assert poll(uart, 1)
    assert read(uart, 5) == b"hello"


def test_waiting_for_the_transmitter_is_not(uart: Uart) -> None:
    for _ in range(3 * POLLS):
        assert not poll(uart, 2)
        uart.on_thr_write(0x2E)


def test_what_is_cleared_comes_again(uart: Uart) -> None:
    uart.on_fcr_write(0x01)
    uart.on_ier_write(Uart.ier.ERBFI)
    assert read(uart, 1) == b"h"
    uart.on_ier_write(0)
    uart.on_fcr_write(0x07)
    uart.on_ier_write(Uart.ier.ERBFI)
    assert read(uart, 4) == b"ello"


def test_what_came_by_loopback_does_not(uart: Uart) -> None:
    uart.on_fcr_write(0x01)
    uart.on_mcr_write(LOOP)
    uart.on_thr_write(0x2E)
    uart.on_fcr_write(0x03)
    uart.on_mcr_write(0)
    uart.on_ier_write(Uart.ier.ERBFI)
    assert read(uart, 5) == b"hello"


def test_input_that_comes_later(uart: Uart) -> None:
    poll(uart, POLLS)
    read(uart, 1)
    uart.port.send(b" again")  # type: ignore[attr-defined]
    assert read(uart, 10) == b"ello again"
