"""PLIC: RISC-V Platform-Level Interrupt Controller Specification 1.0.0.

Sets of sources are ints with a bit for each source: the set of what a context could claim is one
``&`` of two of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Self

from rvvm.py.devices.device import Device, Wiring
from rvvm.py.register import Registers, State

if TYPE_CHECKING:
    from rvvm.py.tree import Node

MAX_SOURCE, MAX_CONTEXTS = 1023, 15872  # "Memory Map"
PRIORITIES = 7  # WARL: three bits of priority
WORD = 0xFFFF_FFFF


class Plic(Device, compatible=("sifive,plic-1.0.0", "riscv,plic0")):
    """Sources 1..``last``, and one context for each entry of ``interrupts-extended``."""

    priority = Registers(0x00_0004, count="last", writable=PRIORITIES)
    ip = Registers(0x00_1000, count="words", access="r", stored=False)
    ie = Registers(0x00_2000, count=("contexts", "words"), stride=(0x80, 4), stored=False)
    threshold = Registers(0x20_0000, count="contexts", stride=0x1000, writable=PRIORITIES)
    claim = Registers(0x20_0004, count="contexts", stride=0x1000, access="r", stored=False)
    complete = Registers(0x20_0004, count="contexts", stride=0x1000, access="w", stored=False)

    pending = State(0, most="sources")
    enabled = State[list[int]](list, most="sources", count="contexts")
    asserted = State(0, most="sources")  # the level of each source's wire
    in_service = State(
        0, most="sources"
    )  # forwarded and claimed, not completed: the gateway is closed

    def __init__(self, last: int, contexts: int) -> None:
        self.last, self.contexts = last, contexts
        self.words = last // 32 + 1
        self.sources = (1 << last + 1) - 2  # source 0 does not exist
        super().__init__()
        self.enabled = [0] * contexts
        self.outputs = [self.line(f"context{i}") for i in range(contexts)]

    @classmethod
    def from_node(cls, node: Node, wiring: Wiring) -> Self:
        last, contexts = node.u32("riscv,ndev"), len(wiring.targets(node))
        if last > MAX_SOURCE:
            raise node["riscv,ndev"].error(f"is {last}; a PLIC has at most {MAX_SOURCE} sources")
        if contexts > MAX_CONTEXTS:
            raise node.error(f"a PLIC has at most {MAX_CONTEXTS} contexts")
        return cls(last, contexts)

    def reset(self) -> None:
        wires = self.asserted
        super().reset()
        self.enabled = [0] * self.contexts
        self.asserted = wires  # the devices drive these, not we
        self.pending = wires

    # "Interrupt Gateways": level-sensitive

    def input(self, *cells: int) -> Callable[[bool], None] | None:
        if len(cells) != 1 or not 1 <= cells[0] <= self.last:
            return None
        return partial(self.raise_source, cells[0])

    def raise_source(self, source: int, level: bool) -> None:
        """The wire of a source changed. A request once forwarded is never retracted."""
        bit = 1 << source
        if not level:
            self.asserted &= ~bit
            return
        self.asserted |= bit
        if not (self.in_service | self.pending) & bit:
            self.pending |= bit
            self.notify()

    # "Interrupt Notifications"

    def notify(self) -> None:
        """Drive each context's wire: is there something above its threshold?"""
        for context, output in enumerate(self.outputs):
            source = self._first(context)
            output.set(source != 0 and self.priority[source - 1] > self.threshold[context])

    def _first(self, context: int) -> int:
        """The source of the highest priority, of equals the lowest ID; 0 when there is none."""
        ready, priority = self.pending & self.enabled[context], self.priority
        best, most = 0, 1  # priority 0 is "never interrupt"
        while ready:
            source = ready.bit_length() - 1
            ready ^= 1 << source
            if priority[source - 1] >= most:
                best, most = source, priority[source - 1]
        return best

    def on_priority_write(self, index: int, value: int) -> None:
        self.priority[index] = value & PRIORITIES
        self.notify()

    def on_threshold_write(self, context: int, value: int) -> None:
        self.threshold[context] = value & PRIORITIES
        self.notify()

    def on_ip_read(self, word: int) -> int:
        return self.pending >> 32 * word & WORD

    def on_ie_read(self, index: int) -> int:
        context, word = divmod(index, self.words)
        return self.enabled[context] >> 32 * word & WORD

    def on_ie_write(self, index: int, value: int) -> None:
        context, word = divmod(index, self.words)
        kept = self.enabled[context] & ~(WORD << 32 * word)
        self.enabled[context] = (kept | (value & WORD) << 32 * word) & self.sources
        self.notify()

    # "Interrupt Claim Process" and "Interrupt Completion"

    def on_claim_read(self, context: int) -> int:
        """The threshold plays no part here."""
        source = self._first(context)
        if source:
            self.pending &= ~(1 << source)
            self.in_service |= 1 << source
            self.notify()
        return source

    def on_complete_write(self, context: int, source: int) -> None:
        """Opens the gateway again; ignored unless the source is enabled for this context."""
        bit = 1 << source if source <= self.last else 0
        if not bit & self.enabled[context] & self.in_service:
            return
        self.in_service &= ~bit
        if self.asserted & bit:
            self.pending |= bit
            self.notify()
