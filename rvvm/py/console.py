"""The machine's console: what the guest printed, and what it has yet to read."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rvvm.py import arguments
from rvvm.py.engines.engine import ExitLike
from rvvm.py.host import KEPT
from rvvm.py.until import Condition, seconds

if TYPE_CHECKING:
    from rvvm.py.machine import Machine

Listener = Callable[[bytes], None]


class Console:
    """Both ends of the machine's serial line: a ``Serial`` for the device, an API for the person.

    Output is kept and told to ``listeners``; input waits until the guest reads it.
    """

    patient = True

    def __init__(self, machine: Machine) -> None:
        self.listeners: list[Listener] = []
        self.wake: Callable[[], None] = lambda: None
        self._machine = machine
        self._output = bytearray()
        self._input = bytearray()
        self._lock = threading.Lock()
        self._cursor = 0
        self.echo = in_notebook()
        """Whether a run shows what the guest prints, where nobody says otherwise."""
        self._closed = False

    # The device's end.

    def put(self, data: int, /) -> None:
        """A byte from the guest."""
        self._output.append(data)
        if len(self._output) > 2 * KEPT:
            self._forget(KEPT)
        piece = bytes((data,))
        for listener in tuple(self.listeners):
            listener(piece)

    def take(self, room: int, /) -> bytes:
        """At most ``room`` bytes for the guest, in order."""
        with self._lock:
            piece = bytes(self._input[:room])
            del self._input[:room]
        return piece

    def give_back(self, data: bytes, /) -> None:
        """Bytes that the guest threw away unread: they come first again."""
        with self._lock:
            self._input[:0] = data

    def _forget(self, count: int) -> None:
        """What was printed first."""
        del self._output[:count]
        self._cursor = max(self._cursor - count, 0)

    # Moments

    def state(self) -> dict[str, Any]:
        """Both directions, as plain data."""
        with self._lock:
            output, unread = bytes(self._output), bytes(self._input)
        return {"output": output, "input": unread, "cursor": self._cursor}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over a saved state; nobody is told what was printed then. ValueError for none."""
        output, unread, cursor = state["output"], state["input"], state["cursor"]
        texts = isinstance(output, bytes) and isinstance(unread, bytes)
        if not texts or type(cursor) is not int or not 0 <= cursor <= len(output):
            raise ValueError("no state of a console")
        with self._lock:
            self._output, self._input = bytearray(output), bytearray(unread)
        self._cursor = cursor

    def close(self) -> None:
        """The machine ends: what was printed can still be read."""
        self._closed = True

    # The person's end.

    def send(self, text: str | bytes) -> None:
        """Type ``text``, from any thread: the guest reads it as fast as it likes while it runs."""
        if self._closed:
            raise RuntimeError("the machine is closed")
        if isinstance(text, str):
            text = text.encode()
        elif not isinstance(text, (bytes, bytearray)):
            raise arguments.wrong_type("text", "a text or bytes", text)
        with self._lock:
            self._input += text
        self.wake()

    @property
    def pending(self) -> int:
        """Bytes of input that the guest's serial device has not taken yet."""
        return len(self._input)

    @property
    def text(self) -> str:
        """What the guest has printed, as UTF-8: all of it, or the last ``KEPT`` bytes and more."""
        return self._output.decode(errors="replace")

    def expect(
        self, pattern: str | re.Pattern[str], timeout: float = 60, echo: bool | None = None
    ) -> str:
        """Run until ``pattern`` is printed after the last match; the text from there to its end.

        A str is looked for as it stands, a compiled pattern is searched. TimeoutError when it does
        not come within ``timeout`` seconds, EOFError when the machine ends first. ``echo`` shows
        what is printed meanwhile, as in ``Machine.run``.
        """
        timeout = arguments.duration("timeout", timeout)
        compiled = _compile(pattern)
        found = self._search(compiled)
        if found is not None:
            return found
        stop = self._machine.run(until=Printed(self, compiled) | seconds(timeout), echo=echo)
        found = self._search(compiled)
        if found is not None:
            return found
        tail = bytes(self._output[-200:]).decode(errors="replace")
        last = f"the last it printed: {tail!r}"
        if stop.reason == "halt":
            raise EOFError(f"the machine ended before {pattern!r}; {last}")
        if stop.reason != "until":
            raise TimeoutError(f"the machine stopped ({stop}) before {pattern!r}; {last}")
        raise TimeoutError(f"no {pattern!r} in {timeout:g} s; {last}")

    @contextmanager
    def shown(self, echo: bool | None = None) -> Iterator[None]:
        """While entered, what the guest prints is shown on stdout, if ``echo`` or the default
        says so."""
        if not (self.echo if echo is None else echo):
            yield
            return
        from rvvm.py.echo import Echo

        with Echo() as shown:
            self.listeners.append(shown.put)
            try:
                yield
            finally:
                self.listeners.remove(shown.put)

    def tail(self, count: int) -> bytes:
        """The last bytes that were printed, from any thread."""
        return bytes(self._output[-count:])

    def unread(self) -> bytes:
        """What was printed after the last match of ``expect``."""
        return bytes(self._output[self._cursor :])

    def _search(self, pattern: re.Pattern[bytes]) -> str | None:
        unread = self.unread()
        match = pattern.search(unread)
        if match is None:
            return None
        self._cursor += match.end()
        return unread[: match.end()].decode(errors="replace")

    def __repr__(self) -> str:
        return f"Console({len(self._output)} bytes printed, {self.pending} to read)"


class Printed(Condition):
    """True when the console's unread bytes match a pattern, which may span ``_WINDOW`` of them."""

    _WINDOW = 4096

    def __init__(self, console: Console, pattern: re.Pattern[bytes]) -> None:
        self.console = console
        self.pattern = pattern
        self._found = False

    def arm(self, machine: Machine) -> None:
        self._found = False
        self._stop_soon = machine.stop_soon
        self._recent = self.console.unread()[-self._WINDOW :]
        self.console.listeners.append(self._listen)

    def disarm(self, machine: Machine) -> None:
        self.console.listeners.remove(self._listen)

    def _listen(self, data: bytes) -> None:
        self._recent = (self._recent + data)[-self._WINDOW :]
        if not self._found and self.pattern.search(self._recent):
            self._found = True
            self._stop_soon()

    def met(self, machine: Machine, stop: ExitLike | None) -> Condition | None:
        return self if self._found else None

    def __repr__(self) -> str:
        return f"printed({self.pattern.pattern!r})"


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this; nothing is imported to find out."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def _compile(pattern: str | bytes | re.Pattern[str] | re.Pattern[bytes]) -> re.Pattern[bytes]:
    """The pattern over bytes: the guest may print what is not UTF-8."""
    if isinstance(pattern, (str, bytes)):
        return re.compile(re.escape(_encoded(pattern)))
    if not isinstance(pattern, re.Pattern):
        raise arguments.wrong_type("pattern", "a text or a compiled pattern", pattern)
    return re.compile(_encoded(pattern.pattern), pattern.flags & ~re.UNICODE)


def _encoded(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
