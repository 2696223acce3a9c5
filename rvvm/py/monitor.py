"""The monitor behind Ctrl-A c: look at a paused machine, change little, go on.

Every command is a method ``do_<name>`` whose docstring is its help. Answers are the views' text.
"""

from __future__ import annotations

import inspect
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING

from rvvm.py import arguments
from rvvm.py.errors import UserError
from rvvm.py.views.table import Table, hexadecimal

if TYPE_CHECKING:
    from rvvm.py.hart import Hart
    from rvvm.py.machine import Machine

PROMPT = "(rvvm) "
_UNITS = {"b": 1, "h": 2, "w": 4, "g": 8}
_MOST = 4096
"""Units, instructions or texts that one ``x`` shows."""
_LONGEST_TEXT = 256
_MISTAKES = (ValueError, KeyError, IndexError, AttributeError, UserError)
_PLACE = re.compile(
    r"(?P<register>\$\w+|pc)(?:(?P<sign>[+-])(?P<distance>0x[0-9a-f]+|\d+))?", re.IGNORECASE
)


class Next(Enum):
    """What the caller does when the monitor closes."""

    CONTINUE = "continue"
    QUIT = "quit"


class Monitor:
    """Reads commands with ``ask`` (a line editor, at a terminal) and prints with ``say``."""

    def __init__(
        self,
        machine: Machine,
        ask: Callable[[str], str] | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.machine = machine
        self._ask = ask
        self._say = say
        self._hart = 0
        self._next: Next | None = None

    @property
    def hart(self) -> Hart:
        """The hart that commands speak of; ``hart N`` chooses it."""
        return self.machine.harts[self._hart]

    def loop(self) -> Next:
        """Answer commands until one of them leaves; the end of the input continues."""
        if self._ask is not None or not _at_terminal():
            return self._loop(self._ask or input)
        from rvvm.py.line_editor import Editor

        editor = Editor(self.completions)
        left = self._loop(editor.read)
        self.machine.console.send(editor.rest())
        return left

    def _loop(self, ask: Callable[[str], str]) -> Next:
        self._next = None
        while self._next is None:
            try:
                lines = ask(PROMPT).splitlines()
            except EOFError:
                return Next.CONTINUE
            except KeyboardInterrupt:
                self._say("")
                continue
            for line in lines:  # several when they were pasted
                if self._next is None:
                    self.execute(line)
        return self._next

    def execute(self, line: str) -> None:
        """One command line; a mistake in it is told, not raised."""
        try:
            name, *arguments = _split(line) or [""]
            if name:
                self._call(name, arguments)
        except KeyboardInterrupt:
            self._say("interrupted")
        except _MISTAKES as error:
            self._say(f"{line}: {error}")

    def _call(self, name: str, words: Sequence[str]) -> None:
        command = self._find(name)
        try:
            inspect.signature(command).bind(*words)
        except TypeError:
            raise ValueError(f"usage: {self._usage(name)}") from None
        command(*words)

    def _find(self, name: str) -> Callable[..., None]:
        """A command by name, alias or unambiguous beginning."""
        if name.startswith("x/"):
            return lambda address="pc": self._examine(name[2:], address)
        return self._method(_choose(_ALIASES.get(name, name), self._names(), "command"))

    def _method(self, name: str) -> Callable[..., None]:
        method: Callable[..., None] = getattr(self, f"do_{name}")
        return method

    @staticmethod
    def _names() -> list[str]:
        return [name.removeprefix("do_") for name in dir(Monitor) if name.startswith("do_")]

    def _usage(self, name: str) -> str:
        name = _choose(_ALIASES.get(name.partition("/")[0], name), self._names(), "command")
        return (self._method(name).__doc__ or name).splitlines()[0]

    def do_help(self, command: str = "") -> None:
        """help [COMMAND]: this list, or one line of it"""
        names = [command] if command else self._names()
        rows = [self._usage(name).partition(": ")[::2] for name in names]
        self._say(Table("", ("", ""), rows).text())

    def do_info(self, what: str = "registers", name: str = "") -> None:
        """info registers|fp|csr [NAME|all]|trap|harts|symbols [PART]|stats|hot|board|memory"""
        shows: Mapping[str, Callable[[], object]] = {
            "registers": lambda: self.hart.x,
            "fp": lambda: self.hart.f,
            "csr": lambda: self._csr(name),
            "trap": lambda: self.hart.last_trap,
            "harts": self._harts,
            "symbols": lambda: self._symbols(name),
            "stats": self.machine.stats,
            "hot": lambda: self.machine.stats().hottest(),
            "board": lambda: self.machine.board,
            "memory": lambda: self.machine.memory,
        }
        self._say(repr(shows[_choose(what, shows, "subject")]()))

    def _csr(self, name: str) -> Table:
        if name in ("", "all"):
            return (
                self.hart.csr.table() if name else self.hart.csr.changed("; info csr all shows all")
            )
        return self.hart.csr[name].table()

    def _harts(self) -> Table:
        rows = [
            (hart.id, hart.mode, hexadecimal(hart.pc), hart.instret, "wfi" if hart.waiting else "")
            for hart in self.machine.harts
        ]
        return Table("", ("hart", "mode", "pc", "instructions", ""), rows, {self._hart})

    def _symbols(self, part: str) -> Table:
        symbols = self.machine.symbols
        rows = [(hexadecimal(symbols[name]), name) for name in symbols if part in name]
        if not rows:
            return Table(f"no symbol has {part} in it" if part else "there are no symbols", (), ())
        return Table("", ("", ""), sorted(rows))

    def do_hart(self, number: str = "") -> None:
        """hart [N]: speak of hart number N from now on, or say which it is"""
        last = len(self.machine.harts) - 1
        if number:
            chosen = _number(number, "hart")
            if chosen > last:
                known = "the only hart is 0" if last == 0 else f"there are harts 0 to {last}"
                raise ValueError(f"no hart {number}; {known}")
            self._hart = chosen
        else:
            self._say(f"hart {self._hart} of 0 to {last}")

    def do_step(self, count: str = "1") -> None:
        """step [N]: execute N instructions of this hart, and show the next one"""
        self.hart.step(_number(count, "N"))
        self.do_disassemble("1")

    def do_save(self, file: str) -> None:
        """save FILE: write the machine into a file that --load reads"""
        self.machine.save(file)

    def do_continue(self) -> None:
        """continue: let the machine run again"""
        self._next = Next.CONTINUE

    def do_quit(self) -> None:
        """quit: end the emulator"""
        self._next = Next.QUIT

    def do_translate(self, address: str, access: str = "load") -> None:
        """translate ADDRESS [load|store|fetch]: the page walk, both stages"""
        access = _choose(access, _ACCESSES, "access")
        self._say(repr(self.hart.translate(self._address(address), access)))

    def do_disassemble(self, count: str = "8", address: str = "pc") -> None:
        """disassemble [N] [ADDRESS]: N instructions"""
        self._instructions(_number(count, "N", _MOST), self._address(address))

    def do_x(self, address: str = "pc") -> None:
        """x/NF ADDRESS: N units of memory as the hart sees it; F is b, h, w, g; i or s"""
        self._examine("", address)

    def _examine(self, form: str, address: str) -> None:
        """``x/``, as in gdb: a count, then a format and a size in any order."""
        digits = form[: len(form) - len(form.lstrip("0123456789"))]
        letters = set(form[len(digits) :])
        units, formats = letters & set(_UNITS), letters & set("xis")
        if len(units) > 1 or len(formats) > 1 or letters - units - formats:
            raise ValueError(
                f"x/ takes a count, then b, h, w or g for units of 1, 2, 4 or 8 bytes,"
                f" i for instructions or s for text, as in x/10i, not {form!r}"
            )
        count, at = _number(digits or "8", "the count", _MOST), self._address(address)
        if "i" in formats:
            self._instructions(count, at)
        elif "s" in formats:
            self._texts(count if digits else 1, at)
        else:
            self._say(self._dump(at, count, _UNITS[units.pop() if units else "w"]).text())

    def _instructions(self, count: int, address: int) -> None:
        self._say(repr(self.hart.disassemble(count, address)))

    def _texts(self, count: int, address: int) -> None:
        """NUL-terminated texts, one behind the other."""
        rows = []
        for _ in range(count):
            text = self._text(address)
            rows.append((f"{address:x}:", repr(text.decode(errors="replace"))))
            address += len(text) + (len(text) < _LONGEST_TEXT)
        self._say(Table("", ("", ""), rows).text())

    def _text(self, address: int) -> bytes:
        text = b""
        while (
            len(text) < _LONGEST_TEXT and (byte := self.hart.read(address + len(text), 1)) > b"\0"
        ):
            text += byte
        return text

    def _dump(self, address: int, count: int, size: int) -> Table:
        data = self.hart.read(address, count * size)
        values = [
            f"{int.from_bytes(data[at : at + size], 'little'):0{size * 2}x}"
            for at in range(0, len(data), size)
        ]
        width = 16 // size
        rows = [
            (f"{address + line * size:x}:", " ".join(values[line : line + width]))
            for line in range(0, count, width)
        ]
        return Table("", ("", ""), rows)

    def _address(self, text: str) -> int:
        """A number, a symbol, a register (``pc``, ``$sp``, ``$mepc``); each also with ``+0x10``."""
        place = _PLACE.fullmatch(text)
        if place is None or text in self.machine.symbols:
            return self.machine.address(text)
        distance = int(place["distance"] or "0", 0)
        base = self._register(place["register"].removeprefix("$"))
        return arguments.integer(
            "address", base + (-distance if place["sign"] == "-" else distance)
        )

    def _register(self, name: str) -> int:
        if name == "pc":
            return self.hart.pc
        if name in self.hart.csr:
            return self.hart.csr[name]
        return self.hart.x[name]

    # What the Tab key offers

    def completions(self, text: str) -> list[str]:
        """Every word that may stand where ``text`` ends, in place of its last one."""
        *before, begun = text.split(" ")
        before = list(filter(None, before))
        if not before:
            words: Iterable[str] = self._names()
        else:
            words = self._arguments(before[0], before[1:], begun)
        return sorted({word for word in words if word.startswith(begun)})

    def _arguments(self, name: str, before: Sequence[str], begun: str) -> Iterable[str]:
        known = _ALIASES.get(name.partition("/")[0], name)
        names = [command for command in self._names() if command.startswith(known)]
        kinds = _ARGUMENTS.get(known if known in names else names[0], ()) if names else ()
        if len(before) >= len(kinds):
            return ()
        return self._words(kinds[len(before)], before, begun)

    def _words(self, kind: str, before: Sequence[str], begun: str) -> Iterable[str]:
        """The words of a kind of argument."""
        if kind == "address":
            registers = [f"${name}" for name in dir(self.hart.x) if not name.startswith("_")]
            csrs = [f"${name}" for name in self.hart.csr]
            return registers + csrs if begun.startswith("$") else ["pc", *self.machine.symbols]
        if kind == "subject's name":
            subject = next((word for word in _SUBJECTS if word.startswith(before[0])), "")
            lists: Mapping[str, Iterable[str]] = {
                "csr": [*self.hart.csr, "all"],
                "symbols": self.machine.symbols,
            }
            return lists.get(subject, ())
        if kind == "file":
            from glob import escape, glob

            found = glob(escape(begun) + "*")
            return [name + "/" * os.path.isdir(name) for name in found]
        lists = {
            "subject": _SUBJECTS,
            "access": _ACCESSES,
            "command": self._names(),
            "hart": [str(number) for number in range(len(self.machine.harts))],
        }
        return lists.get(kind, ())


def _at_terminal() -> bool:
    """Whether there is a terminal to edit lines at."""
    try:
        is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    except (AttributeError, ValueError):  # there is no stdin or stdout, or it is closed
        return False
    return is_terminal and os.environ.get("TERM") != "dumb"


def _split(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        raise ValueError("a quotation mark has no partner") from None


def _number(text: str, what: str, most: int = (1 << 64) - 1) -> int:
    """A count: decimal or ``0x...``."""
    try:
        number = int(text, 0)
    except ValueError:
        number = -1
    if number < 0:
        raise ValueError(f"{what} is a whole number such as 10 or 0x10, not {text}")
    if number > most:
        raise ValueError(f"{what} is at most {most}, not {text}")
    return number


def _choose(name: str, known: Iterable[str], what: str) -> str:
    """The one that is meant by a name or its beginning."""
    names = list(known)
    matches = [word for word in names if word.startswith(name)]
    if name in matches or len(matches) == 1:
        return name if name in matches else matches[0]
    if matches:
        raise ValueError(f"could be {', '.join(matches)}")
    near = arguments.near(name, names)
    if what == "command":
        raise ValueError(f"no such command{near or '; help lists them'}")
    raise ValueError(f"no {what} {name}{near or '; there are: ' + ', '.join(names)}")


_ALIASES = {
    "c": "continue",
    "cont": "continue",
    "i": "info",
    "si": "step",
    "s": "step",
    "q": "quit",
    "x": "x",
    "disas": "disassemble",
    "?": "help",
}
_ACCESSES = ("load", "store", "fetch")
_SUBJECTS = (
    "registers",
    "fp",
    "csr",
    "trap",
    "harts",
    "symbols",
    "stats",
    "hot",
    "board",
    "memory",
)
_ARGUMENTS = {
    "help": ("command",),
    "info": ("subject", "subject's name"),
    "hart": ("hart",),
    "save": ("file",),
    "translate": ("address", "access"),
    "disassemble": ("count", "address"),
    "x": ("address",),
}
"""What may stand where, for the Tab key."""
