"""The host's terminal as the guest's: raw keys in, bytes out, and everything put back at the end.

Keys after Ctrl-A are for the emulator, as in QEMU: x quits, c opens the monitor, h helps, and
Ctrl-A again sends Ctrl-A. Input that is not a terminal is fed as the guest reads it; its end does
not end the machine, and Ctrl-A means nothing in it.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import select
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from rvvm.py.console import Console
from rvvm.py.engines.engine import ExitLike
from rvvm.py.errors import UserError
from rvvm.py.output import Output
from rvvm.py.threads import Threads
from rvvm.py.until import Condition

if TYPE_CHECKING:
    from rvvm.py.machine import Machine

PREFIX = 0x01  # Ctrl-A
HELP = (
    "\r\nCtrl-A h    this help\r\nCtrl-A x    quit\r\nCtrl-A c    monitor\r\n"
    "Ctrl-A Ctrl-A    send Ctrl-A (so does Ctrl-A a)\r\n"
)
READER_GONE = "gone"
"""The command that stands for: nobody reads our output any more."""
_CHUNK = 1024
_GATHER = 0.01
"""Seconds between two looks at whether the guest has read what there is."""
IMPATIENT = 0.5
"""Seconds that a reader of stdout has at the end, when somebody wants the end now."""
_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Terminated(SystemExit):
    """A signal asked the process to end; the status is the shell's 128 + number."""


