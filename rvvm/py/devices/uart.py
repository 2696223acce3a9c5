"""UART 16550A: TI PC16550D data sheet (SNLS378), sections 8.1 to 8.9.

The line is infinitely fast: a byte written is sent at once, so the transmitter is always empty, and
the four character times of the receiver's timeout have passed as soon as nothing more comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

from rvvm.py.devices.device import Device, Wiring
from rvvm.py.host import Serial, SerialPort
from rvvm.py.register import Place, Register, State

if TYPE_CHECKING:
    from rvvm.py.tree import Node

FIFO_DEPTH = 16
TRIGGER = (1, 4, 8, 14)  # 8.5, table V: FCR bits 7:6
SETUP = 16  # accesses behind a clear of the receiver, and more than drivers make before they listen

# 8.6, table IV: what IIR says, by falling priority
LINE_STATUS, DATA, TIMEOUT, TRANSMIT, MODEM, NOTHING = 0x06, 0x04, 0x0C, 0x02, 0x00, 0x01


class Uart(Device, compatible=("ns16550a", "ns16550")):
    """The eight registers, ``1 << shift`` bytes apart. RBR, THR and IER make way for DLL and DLM
    while LCR.DLAB is set."""

    rbr = Register(0, width=1, access="r", stored=False)
    thr = Register(0, width=1, access="w", stored=False)
    ier = Register(1, width=1, ERBFI=0, ETBEI=1, ELSI=2, EDSSI=3)
    iir = Register(2, width=1, access="r", stored=False)
    fcr = Register(2, width=1, access="w", ENABLE=0, CLEAR_RX=1, CLEAR_TX=2, TRIGGER=(7, 6))
    lcr = Register(3, width=1, WLS=(1, 0), STB=2, PEN=3, EPS=4, STICK=5, BREAK=6, DLAB=7)
    mcr = Register(4, width=1, writable=0x1F, DTR=0, RTS=1, OUT1=2, OUT2=3, LOOP=4)
    lsr = Register(
        5, width=1, reset=0x60, access="r", DR=0, OE=1, PE=2, FE=3, BI=4, THRE=5, TEMT=6, ERROR=7
    )
    msr = Register(
        6, width=1, reset=0xB0, access="r",
        DCTS=0, DDSR=1, TERI=2, DDCD=3, CTS=4, DSR=5, RI=6, DCD=7,
    )  # fmt: skip
    scr = Register(7, width=1)

    ERBFI, ETBEI, ELSI, EDSSI = ier.ERBFI, ier.ETBEI, ier.ELSI, ier.EDSSI
    DLAB, LOOP, FIFOS, DR, OE = lcr.DLAB, mcr.LOOP, fcr.ENABLE, lsr.DR, lsr.OE

    dll = State(0, most=0xFF)
    dlm = State(0, most=0xFF)
    fifo = State[list[int]](list, most=0xFF)
    looped = State(0)  # the first of fifo, which came by the loopback
    thre_pending = State(False)
    accesses = State(0)

    def __init__(self, port: Serial | None = None, shift: int = 0) -> None:
        self.port = port or SerialPort()
        self.shift = shift
        super().__init__()
        self.irq = self.line()
        self.port.wake = self.receive

    @classmethod
    def from_node(cls, node: Node, wiring: Wiring) -> Self:
        shift = node.u32("reg-shift", 0)
        if shift > 3:
            raise node["reg-shift"].error(f"is {shift}, expected 0 to 3")
        # reg-io-width says how wide the driver's accesses are: any width works here.
        return cls(wiring.serial(node), shift)

    def places(self) -> Iterator[Place]:
        for place in super().places():
            yield place._replace(offset=place.offset << self.shift)

    # Interrupts, 8.6 and 8.7

    def source(self) -> int:
        """The interrupt of the highest priority that is pending and enabled."""
        ier = self.ier
        if ier & self.ELSI and self.lsr & self.OE:
            return LINE_STATUS
        if ier & self.ERBFI and self.fifo:
            return DATA if len(self.fifo) >= self.trigger else TIMEOUT
        if ier & self.ETBEI and self.thre_pending:
            return TRANSMIT
        if ier & self.EDSSI and self.msr & 0x0F:
            return MODEM
        return NOTHING

    def update(self) -> None:
        """Drive the interrupt line."""
        level = self.ier != 0 and self.source() != NOTHING
        if level is not self.irq.level:
            self.irq.set(level)

    @property
    def trigger(self) -> int:
        """How many bytes in the receiver make an interrupt."""
        return TRIGGER[self.fcr >> 6]

    def on_iir_read(self) -> int:
        source = self.source()
        if source == TRANSMIT:  # table IV: reset by reading IIR, if that is what it said
            self.thre_pending = False
            self.update()
        return source | (0xC0 if self.fcr & self.FIFOS else 0)

    def on_ier_read(self) -> int:
        return self.dlm if self.lcr & self.DLAB else self.ier

    def on_ier_write(self, value: int) -> None:
        if self.lcr & self.DLAB:
            self.dlm = value
            return
        if value & ~self.ier & self.ETBEI:
            self.thre_pending = True  # enabling it while THR is empty is an event, too
        self.ier = value & 0x0F
        self.receive()
        self.update()

    # Receiver, 8.4 and 8.5

    def receive(self) -> None:
        """The port has input."""
        self.fill()
        self.update()

    def listens(self) -> bool:
        """Whether what the guest reads now is for it, and not thrown away in setting the UART up.

        Firmware and drivers clear the receiver, look at LSR and read RBR "to clear them", with the
        receiver's interrupt off (Linux, 8250_port.c, startup; OpenSBI, uart8250.c). A guest that
        has gone on to print or to look has set it up.
        """
        return bool(self.ier & self.ERBFI) or self.accesses >= SETUP

    def note_access(self) -> None:
        """A look at LSR, or a byte in either direction."""
        if self.accesses < SETUP:
            self.accesses += 1
            if self.accesses == SETUP:
                self.receive()

    def fill(self) -> None:
        """Take what there is room for. Loopback disconnects the line (8.7).

        A patient port keeps what a guest would throw away.
        """
        depth = FIFO_DEPTH if self.fcr & self.FIFOS else 1
        connected = not self.mcr & self.LOOP and (not self.port.patient or self.listens())
        if len(self.fifo) < depth and connected:
            self.fifo += self.port.take(depth - len(self.fifo))
        if self.fifo:
            self.lsr |= self.DR

    def clear(self) -> None:
        """Empty the receiver. What no guest has read of a patient port's is not lost by that."""
        if self.port.patient:
            self.port.give_back(bytes(self.fifo[self.looped :]))
        self.fifo, self.looped = [], 0
        self.lsr &= ~self.DR

    def reset(self) -> None:
        self.clear()
        super().reset()

    def accept(self, byte: int) -> None:
        """One byte from the loopback, room or not."""
        if self.fcr & self.FIFOS:
            if len(self.fifo) < FIFO_DEPTH:
                self.fifo.append(byte)
                self.looped = len(self.fifo)
            else:
                self.lsr |= self.OE  # 8.4: the FIFO stays, the new byte is lost
        else:
            if self.fifo:
                self.lsr |= self.OE  # 8.4: the new byte takes the old one's place
            self.fifo, self.looped = [byte], 1
        self.lsr |= self.DR
        self.update()

    def on_rbr_read(self) -> int:
        if self.lcr & self.DLAB:
            return self.dll
        byte = self.fifo.pop(0) if self.fifo else 0
        self.looped = max(self.looped - 1, 0)
        if not self.fifo:
            self.lsr &= ~self.DR
        self.note_access()
        self.receive()
        return byte

    def on_lsr_read(self) -> int:
        self.note_access()
        value = self.lsr
        if value & self.OE:
            self.lsr = value & ~self.OE
            self.update()
        return value

    def on_fcr_write(self, value: int) -> None:
        switched = (value ^ self.fcr) & self.FIFOS
        if switched or value & Uart.fcr.CLEAR_RX:
            self.clear()
            self.accesses = 0
        # 8.5: bit 0 must be 1 for the others to be programmed; the clear bits clear themselves.
        self.fcr = value & 0xC9 if value & self.FIFOS else 0
        self.receive()

    # Transmitter

    def on_thr_write(self, value: int) -> None:
        if self.lcr & self.DLAB:
            self.dll = value
            return
        if self.mcr & self.LOOP:
            self.accept(value)
        else:
            self.port.put(value)
            self.note_access()
        self.thre_pending = True  # sent: empty again
        if self.ier:
            self.update()

    # Modem lines, 8.7 and 8.8

    def on_mcr_write(self, value: int) -> None:
        if value & ~self.mcr & self.LOOP and self.port.patient:
            self.clear()  # a test of the loopback reads what it has sent
        self.mcr = value & 0x1F
        lines = _modem_lines(self.mcr) if self.mcr & self.LOOP else 0xB0
        before, msr = self.msr, self.msr & 0x0F | lines
        changed = before ^ msr
        msr |= changed >> 4 & (Uart.msr.DCTS | Uart.msr.DDSR | Uart.msr.DDCD)
        if changed & before & Uart.msr.RI:
            msr |= Uart.msr.TERI  # the trailing edge only
        self.msr = msr
        self.receive()

    def on_msr_read(self) -> int:
        value = self.msr
        self.msr = value & 0xF0
        self.update()
        return value


def _modem_lines(mcr: int) -> int:
    """8.7: in loopback DTR, RTS, OUT1 and OUT2 are wired to DSR, CTS, RI and DCD."""
    wires = (
        (Uart.mcr.DTR, Uart.msr.DSR),
        (Uart.mcr.RTS, Uart.msr.CTS),
        (Uart.mcr.OUT1, Uart.msr.RI),
        (Uart.mcr.OUT2, Uart.msr.DCD),
    )
    return sum(line for output, line in wires if mcr & output)
