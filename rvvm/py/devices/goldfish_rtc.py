"""Goldfish real-time clock: nanoseconds since 1970, and an alarm.

Android GOLDFISH-VIRTUAL-HARDWARE, "Goldfish timer"; Linux include/clocksource/timer-goldfish.h.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rvvm.py.devices.device import Device, Wiring
from rvvm.py.host import Alarm, Clock
from rvvm.py.register import Register, State

if TYPE_CHECKING:
    from rvvm.py.tree import Node

LOW = 0xFFFF_FFFF
ALL = (1 << 64) - 1


class GoldfishRtc(Device, compatible="google,goldfish-rtc"):
    """Reading TIME_LOW latches TIME_HIGH; writing TIME_LOW sets the time, ALARM_LOW the alarm, with
    the high half that was written before."""

    time_low = Register(0x00, stored=False)
    time_high = Register(0x04)
    alarm_low = Register(0x08)
    alarm_high = Register(0x0C)
    irq_enabled = Register(0x10, writable=1)
    clear_alarm = Register(0x14, access="w", stored=False)
    alarm_status = Register(0x18, access="r")
    clear_interrupt = Register(0x1C, access="w", stored=False)

    offset = State(0, least=-(1 << 64))
    new_high = State(0)
    pending = State(False)

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.alarm: Alarm | None = None
        super().__init__()
        self.irq = self.line()

    @classmethod
    def from_node(cls, node: Node, wiring: Wiring) -> Self:
        return cls(wiring.clock)

    @property
    def now(self) -> int:
        """The guest's time: the clock's, moved by what the guest has set."""
        return self.clock.now() + self.offset & ALL

    def update(self) -> None:
        """Drive the interrupt line."""
        self.irq.set(self.pending and bool(self.irq_enabled))

    # Time

    def on_time_low_read(self) -> int:
        now = self.now
        self.time_high = now >> 32
        return now & LOW

    def on_time_high_write(self, value: int) -> None:
        self.new_high = value

    def on_time_low_write(self, value: int) -> None:
        self.offset = (self.new_high << 32 | value) - self.clock.now()
        self.arm()

    # Alarm

    def on_alarm_low_write(self, value: int) -> None:
        self.alarm_low = value
        self.alarm_status = 1
        self.arm()

    def on_clear_alarm_write(self, value: int) -> None:
        self.alarm_status = 0
        self.arm()

    def on_clear_interrupt_write(self, value: int) -> None:
        self.pending = False
        self.update()

    def on_irq_enabled_write(self, value: int) -> None:
        self.irq_enabled = value & 1
        self.update()

    def arm(self) -> None:
        """Set the clock's alarm to ours."""
        if self.alarm is not None:
            self.alarm.cancel()
            self.alarm = None
        if not self.alarm_status:
            return
        left = (self.alarm_high << 32 | self.alarm_low) - self.now
        if left <= 0:
            self.ring()
        else:
            self.alarm = self.clock.call_at(self.clock.now() + left, self.ring)

    def ring(self) -> None:
        """The alarm's moment has come."""
        self.alarm_status = 0
        self.pending = True
        self.update()

    def restored(self) -> None:
        self.arm()
