"""A machine: a board made from a devicetree, images in its RAM, and the loop that runs it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rvvm import _core
from rvvm._core import DeferredSignals
from rvvm.py import arguments, boot, fdt
from rvvm.py.board import Board, timebase
from rvvm.py.completion import complete, set_chosen, set_timebase
from rvvm.py.console import Console
from rvvm.py.engines.engine import ExitLike
from rvvm.py.errors import UserError
from rvvm.py.hart import Hart, Harts
from rvvm.py.host import Card, Clock, Host, complain
from rvvm.py.memory import Memory
from rvvm.py.options import Options
from rvvm.py.symbols import Symbols
from rvvm.py.tree import Region, Tree
from rvvm.py.until import Condition, as_condition, seconds
from rvvm.py.views.table import Hex
from rvvm.py.views.traps import cause_number

if TYPE_CHECKING:
    from rvvm.py.engines.accelerator import Accelerator
    from rvvm.py.engines.limited import Limited
    from rvvm.py.snapshot import Snapshot
    from rvvm.py.stats import Stats
    from rvvm.py.stream import Stream

_SEED_BYTES = 64
_FIXED_SEED = bytes(range(_SEED_BYTES))
_FIXED_EPOCH = 1_700_000_000 * 10**9
"""With --clock instructions everything a guest can read of the world outside is fixed."""
_ASKED = ("breakpoint", "watchpoint", "trap")
"""Exits that somebody asked for: a condition of this run, or else a call of before."""
_RUNS = "the machine runs: pause it first"
_NEVER = (1 << 64) - 1
"""A time that counted instructions do not reach."""


@dataclass(frozen=True)
class Stop:
    """Why ``run`` came back.

    ``reason`` is ``halt`` (the guest ended the machine; ``detail`` is its exit status), ``until``
    (``condition`` came true), ``pause`` (somebody asked), or ``breakpoint``, ``watchpoint``,
    ``trap``, set by other means.
    """

    reason: str
    hart: int = 0
    detail: int = 0
    condition: Condition | None = None

    def __repr__(self) -> str:
        why = self.condition if self.condition is not None else hex(self.detail)
        return f"Stop({self.reason}: {why}, hart {self.hart})"

    def __str__(self) -> str:
        what = self.condition if self.condition is not None else f"{self.detail:#x}"
        return f"{self.reason} {what} on hart {self.hart}"


class Machine:
    """A paused machine, ready to run. The options are those of the command line.

    ``dtb`` is a .dts or .dtb file (default: the packaged virt board); ``kernel``, ``bios`` and
    ``initrd`` are files or names of images (``debian``, ``opensbi``); with a kernel and no ``bios``
    OpenSBI starts it, ``bios="none"`` starts it in M-mode. ``memory`` is a size (``"1G"``, or bytes
    as an int), ``harts`` a number; without them the tree decides. ``clock="instructions"`` makes
    runs repeatable; else several harts run on a host thread each, unless ``threads=False``.
    ``drive``, ``netdev``, ``share`` and ``device`` are texts as on the command line, or lists of
    them; a drive may be a path or a ``Drive``, too, and ``commit=True`` lets the guest write into
    the images. ``serial`` joins the console to a file, a socket or a pseudoterminal besides;
    ``limit_cpu="50%"`` leaves the rest of a host processor to others. ``terminal="24x80"`` says
    that the console is at a terminal of so many rows and columns. UserError when something is wrong
    with what is given.
    """

    def __init__(self, dtb: Any = None, **options: Any) -> None:
        self.options = Options.named(dtb=dtb, **options)
        self.options.check()
        images = self.options.files()
        self._assemble(self._tree(), self.options.cards)
        self._boot_plan(images).apply(self.system)
        self._attach(self._boot_plan().symbols)

    # Making it.

    def _assemble(self, tree: Tree, cards: Callable[[], Sequence[Card]]) -> None:
        """All but what is in RAM."""
        self.tree = tree
        self.system = self._make_system()
        self.console = Console(self)
        self.line = self._connect_console()
        self.board = self._make_board(cards())
        self.symbols = Symbols()
        self.memory = Memory(self.system, self.symbols, self.board.memory, self._loaded)
        ring = self.board.host.clock.poll if self.options.clock == "instructions" else None
        self.harts = Harts(Hart(core, self.symbols, ring) for core in self.system.harts)
        self.status: int | None = None
        self._paused = self._rebooting = self._closed = False
        self._running = threading.Lock()
        """Held by the thread that runs the machine."""
        self._breakpoints: Counter[int] = Counter()
        self._trap_stops: Counter[int] = Counter()
        self._plan: boot.Plan | None = None
        self.detached: list[str] = []
        """Of a loaded machine: what it had of the host, and has nothing behind it now."""
        self.shape = b""
        """The devicetree as it is at first: what a snapshot's machine is known by."""

    def _attach(self, symbols: Mapping[str, int]) -> None:
        """Symbols, and what needs all the rest."""
        self.symbols.add(symbols)
        self.board.attach_symbols(self.symbols)
        self._accelerator = self._make_accelerator()

    def _boot_plan(self, images: boot.Images | None = None) -> boot.Plan:
        """What a reset puts into RAM. A loaded machine has none until it needs it."""
        if self._plan is None:
            images = images or self.options.files()
            self._plan = boot.make_plan(images, self.board.memory, self.harts[0].id)
            self._finish_tree(self._plan)
        return self._plan

    def _loaded(self) -> Sequence[boot.Place]:
        """What a reset has put into RAM; nothing is known of it in a loaded machine."""
        return self._plan.places() if self._plan is not None else ()

    @classmethod
    def _made_of(
        cls,
        options: Options,
        tree: Tree,
        shape: bytes,
        cards: Sequence[Card],
        symbols: Mapping[str, int],
    ) -> Machine:
        """A machine with nothing in RAM, for a state that is known."""
        machine = cls.__new__(cls)
        machine.options = options
        machine._assemble(tree, lambda: cards)
        machine.shape = shape
        machine._attach(symbols)
        return machine

    def _tree(self) -> Tree:
        tree = fdt.load(self.options.board)
        if note := set_timebase(tree):
            complain(note)
        complete(tree, memory=self.options.memory_bytes, harts=self.options.harts)
        return tree

    def _make_system(self) -> _core.System:
        try:
            return _core.System(
                timebase=timebase(self.tree),
                clock=self.options.clock,
                accel=self.options.core_accel,
                threads=self.options.core_threads,
                perf_map=self.options.perf_map,
                background=len(os.sched_getaffinity(0)) > 1,
            )
        except OSError as error:
            raise UserError(f"--accel {self.options.accel}: {error.strerror}") from None
        except ValueError as error:
            asked = str(error).startswith("accel")
            raise (UserError(f"--{error}") if asked else self.tree.error(str(error))) from None

    def _connect_console(self) -> Stream | None:
        if self.options.serial is None or self.options.on_terminal:
            return None
        from rvvm.py.lines import connect

        return connect(self.console, self.options.serial)

    def _make_board(self, cards: Sequence[Card]) -> Board:
        host = Host(self.console, self._clock(), self.halt, self._reboot, cards)
        try:
            return Board(self.tree, self.system, host)
        except MemoryError:
            raise UserError("this host has not enough memory for the board's RAM") from None

    def _clock(self) -> Clock:
        if self.options.clock == "host":
            return Clock()
        frequency, system = timebase(self.tree), self.system

        def now() -> int:
            return _FIXED_EPOCH + system.time * 10**9 // frequency

        def due(when: int | None) -> None:
            ticks = _NEVER if when is None else -((_FIXED_EPOCH - when) * frequency // 10**9)
            system.alarm = min(max(ticks, 0), _NEVER)

        return Clock(now, due)

    def _finish_tree(self, plan: boot.Plan) -> None:
        """What a boot loader writes into /chosen, and the blob into RAM."""
        initrd = plan.initrd
        counted = self.options.clock == "instructions"
        console = self.board.console_node()
        set_chosen(
            self.tree,
            bootargs=self.options.bootargs,
            initrd=Region(initrd[0], initrd[1] - initrd[0]) if initrd else None,
            rng_seed=_FIXED_SEED if counted else os.urandom(_SEED_BYTES),
            stdout_path=console.path if console and not self._has_stdout() else None,
            terminal=self.options.terminal_size,
        )
        blob = fdt.to_dtb(self.tree)
        self.shape = self.shape or blob
        plan.add_devicetree(blob)

    def _has_stdout(self) -> bool:
        chosen = self.tree.find("/chosen")
        return chosen is not None and "stdout-path" in chosen

    @property
    def slow_engine(self) -> str:
        """A line for who asked for the fastest engine and got the interpreter; else empty."""
        if self.options.accel != "auto" or self.system.accel != "interp":
            return ""
        why = f"{os.uname().machine} hosts have no translator"
        if not self.system.room_for_code:
            why = "this host has no memory for translated code"
        return f"{why}: the interpreter runs"

    def _make_accelerator(self) -> Accelerator | Limited | None:
        """None stands for the core itself."""
        engine: Accelerator | None = None
        if self.options.accel == "unicorn":
            from rvvm.py.engines.accelerator import Accelerator

            engine = Accelerator(self.system, self.board)
        if (share := self.options.cpu_share) is None:
            return engine
        from rvvm.py.engines.limited import Limited

        return Limited(engine or self.system, share)

    # Running it.

    def run(
        self,
        until: Condition | None = None,
        timeout: float | None = None,
        echo: bool | None = None,
    ) -> Stop:
        """Run until the guest ends, a condition comes true, or somebody pauses.

        ``timeout`` is in seconds of the host's time; TimeoutError when it passes first. After the
        guest has ended the machine, ``run`` returns at once: ``reset`` starts it anew. ``echo``
        shows what the guest prints meanwhile; ``console.echo`` is the default, which is True in a
        notebook.
        """
        if until is not None:
            as_condition(until)
        with DeferredSignals(), self.console.shown(echo):
            return self._run_within(until, timeout)

    def _run_within(self, until: Condition | None, timeout: float | None) -> Stop:
        if timeout is None:
            return self._run(until)
        limit = seconds(arguments.duration("timeout", timeout))
        stop = self._run(limit if until is None else until | limit)
        if stop.condition is limit:
            what = "the machine did not end" if until is None else f"{until} did not happen"
            raise TimeoutError(f"{what} in {timeout:g} s")
        return stop

    def _run(self, until: Condition | None) -> Stop:
        self._check_open()
        if not self._running.acquire(blocking=False):
            raise RuntimeError(_RUNS)
        try:
            return self._armed(until)
        finally:
            self._running.release()

    def _armed(self, until: Condition | None) -> Stop:
        if self._rebooting:
            self._reset()
        if self.status is not None:
            return Stop("halt", detail=self.status)
        if until is None:
            return self._loop(None)
        until.arm(self)
        try:
            return self._loop(until)
        finally:
            until.disarm(self)

    # Moments of it.

    def snapshot(self) -> Snapshot:
        """The paused machine as it is, disks included, for ``restore``. It may outlive the machine.

        UserError when a disk is written in place.
        """
        self._check_paused()
        from rvvm.py import snapshot

        return snapshot.take(self)

    def restore(self, snapshot: Snapshot) -> None:
        """Go back, or on, to a moment of this machine or of one it was cloned from.

        What is outside stays as it is: files in a shared folder, the far ends of connections.
        """
        self._check_paused()
        from rvvm.py.snapshot import Snapshot, put

        if not isinstance(snapshot, Snapshot):
            raise arguments.wrong_type("snapshot", "what m.snapshot() gave", snapshot)
        with DeferredSignals():
            put(self, snapshot)

    def fork(self) -> Machine:
        """A machine of its own that goes on from here; the two share the memory neither changes.

        Its disks are overlays over the same bases, its networks have no cable, its consoles end in
        memory, and a shared folder has to be mounted anew.
        """
        self._check_paused()
        from rvvm.py import snapshot

        moment = snapshot.take(self, to_share=True)
        cards = [Card(card.function.twin(), card.bus) for card in self.board.host.cards]
        clone = self._made_of(self.options, self.tree, self.shape, cards, self.symbols)
        clone._plan = self._plan
        snapshot.put(clone, moment)
        return clone

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the paused machine into a file that ``load`` reads, on another host too."""
        self._check_paused()
        from rvvm.py import snapshot

        snapshot.save(self, arguments.path("path", path))

    @classmethod
    def load(cls, path: str | os.PathLike[str], **changes: Any) -> Machine:
        """The machine that was saved; ``changes`` are options that it shall have otherwise, such
        as where the base of a disk is. UserError for a file that is damaged or of another version,
        and when a base has changed."""
        from rvvm.py import snapshot

        Options.check_names(changes)
        return snapshot.load(arguments.path("path", path), changes, cls._made_of)

    def close(self) -> None:
        """End the paused machine: what the guest has written is on the host's disks, and memory,
        files and sockets are free for others. ``with`` does it, too; a second time does nothing.

        RAM that somebody has a view of stays until the view is gone.
        """
        if self._closed:
            return
        self._check_paused()
        with DeferredSignals():
            self._closed = True
            self.status = 0 if self.status is None else self.status
            self._give_up()

    def _give_up(self) -> None:
        """What the machine has of the host's is free; an error of the last writes comes after
        that."""
        with contextlib.ExitStack() as ending:
            ending.callback(self.system.close)
            if self._accelerator is not None:
                ending.callback(self._accelerator.close)
            ending.callback(self.console.close)
            if self.line is not None:
                ending.callback(self.line.join)
                ending.callback(self.line.close)
            ending.callback(self.board.close)
            ending.callback(self.system.log_commits, None)
        self._accelerator = self._plan = None

    def __enter__(self) -> Machine:
        self._check_open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the machine is closed")

    def _check_paused(self) -> None:
        self._check_open()
        if self._running.locked():
            raise RuntimeError(_RUNS)

    def _loop(self, until: Condition | None) -> Stop:
        """Call the core until an Exit of it means that the caller wants to know."""
        exit: ExitLike | None = None
        while True:
            if until is not None and (condition := until.met(self, exit)) is not None:
                return Stop("until", exit.hart if exit else 0, condition=condition)
            exit = self._once(until.budget(self) if until is not None else None)
            stop = self._judge(exit)
            if stop is not None and not (stop.reason in _ASKED and until and until.met(self, exit)):
                return stop

    def _once(self, budget: int | None) -> ExitLike:
        exit = self._engine_run(budget)
        if self.options.clock == "instructions":
            self.board.host.clock.poll()
        return exit

    def _engine_run(self, budget: int | None) -> ExitLike:
        engine = self._accelerator or self.system
        return engine.run(budget)

    def _judge(self, exit: ExitLike) -> Stop | None:
        """A Stop, or None for an Exit that nobody is interested in."""
        if self.status is not None or exit.reason == "halt":
            self.status = exit.detail if self.status is None else self.status
            return Stop("halt", exit.hart, self.status)
        if self._rebooting:
            self._reset()
        if self._paused:
            self._paused = False
            return Stop("pause", exit.hart)
        if exit.reason in _ASKED:
            return Stop(exit.reason, exit.hart, exit.detail)
        return None

    @property
    def is_running(self) -> bool:
        """Whether ``run`` is at work, in whatever thread."""
        return self._running.locked()

    def pause(self) -> None:
        """From any thread: ``run`` returns at the next instruction boundary."""
        self._check_open()
        self._paused = True
        self.stop_soon()

    def stop_soon(self) -> None:
        """Make the core come back, for ``run`` to look at its conditions."""
        self.system.pause()
        if self._accelerator is not None:
            self._accelerator.pause()

    def step(self, count: int = 1, hart: int = 0) -> ExitLike:
        """Execute ``count`` instructions of one hart."""
        self._check_paused()
        last = len(self.harts) - 1
        return self.harts[arguments.integer("hart", hart, 0, last)].step(count)

    def reset(self) -> None:
        """As at power-on: images in RAM again, every device and hart in its reset state."""
        self._check_paused()
        with DeferredSignals():
            self._reset()

    def _reset(self) -> None:
        """One that fails is done anew by the next run."""
        self._rebooting = True
        self.status = None
        self.system.reset()
        self.board.reset()
        self._boot_plan().apply(self.system)
        self._rebooting = False

    def halt(self, code: int) -> None:
        """End the machine with an exit status: what devices call when the guest asks for it."""
        code = arguments.integer("code", code)
        self.status = code
        self.system.halt(code)
        if self._accelerator is not None:
            self._accelerator.pause()

    def _reboot(self) -> None:
        """A device restarts the machine: done by the loop, not under the device's feet."""
        self._rebooting = True
        self.stop_soon()

    # Looking at it.

    @property
    def instret(self) -> int:
        """Instructions retired by all harts since reset."""
        return sum(hart.instret for hart in self.system.harts)

    @property
    def traps(self) -> int:
        """Traps taken by all harts since reset."""
        return sum(hart.traps for hart in self.system.harts)

    def stats(self) -> Stats:
        """What the engine has done so far."""
        from rvvm.py.stats import Stats

        return Stats(self.system.stats(), self.system.samples(), self.symbols)

    def address(self, where: int | str) -> int:
        """A number as it is, or a symbol's address; KeyError when there is no such symbol."""
        return Hex(self.symbols.address(where))

    def add_breakpoint(self, where: int | str) -> None:
        """Stop before the instruction at an address or a symbol; nests."""
        address = self.symbols.address(where)
        self._breakpoints[address] += 1
        if self._breakpoints[address] == 1:
            self.system.add_breakpoint(address)

    def remove_breakpoint(self, where: int | str) -> None:
        """Undo one ``add_breakpoint``."""
        address = self.symbols.address(where)
        if address not in self._breakpoints:
            raise ValueError(f"there is no breakpoint at {address:#x}")
        self._breakpoints[address] -= 1
        if self._breakpoints[address] <= 0:
            del self._breakpoints[address]
            self.system.remove_breakpoint(address)

    def stop_on_trap(self, cause: int | str, wanted: bool) -> None:
        """Stop after a hart took this trap (bit 63 set for an interrupt); nests."""
        cause = cause_number(cause)
        self._trap_stops[cause] += 1 if wanted else -1
        self._trap_stops = +self._trap_stops
        self.system.stop_on_traps(set(self._trap_stops))

    def __repr__(self) -> str:
        if self._closed:
            return f"Machine({self.tree.root.string('model', str(self.options.board))}: closed)"
        modes = " ".join(hart.mode for hart in self.harts)
        ram = sum(region.size for region in self.board.memory) >> 20
        name = self.tree.root.string("model", str(self.options.board))
        return f"Machine({name}: {len(self.harts)} harts ({modes}), {ram} MiB)"
