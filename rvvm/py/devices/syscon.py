"""System controller registers, and the power-off and reboot that are written into one.

Devicetree bindings: mfd/syscon, power/reset/syscon-poweroff and syscon-reboot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Self

from rvvm.py.devices.device import Device, Wiring
from rvvm.py.register import Registers

if TYPE_CHECKING:
    from rvvm.py.tree import Node

MAX_SIZE = 0x10_0000


class Rule(NamedTuple):
    """What a write of ``value`` (under ``mask``) into a word does; it gets the word written."""

    word: int
    mask: int
    value: int
    action: Callable[[int], None]


class Syscon(Device, compatible="syscon"):
    """Words that keep what is written; some values act."""

    words = Registers(0, count="size")

    def __init__(self, size: int = 1) -> None:
        self.size = size
        self.rules: list[Rule] = []
        super().__init__()

    @classmethod
    def from_node(cls, node: Node, wiring: Wiring) -> Self:
        size = node.reg()[0].size
        if size > MAX_SIZE:
            raise node.error(f"a syscon of {size:#x} bytes is more than {MAX_SIZE:#x}")
        return cls(size // 4)

    def on_words_write(self, index: int, value: int) -> None:
        self.words[index] = value
        for rule in self.rules:
            if rule.word == index and value & rule.mask == rule.value:
                rule.action(value)
                return


class SysconPoweroff(Device, compatible="syscon-poweroff"):
    """A value in a syscon's word that switches the machine off."""

    def __init__(self, syscon: Syscon, rule: Rule) -> None:
        super().__init__()
        syscon.rules.append(rule)

    @classmethod
    def from_node(cls, node: Node, wiring: Wiring) -> Self:
        syscon = wiring.device(node.reference("regmap"))
        if not isinstance(syscon, Syscon):
            raise node["regmap"].error("does not refer to a syscon")
        # The binding: without value the mask is the value, and without mask all bits count.
        mask = node.u32("mask", 0xFFFF_FFFF)
        value = node.u32("value", mask if "mask" in node else None)
        word = node.u32("offset", 0) // 4
        return cls(syscon, Rule(word, mask, value & mask, cls.action(wiring)))

    @classmethod
    def action(cls, wiring: Wiring) -> Callable[[int], None]:
        """What happens."""
        return lambda _: wiring.halt(0)


class SysconReboot(SysconPoweroff, compatible="syscon-reboot"):
    """A value in a syscon's word that restarts the machine."""

    @classmethod
    def action(cls, wiring: Wiring) -> Callable[[int], None]:
        return lambda _: wiring.reboot()
