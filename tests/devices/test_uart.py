"""The 16550A, register by register (TI PC16550D data sheet)."""

from __future__ import annotations

import pytest

from devices.access import Guest
from rvvm.py.devices.uart import Uart
from rvvm.py.host import SerialPort

RBR = THR = DLL = 0
IER = DLM = 1
IIR = FCR = 2
LCR, MCR, LSR, MSR, SCR = 3, 4, 5, 6, 7

LOOP, OUT2, OUT1, RTS, DTR = 0x10, 8, 4, 2, 1


class Bench:
    def __init__(self, shift: int = 0) -> None:
        self.port = SerialPort()
        self.uart = Uart(self.port, shift)
        guest = Guest(self.uart, width=1)
        self.load = lambda offset: guest.load(offset << shift)
        self.store = lambda offset, value: guest.store(offset << shift, value)

    @property
    def irq(self) -> bool:
        return self.uart.irq.level


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_after_reset(bench: Bench) -> None:
    # 8.0, table II
    values = {IER: 0, IIR: 1, LCR: 0, MCR: 0, LSR: 0x60}
    assert {offset: bench.load(offset) for offset in values} == values
    assert bench.load(MSR) & 0x0F == 0 and not bench.irq


def test_transmit(bench: Bench) -> None:
    for byte in b"hi":
        bench.store(THR, byte)
    assert bench.port.output == b"hi"
    assert bench.load(LSR) == 0x60


def test_receive_without_fifo_is_one_byte_at_a_time(bench: Bench) -> None:
    bench.port.send(b"ab")
    assert bench.load(LSR) == 0x61
    assert bytes(bench.load(RBR) for _ in range(2)) == b"ab"
    assert bench.load(LSR) == 0x60 and bench.load(RBR) == 0


def test_fifo_takes_the_rest_as_it_is_read(bench: Bench) -> None:
    bench.store(FCR, 1)
    text = bytes(range(40))
    bench.port.send(text)
    assert len(bench.uart.fifo) == 16
    got = bytearray()
    while bench.load(LSR) & 1:
        got.append(bench.load(RBR))
    assert got == text
    assert bench.load(LSR) & 2 == 0, "nothing was overrun: the line waits"


@pytest.mark.parametrize(("bits", "level"), [(0x00, 1), (0x40, 4), (0x80, 8), (0xC0, 14)])
def test_trigger_levels_and_timeout(bench: Bench, bits: int, level: int) -> None:
    bench.store(FCR, 1 | bits)
    bench.store(IER, 1)
    bench.port.send(bytes(level))
    assert bench.irq and bench.load(IIR) == 0xC4
    bench.load(RBR)
    assert bench.load(IIR) == (0xCC if level > 1 else 0xC1), "what is left times out"
    for _ in range(level - 1):
        bench.load(RBR)
    assert not bench.irq and bench.load(IIR) == 0xC1


def test_receive_interrupt_is_masked_by_ier(bench: Bench) -> None:
    bench.port.send(b"x")
    assert not bench.irq and bench.load(IIR) == 1
    bench.store(IER, 1)
    assert bench.irq and bench.load(IIR) == 4


def test_thre_interrupt(bench: Bench) -> None:
    # 8.6, table IV: set when THR becomes empty, reset by reading IIR or writing THR
    bench.store(IER, 2)
    assert bench.irq and bench.load(IIR) == 2
    assert not bench.irq and bench.load(IIR) == 1
    bench.store(THR, 0x41)
    assert bench.irq and bench.load(IIR) == 2
    bench.store(IER, 2)
    assert not bench.irq, "it was enabled already"
    bench.store(IER, 0)
    bench.store(IER, 2)
    assert bench.irq, "enabled anew, and THR is empty"


def test_reading_iir_resets_thre_only_when_it_says_so(bench: Bench) -> None:
    bench.port.send(b"x")
    bench.store(IER, 3)
    assert bench.load(IIR) == 4
    bench.load(RBR)
    assert bench.load(IIR) == 2
    assert bench.load(IIR) == 1


def test_interrupt_priorities(bench: Bench) -> None:
    bench.store(MCR, LOOP)
    bench.store(IER, 0x0F)
    bench.store(THR, 1)
    bench.store(THR, 2)  # overruns the first
    assert bench.load(IIR) == 6
    assert bench.load(LSR) == 0x63 and bench.load(LSR) == 0x61, "reading LSR clears OE"
    assert bench.load(IIR) == 4
    assert bench.load(RBR) == 2, "without FIFO the new byte takes the old one's place"
    assert bench.load(IIR) == 2
    assert bench.load(IIR) == 0
    bench.load(MSR)
    assert bench.load(IIR) == 1 and not bench.irq


