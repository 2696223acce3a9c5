"""The monitor's line editor: history and completion at a terminal.

Only the monitor imports this, when it opens: prompt_toolkit takes longer to import than a machine
to be made.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import termios
import tty
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import History
from prompt_toolkit.input.typeahead import get_typeahead
from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.output import ColorDepth, Output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.shortcuts import CompleteStyle

from rvvm.py.errors import UserError
from rvvm.py.images import cache

Complete = Callable[[str], Iterable[str]]
_KEPT = 1000
"""Lines of history."""
_NO_KEY = b"\0"
"""POSIX's _POSIX_VDISABLE, on Linux."""
_PROMPT_STYLE = "ansicyan"
"""With one, the blank behind the prompt is written, too."""


class Editor:
    """Reads lines; the terminal is set for each line, and as it was after it.

    ``complete`` gives the words that may stand where a text ends.
    """

    def __init__(self, complete: Complete) -> None:
        self._input = _Keys(sys.stdin)
        self._session: PromptSession[str] = PromptSession(
            history=_FileHistory(_history_file()),
            completer=_Words(complete),
            complete_style=CompleteStyle.READLINE_LIKE,
            input=self._input,
            output=_output(),
        )

    def read(self, prompt: str) -> str:
        """The next line. EOFError for Ctrl-D on an empty one, KeyboardInterrupt for Ctrl-C."""
        with _no_asyncio_log():
            return self._session.prompt([(_PROMPT_STYLE, prompt)])

    def rest(self) -> str:
        """Keys that were typed behind the last line and are not the editor's any more."""
        return "".join(key.data for key in get_typeahead(self._input))


class _Keys(Vt100Input):
    """The keyboard, where Ctrl-C stays a signal as in any line that is typed to a tool.

    prompt_toolkit takes the signal for the key. Ctrl-Z and Ctrl-\\ are no signals here: they would
    leave a terminal behind that nobody has put back.
    """

    def raw_mode(self) -> contextlib.AbstractContextManager[None]:
        return _editing(self.fileno())


@contextlib.contextmanager
def _no_asyncio_log() -> Iterator[None]:
    """Where a signal ends the editor because its terminal has gone, asyncio logs what the editor's
    task meets on its way out: the terminal's errors, with a traceback."""
    log = logging.getLogger("asyncio")
    before = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(before)


@contextlib.contextmanager
def _editing(descriptor: int) -> Iterator[None]:
    """The terminal without echo and lines."""
    before, mode = termios.tcgetattr(descriptor), termios.tcgetattr(descriptor)
    mode[tty.IFLAG] &= ~(termios.IXON | termios.ICRNL | termios.INLCR | termios.IGNCR)
    mode[tty.LFLAG] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN)
    mode[tty.CC][termios.VMIN], mode[tty.CC][termios.VTIME] = 1, 0
    mode[tty.CC][termios.VSUSP] = mode[tty.CC][termios.VQUIT] = _NO_KEY
    termios.tcsetattr(descriptor, termios.TCSANOW, mode)
    try:
        yield
    finally:
        with contextlib.suppress(termios.error):  # it may have gone
            termios.tcsetattr(descriptor, termios.TCSANOW, before)


def _output() -> Output:
    """The terminal, which is not asked where its cursor is (``ESC[6n``): an answer that comes late
    would be typed to the guest."""
    output = Vt100_Output.from_pty(
        sys.stdout,
        term=os.environ.get("TERM"),
        default_color_depth=ColorDepth.from_env(),
        enable_bell=False,
    )
    output.enable_cpr = False
    return output


class _Words(Completer):
    """Offers the words in place of the one that the cursor is behind."""

    def __init__(self, complete: Complete) -> None:
        self._complete = complete

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
        begun = document.text_before_cursor
        last = begun.rpartition(" ")[2]
        for word in self._complete(begun):
            end = "" if word.endswith("/") else " "
            yield Completion(word + end, -len(last), display=word)


class _FileHistory(History):
    """The last lines, also those of earlier monitors. A file that cannot be used is not missed."""

    def __init__(self, file: Path | None) -> None:
        super().__init__()
        self._file = file

    def load_history_strings(self) -> Iterable[str]:
        lines: list[str] = []
        if self._file is not None:
            with contextlib.suppress(OSError):
                lines = self._file.read_text(encoding="utf-8", errors="replace").splitlines()
            if len(lines) > 2 * _KEPT:
                lines = lines[-_KEPT:]
                with contextlib.suppress(OSError):
                    cache.write(self._file, "".join(f"{line}\n" for line in lines).encode())
        return reversed(lines)

    def store_string(self, string: str) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError), self._file.open("a", encoding="utf-8") as file:
                file.write(" ".join(string.split()) + "\n")


def _history_file() -> Path | None:
    try:
        return cache.folder() / "monitor-history"
    except UserError:
        return None
