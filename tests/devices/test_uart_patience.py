"""A patient port: no input is lost while a guest sets the UART up, and none waits for silence."""

from __future__ import annotations

import pytest

from rvvm.py.devices.uart import SETUP, Uart
from rvvm.py.host import SerialPort

DLAB, LOOP = 0x80, 0x10


@pytest.fixture
def uart() -> Uart:
    port = SerialPort()
    port.patient = True
    uart = Uart(port)
    port.send(b"hello")
    return uart


def look(uart: Uart) -> bool:
    """Whether LSR says that there is data."""
    return bool(uart.on_lsr_read() & Uart.lsr.DR)


def poll(uart: Uart, times: int) -> bool:
    """The last of so many looks."""
    return [look(uart) for _ in range(times)][-1]


def print_(uart: Uart, text: bytes) -> None:
    for byte in text:
        assert uart.on_lsr_read() & Uart.lsr.THRE
        uart.on_thr_write(byte)


def read(uart: Uart, count: int) -> bytes:
    return bytes(uart.on_rbr_read() for _ in range(count))


def linux_startup(uart: Uart) -> None:
    """What Linux does to the UART when its device is opened (8250_port.c, startup)."""
    uart.on_ier_write(0)
    for value in (0x01, 0x07, 0x00):
        uart.on_fcr_write(value)
    for final in (False, True):
        uart.on_lsr_read()
        uart.on_rbr_read()
        uart.on_iir_read()
        uart.on_msr_read()
        if not final:  # the tests for THRE that does not interrupt
            uart.on_lsr_read()
            uart.on_lsr_read()
            uart.on_mcr_write(0x0B)
            for value in (2, 0, 2, 0, 2):
                uart.on_ier_write(value)
                uart.on_lsr_read()
                uart.on_iir_read()
            uart.on_ier_write(0)
    uart.lcr = 0x83
    uart.on_thr_write(0x01)
    uart.lcr = 0x03
    uart.on_fcr_write(0x01)
    uart.on_fcr_write(0x81)
    uart.on_ier_write(Uart.ier.ERBFI)


def test_setting_it_up_loses_nothing(uart: Uart) -> None:
    linux_startup(uart)
    assert uart.irq.level
    assert read(uart, 5) == b"hello"


def test_a_kernel_that_has_printed_before_loses_nothing(uart: Uart) -> None:
    """By an early console; it also opens and closes the device several times."""
    for _ in range(3):
        print_(uart, b"[    0.000000] Linux version\r\n")
        linux_startup(uart)
        uart.on_ier_write(0)
        uart.on_fcr_write(0x07)
        uart.on_fcr_write(0x00)
        uart.on_rbr_read()
    linux_startup(uart)
    assert read(uart, 5) == b"hello"


def test_firmware_that_clears_the_registers_loses_nothing(uart: Uart) -> None:
    """OpenSBI, uart8250_init(): behind a reset, or behind another firmware."""
    for _ in range(2):
        uart.on_ier_write(0)
        uart.lcr = DLAB
        uart.on_thr_write(1)
        uart.on_ier_write(0)
        uart.lcr = 3
        uart.on_fcr_write(1)
        uart.on_mcr_write(0)
        uart.on_lsr_read()
        uart.on_rbr_read()
        uart.reset()
    assert poll(uart, SETUP)
    assert read(uart, 5) == b"hello"


def test_polling_is_reading(uart: Uart) -> None:
    assert not poll(uart, SETUP - 1)
    assert look(uart)
    assert read(uart, 5) == b"hello"


def test_reading_without_a_look_is_reading(uart: Uart) -> None:
    assert read(uart, SETUP + 5).strip(b"\0") == b"hello"


@pytest.mark.parametrize("frame", [b"|", b"\r/", b"press any key\r\n"])
def test_a_program_that_prints_between_looks(uart: Uart, frame: bytes) -> None:
    """A menu, a spinner: it looks once for each frame that it draws."""
    got = bytearray()
    for _ in range(5 + SETUP):
        print_(uart, frame)
        if look(uart):
            got += read(uart, 1)
    assert got == b"hello"


def test_a_program_that_never_looks_whether_it_may_print(uart: Uart) -> None:
    for _ in range(SETUP):
        uart.on_thr_write(0x2E)
    assert look(uart)
    assert read(uart, 5) == b"hello"


def test_a_line_that_raises_its_signals_around_a_look(uart: Uart) -> None:
    got = bytearray()
    for _ in range(5 + SETUP):
        uart.on_mcr_write(0x03)
        if look(uart):
            got += read(uart, 1)
        uart.on_mcr_write(0x01)
    assert got == b"hello"


def test_a_transmitter_by_interrupts_and_a_receiver_by_looks(uart: Uart) -> None:
    got = bytearray()
    for _ in range(5 + SETUP):
        uart.on_ier_write(Uart.ier.ETBEI)
        uart.on_iir_read()
        uart.on_thr_write(0x2E)
        uart.on_ier_write(0)
        if look(uart):
            got += read(uart, 1)
    assert got == b"hello"


def test_what_is_cleared_comes_again(uart: Uart) -> None:
    uart.on_fcr_write(0x01)
    uart.on_ier_write(Uart.ier.ERBFI)
    assert read(uart, 1) == b"h"
    uart.on_ier_write(0)
    uart.on_fcr_write(0x07)
    uart.on_ier_write(Uart.ier.ERBFI)
    assert read(uart, 4) == b"ello"


def test_a_trigger_level_clears_nothing(uart: Uart) -> None:
    poll(uart, SETUP)
    uart.on_fcr_write(0x01)
    poll(uart, SETUP)
    uart.on_fcr_write(0x41)
    assert look(uart)
    assert read(uart, 5) == b"hello"


def test_a_reset_loses_nothing(uart: Uart) -> None:
    poll(uart, SETUP)
    assert read(uart, 2) == b"he"
    uart.reset()
    assert not look(uart)
    assert poll(uart, SETUP)
    assert read(uart, 3) == b"llo"


def test_what_came_by_loopback_does_not(uart: Uart) -> None:
    uart.on_fcr_write(0x01)
    uart.on_mcr_write(LOOP)
    uart.on_thr_write(0x2E)
    uart.on_fcr_write(0x03)
    uart.on_mcr_write(0)
    uart.on_ier_write(Uart.ier.ERBFI)
    assert read(uart, 5) == b"hello"


@pytest.mark.parametrize("fifos", [0, 1])
def test_a_loopback_reads_what_it_sent(uart: Uart, fifos: int) -> None:
    """Input that had come waits, and is not mixed up with what the loopback leaves."""
    uart.on_fcr_write(fifos)
    assert poll(uart, SETUP)
    uart.on_mcr_write(LOOP)
    assert not look(uart)
    uart.on_thr_write(0x2E)
    assert read(uart, 1) == b"."
    uart.on_thr_write(0x2F)
    uart.on_mcr_write(0)
    uart.on_fcr_write(0x03)
    assert poll(uart, SETUP)
    assert read(uart, 5) == b"hello"


def test_input_that_comes_later(uart: Uart) -> None:
    poll(uart, SETUP)
    read(uart, 1)
    uart.port.send(b" again")  # type: ignore[attr-defined]
    assert read(uart, 10) == b"ello again"


def test_more_than_the_fifo_holds(uart: Uart) -> None:
    uart.port.send(bytes(range(100)))  # type: ignore[attr-defined]
    uart.on_fcr_write(0x01)
    print_(uart, b"[    0.000000] Linux version\r\n")
    linux_startup(uart)
    assert read(uart, 105) == b"hello" + bytes(range(100))
