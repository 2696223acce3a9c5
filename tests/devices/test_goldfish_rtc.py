"""The Goldfish real-time clock with a clock of our own."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable

import pytest

from devices.access import Guest
from rvvm.py.devices.goldfish_rtc import GoldfishRtc
from rvvm.py.host import Clock

TIME_LOW, TIME_HIGH, ALARM_LOW, ALARM_HIGH = 0x00, 0x04, 0x08, 0x0C
IRQ_ENABLED, CLEAR_ALARM, ALARM_STATUS, CLEAR_INTERRUPT = 0x10, 0x14, 0x18, 0x1C


class Bench(Guest):
    def __init__(self) -> None:
        self.now = 0x1_0000_0005
        self.clock = Clock(lambda: self.now)
        self.rtc = GoldfishRtc(self.clock)
        super().__init__(self.rtc)

    def pass_time(self, nanoseconds: int) -> None:
        self.now += nanoseconds
        self.clock.poll()

    def set_alarm(self, when: int) -> None:
        self.store(ALARM_HIGH, when >> 32)
        self.store(ALARM_LOW, when & 0xFFFF_FFFF)

    def time(self) -> int:
        low = self.load(TIME_LOW)
        return self.load(TIME_HIGH) << 32 | low


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_reading_the_low_half_latches_the_high_one(bench: Bench) -> None:
    assert bench.load(TIME_LOW) == 5
    bench.now = 0x2_0000_0000
    assert bench.load(TIME_HIGH) == 1
    assert bench.load(TIME_LOW) == 0 and bench.load(TIME_HIGH) == 2


def test_setting_the_time(bench: Bench) -> None:
    bench.store(TIME_HIGH, 7)
    assert bench.time() == 0x1_0000_0005, "not before the low half is written"
    bench.store(TIME_LOW, 8)
    bench.now += 1
    assert bench.time() == 0x7_0000_0009


def test_alarm(bench: Bench) -> None:
    bench.store(IRQ_ENABLED, 0xFF)
    assert bench.load(IRQ_ENABLED) == 1
    bench.set_alarm(bench.now + 100)
    assert bench.load(ALARM_STATUS) == 1
    assert (bench.load(ALARM_HIGH), bench.load(ALARM_LOW)) == (1, 105)
    bench.pass_time(99)
    assert not bench.rtc.irq.level
    bench.pass_time(1)
    assert bench.rtc.irq.level and bench.load(ALARM_STATUS) == 0
    bench.store(CLEAR_INTERRUPT, 1)
    assert not bench.rtc.irq.level


def test_an_alarm_in_the_past_rings_at_once(bench: Bench) -> None:
    bench.store(IRQ_ENABLED, 1)
    bench.set_alarm(3)
    assert bench.rtc.irq.level


def test_clear_alarm(bench: Bench) -> None:
    bench.store(IRQ_ENABLED, 1)
    bench.set_alarm(bench.now + 10)
    bench.store(CLEAR_ALARM, 1)
    bench.pass_time(20)
    assert not bench.rtc.irq.level and bench.load(ALARM_STATUS) == 0


def test_a_masked_interrupt_stays_pending(bench: Bench) -> None:
    bench.set_alarm(0)
    assert not bench.rtc.irq.level
    bench.store(IRQ_ENABLED, 1)
    assert bench.rtc.irq.level
    bench.store(IRQ_ENABLED, 0)
    assert not bench.rtc.irq.level


def test_setting_the_time_past_the_alarm_rings(bench: Bench) -> None:
    bench.store(IRQ_ENABLED, 1)
    bench.set_alarm(bench.now + 1000)
    bench.store(TIME_HIGH, 2)
    bench.store(TIME_LOW, 0)
    assert bench.rtc.irq.level


def test_a_restored_alarm_rings(bench: Bench) -> None:
    bench.store(IRQ_ENABLED, 1)
    bench.set_alarm(bench.now + 10)
    other = Bench()
    other.rtc.load_state(bench.rtc.state())
    other.pass_time(10)
    assert other.rtc.irq.level


def test_alarms_set_for_ever_take_no_memory() -> None:
    """One live alarm, a few that were cancelled, and one thread however many are set."""
    clock = Clock()
    guest, before = Guest(GoldfishRtc(clock)), threading.active_count()
    guest.store(ALARM_HIGH, 0x7000_0000)
    for moment in range(2000):
        guest.store(ALARM_LOW, moment)
        assert len(clock._alarms) <= 40 and threading.active_count() <= before + 1
    guest.store(CLEAR_ALARM, 1)
    assert clock.next_alarm is None


def test_alarms_where_time_is_counted_take_no_memory(bench: Bench) -> None:
    for moment in range(2000):
        bench.set_alarm(bench.now + 1000 - moment % 900)
        assert len(bench.clock._alarms) <= 40
    bench.set_alarm(bench.now + 10)
    assert bench.clock.next_alarm == bench.now + 10
    bench.store(IRQ_ENABLED, 1)
    bench.pass_time(10)
    assert bench.rtc.irq.level and bench.clock.next_alarm is None


def test_the_thread_of_alarms_ends() -> None:
    def rings() -> list[threading.Thread]:
        return [it for it in threading.enumerate() if it.name == "rvvm-alarms"]

    before, clock = len(rings()), Clock()
    later = clock.now() + 3600 * 10**9
    clock.call_at(later, lambda: None)
    assert len(rings()) == before + 1
    clock.close()
    _until(lambda: len(rings()) == before)
    clock.call_at(later, lambda: None)
    assert len(rings()) == before + 1
    del clock
    _until(lambda: gc.collect() >= 0 and len(rings()) == before)  # the thread does not keep it


def _until(true: Callable[[], bool]) -> None:
    for _ in range(1000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it does not come true")


def test_a_nearer_alarm_rings_first() -> None:
    clock, rang = Clock(), threading.Event()
    clock.call_at(clock.now() + 3600 * 10**9, lambda: None)
    clock.call_at(clock.now() + 10**6, rang.set)
    assert rang.wait(60)
    clock.close()


def test_the_hosts_clock_rings_by_itself() -> None:
    clock, rang = Clock(), threading.Event()
    assert abs(clock.now() - time.time_ns()) < 10**9
    clock.call_at(clock.now() + 60 * 10**9, lambda: None).cancel()
    clock.call_at(clock.now() + 10**6, rang.set)
    assert rang.wait(60)
