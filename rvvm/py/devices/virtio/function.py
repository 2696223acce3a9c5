"""What every virtio device is, below any transport: status, features, queues, configuration.

A kind of device is a subclass with its number, its features and its configuration space declared as
registers, and ``serve``, which handles a queue that was kicked::

    class Entropy(Function, kind=4):
        def serve(self, queue: Queue) -> None:
            for chain in queue:
                ...
                queue.push(chain, written)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

from rvvm.py.devices.device import Device
from rvvm.py.devices.virtio.queue import MAX_SIZE, RING_FEATURES, RING_RESET, Queue
from rvvm.py.devices.virtio.ram import ProtocolError, Ram
from rvvm.py.devices.virtio.ring import within
from rvvm.py.errors import UserError
from rvvm.py.host import Clock
from rvvm.py.register import State

if TYPE_CHECKING:
    from rvvm.py.disk import RawFile

# 2.1: device status
ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, NEEDS_RESET, FAILED = 1, 2, 4, 8, 64, 128
STATUS_BITS = ACKNOWLEDGE | DRIVER | DRIVER_OK | FEATURES_OK | FAILED

# 4.1.4.5 and 4.2.2: why it interrupts
USED_BUFFER, CONFIG_CHANGE = 1, 2


MOST_REPORTS = 16  # lines for the user, of what a driver does wrong


def _nobody() -> None:
    pass


def _now(action: Callable[[], None]) -> None:
    action()


class Function(Device):
    """A device without a place. The board attaches it; its transport sets ``interrupt``.

    ``features`` is what it offers besides those of the rings. Whatever the driver does, the worst
    is NEEDS_RESET: ``guarded`` sees to that.

    Drivers with habits from before version 1.0 are served as QEMU serves them: VERSION_1 need not
    be accepted, features that are not offered are left out, queues may be enabled before
    FEATURES_OK, which may never be set.
    """

    kind: ClassVar[int] = 0
    """The device ID (chapter 5)."""
    serves_early: ClassVar[bool] = False
    """Requests are handled before DRIVER_OK, too: some drivers read a disk in their set-up."""

    status = State(0, most=0xFF)
    accepted = State(0)  # features, by the driver
    pending = State(0)  # why it interrupts
    generation = State(0)  # of the configuration (2.5.2)

    def __init_subclass__(cls, kind: int = 0, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.kind = kind or cls.kind

    def __init__(self, queues: int, features: int = 0, queue_size: int = MAX_SIZE) -> None:
        self.queues = [Queue(queue_size) for _ in range(queues)]
        self.features = features | RING_FEATURES
        self.ram: Ram | None = None
        self.interrupt: Callable[[], None] = _nobody
        self.report: Callable[[str], None] = lambda text: None
        self._reported = 0
        self.lock: AbstractContextManager[Any] = nullcontext()
        self.clock = Clock()
        self.later: Callable[[Callable[[], None]], None] = _now
        """Have something done when the hart that accesses the device has had its turn."""
        self._unfinished: list[Queue] = []  # that have more to do
        self._resumes = False  # ``_resume`` will be called
        self.watch: Callable[[int, Callable[[], None]], None] | None = None
        """Have something done once, when a file of the host's can be read; None: nobody looks."""
        super().__init__()

    def attach(
        self, ram: Ram, report: Callable[[str], None], lock: AbstractContextManager[Any]
    ) -> None:
        """What it needs of the board it is put into. Threads of its own hold the lock."""
        self.ram, self.report, self.lock = ram, report, lock

    # For the subclass

    def serve(self, queue: Queue) -> None:
        """The driver has put requests into this queue."""

    def started(self) -> None:
        """The driver is ready: requests may be there already."""
        for queue in self.queues:
            self.serve_now(queue)

    def close(self) -> None:
        """The machine ends: what it has of the host's is free again."""

    def detach(self) -> None:
        """The board ends, too: nothing of it is held any more, and nobody is told of anything."""
        for queue in self.queues:
            queue.reset()
        self.interrupt, self.watch, self.ram = _nobody, None, None

    def join(self) -> None:
        """After that, without the lock: its threads have ended."""

    def has(self, feature: int) -> bool:
        """Whether the driver accepted a feature."""
        return bool(self.accepted & feature)

    def changed(self) -> None:
        """The configuration space has changed."""
        self.generation = self.generation + 1 & 0xFFFF_FFFF
        self.raise_interrupt(CONFIG_CHANGE)

    # The driver's side, through the transport

    @property
    def running(self) -> bool:
        """Whether requests are to be handled (2.1.2)."""
        return self.status & (DRIVER_OK | NEEDS_RESET) == DRIVER_OK

    def set_status(self, value: int) -> None:
        """Steps of the initialisation (3.1.1); 0 resets."""
        if value == 0:
            self.reset()
            return
        before = self.status
        value = value & STATUS_BITS | before & NEEDS_RESET
        self.status = value
        if value & ~before & DRIVER_OK and self.running:
            self.started()

    def accept(self, features: int) -> None:
        """The driver's features, as far as they are offered; only until FEATURES_OK (3.1.1)."""
        features &= self.features
        if self.status & FEATURES_OK or features == self.accepted:
            return
        self.accepted = features
        for queue in self.queues:
            if queue.ready:
                self.guarded(queue, self._enable)

    def enable(self, queue: Queue, on: bool) -> None:
        """The driver has set a queue up, or takes it back."""
        if not on:
            queue.disable()
        elif not queue.ready and not self.status & NEEDS_RESET:
            self.guarded(queue, self._enable)

    def _enable(self, queue: Queue) -> None:
        if self.ram is not None:
            queue.enable(self.ram, self.accepted)

    def reset_queue(self, queue: Queue) -> None:
        """2.6.1: the driver has it back at once, for nothing of it is under way."""
        if self.has(RING_RESET):
            queue.reset()

    def kick(self, index: int) -> None:
        """The driver says that there are requests in a queue."""
        if index < len(self.queues):
            self.serve_now(self.queues[index])

    def serve_now(self, queue: Queue) -> None:
        """Handle what is in a queue, and tell the driver once."""
        ready = self.running or (self.serves_early and not self.status & NEEDS_RESET)
        if queue.ring is not None and ready:
            self.guarded(queue, self.serve)
            self.publish(queue)
            if queue.more:
                self.go_on(queue)

    def go_on(self, queue: Queue) -> None:
        """There was enough to do for one turn: the rest of the queue is for the next."""
        queue.more = False
        if queue not in self._unfinished:
            self._unfinished.append(queue)
        self._put_off()

    def _put_off(self) -> None:
        if not self._resumes:
            self._resumes = True
            self.later(self._resume)

    def _resume(self) -> None:
        """One queue a turn."""
        self._resumes = False
        if self._unfinished:
            self.serve_now(self._unfinished.pop(0))
        if self._unfinished:
            self._put_off()

    def publish(self, queue: Queue) -> None:
        """Show the driver what is done, with an interrupt if it wants one."""
        if queue.publish():
            self.raise_interrupt(USED_BUFFER)

    def guarded(self, queue: Queue, action: Callable[[Queue], None]) -> None:
        """Whatever a driver has written, it ends here."""
        try:
            action(queue)
        except ProtocolError as error:
            self.fail(f"queue {self.queues.index(queue)}: {error}")

    def fail(self, problem: str) -> None:
        """2.1.2: an error that only a reset gets out of."""
        if not self.status & NEEDS_RESET:
            self.status |= NEEDS_RESET
            self._tell_problem(f"{problem}: stopped until it is reset")
            if self.status & DRIVER_OK:
                self.raise_interrupt(CONFIG_CHANGE)

    def _tell_problem(self, problem: str) -> None:
        """A guest can do wrong for ever; the user hears of some."""
        self._reported += 1
        if self._reported <= MOST_REPORTS:
            end = "; what is wrong later is not told" if self._reported == MOST_REPORTS else ""
            self.report(f"{type(self).__name__.lower()}: {problem}{end}")

    def raise_interrupt(self, why: int) -> None:
        """Have something to tell."""
        self.pending |= why
        self.interrupt()

    def acknowledge(self, seen: int) -> None:
        """The driver has been told."""
        self.pending &= ~seen
        self.interrupt()

    # Moments

    def keep(self) -> Any:
        """What it has of the host's at this moment and no plain data says, for ``back``."""

    def back(self, kept: Any) -> None:
        """Have that again, in this machine or a clone of it."""

    def files(self) -> list[RawFile]:
        """Those of the host's that it cannot do without, and that must stay as they are."""
        return []

    def refill(self, offset: int, data: memoryview) -> None:
        """A piece of what was kept, from a saved machine."""
        raise ValueError(f"{type(self).__name__} keeps nothing")

    def twin(self) -> Function:
        """The same device for a clone of the machine, with nothing of the host's in common that
        either could change."""
        raise UserError(f"a machine with the device {type(self).__name__} cannot be cloned")

    # State

    def reset(self) -> None:
        super().reset()
        for queue in self.queues:
            queue.reset()
        self.interrupt()

    def state(self) -> dict[str, Any]:
        queues = [queue.state() for queue in self.queues]
        unfinished = [self.queues.index(queue) for queue in self._unfinished]
        return super().state() | {"queues": queues, "unfinished": unfinished}

    def load_state(self, state: Mapping[str, Any]) -> None:
        super().load_state(state)
        try:
            for queue, saved in zip(self.queues, state["queues"], strict=True):
                queue.load_state(saved, self.ram, self.accepted)
        except ProtocolError as error:
            raise ValueError(f"no state of a {type(self).__name__}: {error}") from None
        unfinished = list(state.get("unfinished", ()))
        self._check("unfinished", within(unfinished, len(self.queues)))
        self._unfinished, self._resumes = [], False
        for index in unfinished:
            self.go_on(self.queues[index])

    def show(self) -> list[str]:
        return super().show() + [repr(queue) for queue in self.queues]
