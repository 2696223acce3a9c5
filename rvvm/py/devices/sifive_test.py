"""SiFive test finisher: one word that ends the run (SiFive "test" block, freedom-devices)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from rvvm.py.devices.device import Wiring
from rvvm.py.devices.syscon import Rule, Syscon

if TYPE_CHECKING:
    from rvvm.py.tree import Node

PASS, FAIL, RESET = 0x5555, 0x3333, 0x7777


class SifiveTest(Syscon, compatible=("sifive,test0", "sifive,test1")):
    """The low half says what, the high half the exit status of a failure.

    A failure with status 0 exits with 1: it must not look like success.
    """

    def __init__(self, halt: Callable[[int], None], reboot: Callable[[], None]) -> None:
        super().__init__(size=1)
        self.rules = [
            Rule(0, 0xFFFF, PASS, lambda _: halt(0)),
            Rule(0, 0xFFFF, FAIL, lambda value: halt(value >> 16 or 1)),
            Rule(0, 0xFFFF, RESET, lambda _: reboot()),
        ]

    @classmethod
    def from_node(cls, node: Node, wiring: Wiring) -> Self:
        return cls(wiring.halt, wiring.reboot)
