"""HTIF, the Berkeley host-target interface: console and exit through two 64-bit words.

A word written to ``tohost`` is device (63:56), command (55:48) and payload (47:0); the answer comes
in ``fromhost`` (Spike, riscv-isa-sim README and fesvr). The words are the program's own ``tohost``
and ``fromhost``, or registers where the node has ``reg``. A program that has the symbol gets this
device on a board without the node, too.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Self

from rvvm.py.devices.device import Device, Wiring
from rvvm.py.host import Serial, SerialPort
from rvvm.py.register import Register, State

if TYPE_CHECKING:
    from rvvm._core import System
    from rvvm.py.tree import Node

TOHOST = "tohost"
SYSTEM, CONSOLE = 0, 1  # devices
READ, WRITE = 0, 1  # the console's commands
PRESENT = 0x100  # a byte in an answer of the console
SYS_WRITE = 64
ENOSYS = 38


class Htif(Device, compatible="ucb,htif0"):
    """The console device, exit, and the one system call that test programs print with (write)."""

    fromhost = Register(0x0, width=8)
    tohost = Register(0x8, width=8, DEVICE=(63, 56), COMMAND=(55, 48), PAYLOAD=(47, 0))

    reading = State(False)  # the guest waits for a byte

    def __init__(
        self, system: System, halt: Callable[[int], None], port: Serial | None = None
    ) -> None:
        self.system, self.halt = system, halt
        self.port = port or SerialPort()
        self.tohost_at: int | None = None
        self.fromhost_at: int | None = None
        super().__init__()
        self.port.wake = self.answer_read

    @classmethod
    def from_node(cls, node: Node, wiring: Wiring) -> Self:
        return cls(wiring.system, wiring.halt, wiring.serial(node))

    def attach_symbols(self, symbols: Mapping[str, int]) -> None:
        """Watch the program's own words."""
        if TOHOST in symbols:
            self.tohost_at = symbols[TOHOST]
            self.fromhost_at = symbols.get("fromhost")
            self.system.watch_store(self.tohost_at, 8, self.on_store)

    def on_store(self, address: int, width: int, value: int) -> None:
        """RAM around ``tohost`` was stored to.

        A word stored in halves is complete with its upper one; but a program that exits with a
        32-bit store (its bit 0 is set) may never store that.
        """
        assert self.tohost_at is not None
        (word,) = struct.unpack("<Q", self.system.read(self.tohost_at, 8))
        lower_half = address + width <= self.tohost_at + 4
        if word and (not lower_half or (word & 1 and word >> 32 == 0)):
            self.on_tohost_write(word)

    def on_tohost_write(self, value: int) -> None:
        device, command = Htif.tohost.DEVICE.get(value), Htif.tohost.COMMAND.get(value)
        payload = Htif.tohost.PAYLOAD.get(value)
        self.put_tohost(0)  # taken
        if device == CONSOLE and command == WRITE:
            self.port.put(payload & 0xFF)
            self.answer(CONSOLE, WRITE, PRESENT | payload & 0xFF)
        elif device == CONSOLE and command == READ:
            self.reading = True
            self.answer_read()
        elif device == SYSTEM and command == 0:
            self.system_call(payload)

    def system_call(self, payload: int) -> None:
        """Exit, when bit 0 is set; else the address of a call's number and arguments."""
        if payload & 1:
            self.halt(payload >> 1)
            return
        try:
            number, _, text, length = struct.unpack("<4Q", self.system.read(payload, 32))
            result = -ENOSYS
            if number == SYS_WRITE:
                for byte in self.system.read(text, length):
                    self.port.put(byte)
                result = length
            self.system.write(payload, struct.pack("<q", result))
        except IndexError:  # not RAM: there is nowhere to put an error
            pass
        self.answer(SYSTEM, 0, 1)

    def answer_read(self) -> None:
        """Give the guest the byte it waits for, when there is one."""
        if self.reading and (taken := self.port.take(1)):
            self.reading = False
            self.answer(CONSOLE, READ, PRESENT | taken[0])

    def answer(self, device: int, command: int, payload: int) -> None:
        """Put an answer into ``fromhost``."""
        self.fromhost = device << 56 | command << 48 | payload
        if self.fromhost_at is not None:
            self.system.write(self.fromhost_at, struct.pack("<Q", self.fromhost))

    def put_tohost(self, value: int) -> None:
        """Show the guest that its word was taken."""
        self.tohost = value
        if self.tohost_at is not None:
            self.system.write(self.tohost_at, struct.pack("<Q", value))


class OutputOnly(SerialPort):
    """Prints on another's line; what is typed there belongs to that line's own device."""

    def __init__(self, line: Serial) -> None:
        super().__init__()
        self.put = line.put  # type: ignore[method-assign]