def test_fifo_overrun_loses_the_new_byte(bench: Bench) -> None:
    bench.store(FCR, 1)
    bench.store(MCR, LOOP)
    for byte in range(17):
        bench.store(THR, byte)
    assert bench.load(LSR) == 0x63
    assert [bench.load(RBR) for _ in range(17)] == [*range(16), 0]


def test_loopback_disconnects_the_line(bench: Bench) -> None:
    bench.store(MCR, LOOP)
    bench.port.send(b"x")
    assert bench.load(LSR) == 0x60
    bench.store(THR, 0x55)
    assert bench.port.output == b"" and bench.load(RBR) == 0x55
    bench.store(MCR, 0)
    assert bench.load(RBR) == ord("x")


@pytest.mark.parametrize(("output", "line"), [(DTR, 0x20), (RTS, 0x10), (OUT1, 0x40), (OUT2, 0x80)])
def test_loopback_modem_lines(bench: Bench, output: int, line: int) -> None:
    bench.store(MCR, LOOP)
    bench.load(MSR)
    bench.store(MCR, LOOP | output)
    rising = 0 if output == OUT1 else line >> 4
    assert bench.load(MSR) == line | rising
    assert bench.load(MSR) == line, "reading MSR clears the deltas"
    bench.store(MCR, LOOP)
    assert bench.load(MSR) == line >> 4, "TERI is the trailing edge of RI; the others any edge"


def test_modem_status_interrupt(bench: Bench) -> None:
    bench.store(MCR, LOOP)
    bench.load(MSR)
    bench.store(IER, 8)
    assert not bench.irq
    bench.store(MCR, LOOP | RTS)
    assert bench.irq and bench.load(IIR) == 0
    bench.load(MSR)
    assert not bench.irq


def test_divisor_latch(bench: Bench) -> None:
    bench.store(IER, 5)
    bench.store(LCR, 0x83)
    bench.store(DLL, 0x12)
    bench.store(DLM, 0x34)
    assert (bench.load(DLL), bench.load(DLM)) == (0x12, 0x34)
    bench.store(LCR, 3)
    assert bench.load(IER) == 5 and bench.port.output == b"" and bench.load(LCR) == 3


def test_fcr(bench: Bench) -> None:
    bench.store(FCR, 0xC0)
    assert bench.load(IIR) == 1 and bench.uart.fcr == 0, "bit 0 clear: the rest is not programmed"
    bench.store(FCR, 0xC7)
    assert bench.load(IIR) == 0xC1 and bench.uart.fcr == 0xC1, "the clear bits clear themselves"


@pytest.mark.parametrize("fcr", [0x03, 0x00])
def test_clearing_the_receiver(bench: Bench, fcr: int) -> None:
    bench.store(FCR, 1)
    bench.port.send(b"abc")
    bench.store(FCR, fcr)  # RCVR FIFO reset, or the FIFOs switched off
    assert bench.load(LSR) == 0x60


def test_bits_that_do_not_exist(bench: Bench) -> None:
    bench.store(IER, 0xFF)
    bench.store(MCR, 0xEF)
    bench.store(SCR, 0xA5)
    bench.store(LSR, 0)
    bench.store(MSR, 0)
    assert bench.load(IER) == 0x0F and bench.load(MCR) == 0x0F and bench.load(SCR) == 0xA5
    assert bench.load(LSR) == 0x60 and bench.load(MSR) == 0xB0


@pytest.mark.parametrize("shift", [0, 1, 2, 3])
def test_reg_shift(shift: int) -> None:
    bench = Bench(shift)
    bench.store(SCR, 0x77)
    assert bench.load(SCR) == 0x77
    bench.store(THR, 0x41)
    assert bench.port.output == b"A"
    wide = Guest(bench.uart, width=1 << shift if shift else 1)
    assert wide.load(SCR << shift) == 0x77, "reg-io-width: the byte is the lowest of the word"


def test_a_word_at_the_start_is_four_registers(bench: Bench) -> None:
    assert Guest(bench.uart).load(LCR) == 0xB0 << 24 | 0x60 << 16


def test_state_moves_to_another(bench: Bench) -> None:
    bench.store(FCR, 1)
    bench.store(IER, 1)
    bench.port.send(b"abc")
    other = Bench()
    other.uart.load_state(bench.uart.state())
    assert other.irq and bytes(other.load(RBR) for _ in range(3)) == b"abc"