class RawMode:
    """A terminal without echo, lines and signals while entered; restored however the block ends.

    Restoring is idempotent and also registered with atexit, so that an exit that runs no
    ``finally`` of ours still gives the shell its terminal back.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._saved: list[Any] | None = None

    def enter(self) -> None:
        """Go raw; does nothing when the descriptor is no terminal or is raw already."""
        if self._saved is not None or not os.isatty(self._descriptor):
            return
        try:
            self._saved = termios.tcgetattr(self._descriptor)
        except termios.error:  # it has gone
            return
        atexit.register(self.leave)
        self.again()

    def again(self) -> None:
        """Raw once more, after a shell that had stopped us used the terminal itself."""
        if self._saved is None:
            return
        with contextlib.suppress(termios.error):
            tty.setraw(self._descriptor, termios.TCSANOW)
            # Output processing stays: messages of ours and of libraries end lines with \n alone.
            mode = termios.tcgetattr(self._descriptor)
            mode[tty.OFLAG] |= termios.OPOST
            termios.tcsetattr(self._descriptor, termios.TCSANOW, mode)

    def leave(self) -> None:
        """Put the saved mode back."""
        if self._saved is not None:
            saved, self._saved = self._saved, None
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._descriptor, termios.TCSANOW, saved)
            atexit.unregister(self.leave)

    def __enter__(self) -> RawMode:
        self.enter()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()


class Keys:
    """Splits typed bytes into what the guest gets and what Ctrl-A commands.

    >>> commands = []
    >>> keys = Keys(commands.append)
    >>> keys.feed(b"ls\\x01"), keys.feed(b"x\\n"), keys.feed(b"\\x01\\x01"), commands
    (b'ls', b'\\n', b'\\x01', ['x'])
    """

    def __init__(self, command: Callable[[str], None]) -> None:
        self._command = command
        self._prefixed = False

    def feed(self, data: bytes) -> bytes:
        """The bytes for the guest."""
        out = bytearray()
        for byte in data:
            if self._prefixed:
                self._prefixed = False
                if byte in (PREFIX, ord("a")):
                    out.append(PREFIX)
                else:
                    self._command(chr(byte))
            elif byte == PREFIX:
                self._prefixed = True
            else:
                out.append(byte)
        return bytes(out)


class Terminal:
    """Joins a machine's console to stdin and stdout while entered.

    ``on_command`` gets the letters typed after Ctrl-A, on the reading thread. Where it is not
    ``joined``, the console is elsewhere, and only signals come from here. Where it is ``held``,
    nothing is read until ``resume``: the first lines are the monitor's.
    """

    def __init__(
        self, console: Console, on_command: Callable[[str], None], joined: bool = True
    ) -> None:
        self._console = console
        self._input = _descriptor(sys.stdin) if joined else -1
        self._output = _descriptor(sys.stdout) if joined else -1
        self._raw = RawMode(self._input)
        self.held = False
        self.interactive = self._input >= 0 and os.isatty(self._input)
        self._keys = Keys(on_command)
        self._closing = threading.Event()
        self._reading = threading.Event()
        self._shows = os.isatty(self._output) if self._output >= 0 else False
        self.output = Output(self._output, lambda: on_command(READER_GONE))
        self.patience: float | None = None
        """Seconds that the last output may take, at the end; None: as long as it likes."""
        self._old_handlers: dict[int, Any] = {}

    def __enter__(self) -> Terminal:
        for number in _ENDING_SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:  # as nohup leaves it
                self._old_handlers[number] = signal.signal(number, _terminate)
        self._old_handlers[signal.SIGCONT] = signal.signal(signal.SIGCONT, self._on_continue)
        self._console.listeners.append(self.output.put)
        self.output.start()
        if not self.held:
            self.resume()
        Threads().start(self._read_all, name="rvvm-stdin")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        try:
            self._closing.set()
            self._console.listeners.remove(self.output.put)
            self.output.close(self.patience if kind is None else IMPATIENT)
        finally:
            self._raw.leave()
            for number, handler in self._old_handlers.items():
                signal.signal(number, handler)
        if kind is None:
            self.check_output()

    def check_output(self) -> None:
        """End what cannot print any more, if not because its reader has enough."""
        error = self.output.error
        if error is None or error.errno == errno.EPIPE:
            return
        if error.errno == errno.EIO and self._shows:
            raise Terminated(128 + signal.SIGHUP)
        raise UserError(f"standard output: {error.strerror}: output of the guest is lost")

    def _on_continue(self, number: int, frame: FrameType | None) -> None:
        self._raw.again()

    def suspend(self) -> None:
        """Give the terminal to a person's own program (the monitor): cooked, and nobody reads."""
        self._reading.clear()
        self.output.drain(IMPATIENT)
        self._raw.leave()

    def resume(self) -> None:
        """Take it back."""
        self._raw.enter()
        self._reading.set()

    def print(self, text: str) -> None:
        """Say something between the guest's output."""
        self.output.put(text.encode())

    def _read_all(self) -> None:
        """The reading thread: until stdin ends or the terminal is closed."""
        while not self._closing.is_set() and self._input >= 0:
            self._reading.wait(0.1)
            ready = self._reading.is_set() and select.select([self._input], [], [], 0.05)[0]
            # The monitor may have begun while select waited; what is typed is then the monitor's.
            if ready and self._reading.is_set() and not self._read():
                return

    def _read(self) -> bool:
        try:
            data = os.read(self._input, _CHUNK)
        except OSError:  # the terminal hung up
            return False
        if not data:
            return False
        data = self._keys.feed(data) if self.interactive else data
        if self._closing.is_set():
            return False
        with contextlib.suppress(RuntimeError):  # it has been closed just now
            self._console.send(data)
        # Flow control: a pipe is read as fast as the guest reads; a person must reach Ctrl-A.
        while not self.interactive and self._console.pending and not self._closing.wait(_GATHER):
            pass
        return True

    def pause_reading(self) -> None:
        """From the reading thread itself: read nothing more until ``resume``."""
        self._reading.clear()


class Congested(Condition):
    """True while stdout does not take what the guest prints."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def arm(self, machine: Machine) -> None:
        self._output.on_full = machine.stop_soon

    def disarm(self, machine: Machine) -> None:
        self._output.on_full = lambda: None

    def met(self, machine: Machine, stop: ExitLike | None) -> Condition | None:
        return self if self._output.full else None

    def __repr__(self) -> str:
        return "stdout is full"


def terminal_size() -> str | None:
    """Rows and columns of the terminal that stdin and stdout are; None when one of them is not."""
    descriptors = [_descriptor(stream) for stream in (sys.stdin, sys.stdout)]
    if not all(descriptor >= 0 and os.isatty(descriptor) for descriptor in descriptors):
        return None
    size = os.get_terminal_size(descriptors[1])
    return f"{size.lines}x{size.columns}"


def _descriptor(stream: Any) -> int:
    """The file descriptor of a standard stream, or -1 when it is closed or not a file."""
    try:
        return int(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return -1


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated(128 + number)
