"""What a device may ask of the host: a serial line, the time of day, to stop or restart."""

from __future__ import annotations

import heapq
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from rvvm.py.threads import Threads

if TYPE_CHECKING:
    from rvvm.py.devices.virtio.function import Function


class Serial(Protocol):
    """The host's end of a serial line. The device sets ``wake``, to be called when there is input;
    the board sees to it that it then holds the device lock."""

    wake: Callable[[], None]
    patient: bool
    """Input waits until the guest reads, instead of arriving when it is sent."""

    def put(self, data: int, /) -> None:
        """A byte from the guest."""

    def take(self, room: int, /) -> bytes:
        """At most ``room`` bytes for the guest, in order."""

    def give_back(self, data: bytes, /) -> None:
        """Bytes that were taken, and thrown away unread by the guest: they come first again."""


KEPT = 8 << 20
"""Bytes of output that are kept at least. A guest that prints for ever does not fill the host."""


class SerialPort:
    """A serial line with nobody in particular at the other end.

    >>> port = SerialPort()
    >>> port.put(0x68); port.send(b"input"); (port.output, port.take(2), port.take(9))
    (bytearray(b'h'), b'in', b'put')
    """

    patient = False

    def __init__(self) -> None:
        self.output = bytearray()
        self.wake: Callable[[], None] = lambda: None
        self._input = bytearray()

    def put(self, data: int, /) -> None:
        """A byte from the guest."""
        self.output.append(data)
        if len(self.output) > 2 * KEPT:
            del self.output[:KEPT]

    def take(self, room: int, /) -> bytes:
        """At most ``room`` bytes for the guest, in order."""
        piece = bytes(self._input[:room])
        del self._input[:room]
        return piece

    def give_back(self, data: bytes, /) -> None:
        """Bytes that the guest threw away unread: they come first again."""
        self._input[:0] = data

    def send(self, data: bytes) -> None:
        """Input for the guest; it waits here until the device has room."""
        self._input += data
        self.wake()


class Alarm:
    """A callback at a moment of the clock; None once it has rung or was cancelled."""

    __slots__ = ("callback", "cancelled", "when")

    def __init__(
        self, when: int, callback: Callable[[], None], cancelled: Callable[[], None]
    ) -> None:
        self.when, self.cancelled = when, cancelled
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """It will not ring."""
        if self.callback is not None:
            self.callback = None
            self.cancelled()


_DAY = 86400.0
_FEW = 16  # cancelled alarms that may stay in the heap, besides as many as there are others


class Clock:
    """The time of day in nanoseconds since 1970, and the alarms devices set.

    With a ``source`` of its own (a machine that counts instructions) ``due`` is told when the next
    alarm is, and the machine calls ``poll`` then. Without one this is the host's clock, and a
    thread rings the alarms: one, while there are any, however many are set.
    """

    def __init__(
        self,
        source: Callable[[], int] | None = None,
        due: Callable[[int | None], None] = lambda when: None,
    ) -> None:
        self.lock: AbstractContextManager[Any] = threading.RLock()
        self._source, self._due = source, due
        self._alarms: list[tuple[int, int, Alarm]] = []
        self._cancelled = 0  # of those
        self._order = count()
        self._rings = False  # there is a thread
        self._threads = Threads()
        self._nearer = threading.Event()  # the next alarm is: it sleeps too long
        weakref.finalize(self, self._nearer.set)

    def now(self) -> int:
        """Nanoseconds since 1970."""
        return time.time_ns() if self._source is None else self._source()

    def call_at(self, when: int, callback: Callable[[], None]) -> Alarm:
        """Call back, under the device lock, once ``now()`` has reached ``when``."""
        alarm = Alarm(when, callback, self._forget)
        with self.lock:
            heapq.heappush(self._alarms, (when, next(self._order), alarm))
            if self._alarms[0][2] is alarm:
                self._start()
        return alarm

    @property
    def next_alarm(self) -> int | None:
        """When the next alarm is due."""
        while self._alarms and self._alarms[0][2].callback is None:
            heapq.heappop(self._alarms)
            self._cancelled -= 1
        return self._alarms[0][0] if self._alarms else None

    def poll(self) -> None:
        """Ring every alarm that is due."""
        with self.lock:
            now = self.now()
            while (when := self.next_alarm) is not None and when <= now:
                alarm = heapq.heappop(self._alarms)[2]
                callback, alarm.callback = alarm.callback, None
                if callback is not None:
                    callback()
            if self._source is not None:
                self._due(self.next_alarm)

    def close(self) -> None:
        """No alarm rings any more; the thread ends."""
        with self.lock:
            self._alarms.clear()
            self._cancelled = 0
            self._nearer.set()

    def join(self) -> None:
        """After that, without the lock: the thread has ended."""
        self._threads.join()

    def _forget(self) -> None:
        """An alarm was cancelled: a guest can do that for ever, so now and then all go."""
        with self.lock:
            self._cancelled += 1
            if self._cancelled > len(self._alarms) // 2 + _FEW:
                self._alarms = [entry for entry in self._alarms if entry[2].callback is not None]
                heapq.heapify(self._alarms)
                self._cancelled = 0
            if self._source is not None:  # else the thread finds nothing to ring
                self._due(self.next_alarm)

    def _start(self) -> None:
        """There is a nearer alarm than before."""
        if self._source is not None:
            self._due(self.next_alarm)
        elif self._rings:
            self._nearer.set()
        else:
            self._rings = True
            run = (weakref.ref(self), self._nearer)
            self._threads.start(_ring, *run, name="rvvm-alarms")

    def _left(self) -> float | None:
        """Seconds to sleep; None: no alarm, and the thread ends."""
        with self.lock:
            self._nearer.clear()
            when = self.next_alarm
            self._rings = when is not None
            return None if when is None else min((when - self.now()) / 1e9, _DAY)


def _ring(clock: weakref.ref[Clock], nearer: threading.Event) -> None:
    """The thread that rings a clock's alarms, and does not keep the clock."""
    while (it := clock()) is not None and (left := it._left()) is not None:
        if left <= 0:
            it.poll()
            continue
        del it
        nearer.wait(left)


class Card(NamedTuple):
    """A virtio device, and where it goes: the first free slot of the tree; or of a ``bus``, which
    is ``mmio`` or ``pci``, or a slot's node, by name or path."""

    function: Function
    bus: str | None = None

    def fits(self, *names: str) -> bool:
        """Whether a slot that is known by these names will do."""
        return self.bus is None or self.bus in names


def complain(text: str) -> None:
    """A line for the user, while the machine runs on."""
    print("rvvm:", text, file=sys.stderr, flush=True)


@dataclass
class Host:
    """The host's side of a board. What is left out is filled in by the board.

    ``halt(code)`` stops the machine with an exit status; ``reboot()`` asks for a restart;
    ``serial`` is the line of the console (``/chosen/stdout-path``); ``cards`` are put into the
    board's virtio slots; ``report`` tells the user a line.
    """

    serial: Serial = field(default_factory=SerialPort)
    clock: Clock = field(default_factory=Clock)
    halt: Callable[[int], None] | None = None
    reboot: Callable[[], None] | None = None
    cards: Sequence[Card] = ()
    report: Callable[[str], None] = complain
