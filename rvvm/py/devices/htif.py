"""HTIF, the Berkeley host-target interface: console and exit through two 64-bit words.

A word written to ``tohost`` is device (63:56), command (55:48) and payload (47:0); the answer comes
in ``fromhost`` (Spike, riscv-isa-sim README and fesvr). The words are the program's own ``tohost``
and ``fromhost``, or registers where the node has ``reg``. A program that has the symbol gets this
device on a board without the node, too.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from rvvm.py.devices.device import Device, Wiring
from rvvm.py.host import Serial, SerialPort
from rvvm.py.register import Place, Register, State

if TYPE_CHECKING:
    from rvvm._core import System
    from rvvm.py.tree import Node

TOHOST = "tohost"
SYSTEM, CONSOLE = 0, 1  # devices
READ, WRITE = 0, 1  # the console's commands
PRESENT = 0x100  # a byte in an answer of the console
SYS_WRITE = 64
ENOSYS = 38
ALL_BYTES = 0xFF  # of ``tohost``, as a set
PATIENCE = 1_000_000  # instructions of all harts, for the rest of a word
PIECE = 1024  # bytes that are printed at a time: a listener may search what it hears


class Htif(Device, compatible="ucb,htif0"):
    """The console device, exit, and the one system call that test programs print with (write)."""

    fromhost = Register(0x0, width=8)
    tohost = Register(0x8, width=8, DEVICE=(63, 56), COMMAND=(55, 48), PAYLOAD=(47, 0))

    reading = State(False)  # the guest waits for a byte
    stored = State(0)  # a set: bytes of a word of which others are to come
    stored_at = State(0)  # how much the harts had done then
    writing = State[list[int]](list)  # a write under way: its call, the text, bytes left and in all

    def __init__(
        self,
        system: System,
        halt: Callable[[int], None],
        port: Serial | None = None,
        lock: AbstractContextManager[Any] | None = None,
    ) -> None:
        self.system, self.halt = system, halt
        self.port = port or SerialPort()
        self.lock = lock or nullcontext()
        self.tohost_at: int | None = None
        self.fromhost_at: int | None = None
        self._deferred = False
        super().__init__()
        self.port.wake = self.answer_read

    @classmethod
    def from_node(cls, node: Node, wiring: Wiring) -> Self:
        return cls(wiring.system, wiring.halt, wiring.serial(node), wiring.clock.lock)

    def attach_symbols(self, symbols: Mapping[str, int]) -> None:
        """Watch the program's own words."""
        if TOHOST in symbols and self._in_ram(symbols[TOHOST]):
            self.tohost_at = symbols[TOHOST]
            fromhost = symbols.get("fromhost")
            known = fromhost is not None and self._in_ram(fromhost)
            self.fromhost_at = fromhost if known else None
            self.system.watch_store(self.tohost_at, 8, self.on_store)

    def _in_ram(self, address: int) -> bool:
        try:
            self.system.read(address, 8)
        except IndexError:
            return False
        return True

    # The word, in RAM or as a register

    def places(self) -> Iterator[Place]:
        for place in super().places():
            if place.offset != Htif.tohost.offset:
                yield place
        for number in range(Htif.tohost.width):
            load, store = partial(self._byte, number), partial(self._store_byte, number)
            yield Place(Htif.tohost.offset + number, 1, load, store, load)

    def _byte(self, number: int) -> int:
        return self.tohost >> 8 * number & 0xFF

    def _store_byte(self, number: int, value: int) -> None:
        shift = 8 * number
        self._part_stored(self.tohost & ~(0xFF << shift) | value << shift, 1 << number)

    def on_store(self, address: int, width: int, value: int) -> None:
        """RAM around ``tohost`` was stored to. The word is complete when all its bytes were
        stored, in any order: only then is it a command."""
        assert self.tohost_at is not None
        with self.lock:
            (word,) = struct.unpack("<Q", self.system.read(self.tohost_at, 8))
            first = max(address - self.tohost_at, 0)
            last = min(address + width - self.tohost_at, 8)
            self._part_stored(word, (1 << last) - (1 << first))

    def _part_stored(self, word: int, part: int) -> None:
        """Spike looks at the word now and then: what is there for long is complete, too. A program
        for RV32 may store the lower half of its exit alone, and does it again and again."""
        again = word != 0 and word == self.tohost and not part & ~self.stored
        self.tohost, self.stored = word, self.stored | part
        if again or self.stored == ALL_BYTES:
            self._complete()
        elif word:
            self.stored_at = self._done_by_harts()
            self._defer()

    def _complete(self) -> None:
        self.stored = 0
        if self.tohost and not self.writing:  # else it stays there until that is done
            self._obey(self.tohost)

    def _done_by_harts(self) -> int:
        return sum(hart.instret + hart.traps for hart in self.system.harts)

    def _look(self) -> None:
        """Take what is there of the word, if no more is to be expected."""
        waited = self._done_by_harts() - self.stored_at
        if waited >= PATIENCE or all(hart.waiting for hart in self.system.harts):
            self._complete()
        else:
            self._defer()

    # What goes on when the hart has had its turn

    def _defer(self) -> None:
        if not self._deferred:
            self._deferred = True
            self.system.defer(self._go_on)

    def _go_on(self) -> None:
        with self.lock:
            self._deferred = False
            if self.writing:
                self._print_piece()
            if self.stored and self.tohost:
                self._look()

    def _can_write(self) -> bool:
        """Whether a write under way is one that ``system_call`` would have begun."""
        if len(self.writing) != 4:
            return not self.writing
        call, text, left, length = self.writing
        try:
            self.system.dma(text, left)
        except (IndexError, OverflowError):
            return False
        return self._in_ram(call) and left <= length < 1 << 63

    def restored(self) -> None:
        self._check("writing", self._can_write())
        self._deferred = False
        if (self.stored and self.tohost) or self.writing:
            self._defer()

    # Commands

    def _obey(self, value: int) -> None:
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
            if number == SYS_WRITE:
                self.system.dma(text, length)
                self.writing = [payload, text, length, length]
                self._print_piece()
                return
            self.system.write(payload, struct.pack("<q", -ENOSYS))
        except (IndexError, OverflowError):  # not RAM: there is nowhere to put an error
            pass
        self.answer(SYSTEM, 0, 1)

    def _print_piece(self) -> None:
        """Some of a write; the guest has its answer after the last."""
        call, text, left, length = self.writing
        size = min(left, PIECE)
        for byte in self.system.read(text, size):
            self.port.put(byte)
        if left > size:
            self.writing = [call, text + size, left - size, length]
            self._defer()
            return
        self.writing = []
        self.system.write(call, struct.pack("<q", length))
        self.answer(SYSTEM, 0, 1)
        if not self.stored:
            self._complete()

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
