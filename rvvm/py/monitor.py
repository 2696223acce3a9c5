"""The monitor behind Ctrl-A c: look at a paused machine, change little, go on.

Every command is a method ``do_<name>`` whose docstring is its help. Answers are the views' text.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

from rvvm.py.errors import UserError
from rvvm.py.views.table import Table, hexadecimal

if TYPE_CHECKING:
    from rvvm.py.hart import Hart
    from rvvm.py.machine import Machine

PROMPT = "(rvvm) "
_WORDS = {"b": 1, "h": 2, "w": 4, "g": 8}
_MISTAKES = (ValueError, KeyError, IndexError, AttributeError, UserError)


class Next(Enum):
    """What the caller does when the monitor closes."""

    CONTINUE = "continue"
    QUIT = "quit"


class Monitor:
    """Reads commands with ``ask`` (``input`` by default) and prints with ``say``."""

    def __init__(
        self,
        machine: Machine,
        ask: Callable[[str], str] = input,
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
        self._next = None
        while self._next is None:
            try:
                line = self._ask(PROMPT)
            except EOFError:
                return Next.CONTINUE
            except KeyboardInterrupt:
                self._say("")
                continue
            self.execute(line)
        return self._next

    def execute(self, line: str) -> None:
        """One command line; a mistake in it is told, not raised."""
        try:
            name, *arguments = shlex.split(line) or [""]
            if not name:
                return
            self._find(name)(*arguments)
        except TypeError:
            self._say(f"usage: {self._usage(name)}")
        except KeyboardInterrupt:
            self._say("interrupted")
        except _MISTAKES as error:
            # KeyError's text is a repr; its argument is the name in question.
            reason = f"unknown: {error.args[0]}" if isinstance(error, KeyError) else error
            self._say(f"{line}: {reason}")

    def _find(self, name: str) -> Callable[..., None]:
        """A command by name, alias or unambiguous beginning."""
        if name.startswith("x/"):
            return lambda where="pc": self.do_x(name[2:], where)
        wanted = _ALIASES.get(name, name)
        names = [known for known in self._names() if known.startswith(wanted)]
        if wanted in names or len(names) == 1:
            return self._method(wanted if wanted in names else names[0])
        raise ValueError("no such command" if not names else "could be " + ", ".join(names))

    def _method(self, name: str) -> Callable[..., None]:
        method: Callable[..., None] = getattr(self, f"do_{name}")
        return method

    @staticmethod
    def _names() -> list[str]:
        return [name.removeprefix("do_") for name in dir(Monitor) if name.startswith("do_")]

    def _usage(self, name: str) -> str:
        wanted = _ALIASES.get(name, name)
        known = next((other for other in self._names() if other.startswith(wanted)), "x")
        return (self._method(known).__doc__ or known).splitlines()[0]

    def do_help(self) -> None:
        """help: this list"""
        rows = [self._usage(name).partition(": ")[::2] for name in self._names()]
        self._say(Table("", ("", ""), rows).text())

    def do_info(self, what: str = "registers", name: str = "") -> None:
        """info registers|fp|csr [NAME]|trap|harts|symbols [PART]|stats|hot: show state"""
        shows: dict[str, Callable[[], object]] = {
            "registers": lambda: self.hart.x,
            "fp": lambda: self.hart.f,
            "csr": lambda: self._csr(name) if name else self.hart.csr,
            "trap": lambda: self.hart.last_trap,
            "harts": self._harts,
            "symbols": lambda: self._symbols(name),
            "stats": self.machine.stats,
            "hot": self._hot,
        }
        matches = [show for known, show in shows.items() if known.startswith(what)]
        if not matches:
            raise ValueError(f"info knows: {', '.join(shows)}")
        self._say(repr(matches[0]()))

    def _csr(self, name: str) -> Table:
        return self.hart.csr[name].table()

    def _harts(self) -> Table:
        rows = [
            (hart.id, hart.mode, hexadecimal(hart.pc), hart.instret, "wfi" if hart.waiting else "")
            for hart in self.machine.harts
        ]
        return Table("", ("hart", "mode", "pc", "instructions", ""), rows, {self._hart})

    def _hot(self) -> Table:
        rows = [
            (f"{hot.share:.1%}", hexadecimal(hot.address), hot.symbol)
            for hot in self.machine.stats().hottest()
        ]
        return Table("", ("share", "address", "symbol"), rows)

    def _symbols(self, part: str) -> Table:
        symbols = self.machine.symbols
        rows = [(hexadecimal(symbols[name]), name) for name in symbols if part in name]
        return Table("", ("", ""), sorted(rows))

    def do_hart(self, number: str) -> None:
        """hart N: speak of hart number N from now on"""
        self.machine.harts[int(number, 0)]
        self._hart = int(number, 0)

    def do_step(self, count: str = "1") -> None:
        """step [N]: execute N instructions of this hart, and show the next one"""
        self.hart.step(int(count, 0))
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
        self._say(repr(self.hart.translate(self._address(address), access)))

    def do_disassemble(self, count: str = "8", address: str = "pc") -> None:
        """disassemble [N] [ADDRESS]: N instructions"""
        self._say(repr(self.hart.disassemble(int(count, 0), self._address(address))))

    def do_x(self, form: str, address: str) -> None:
        """x/NF ADDRESS: N units of memory as the hart sees it; F is b, h, w or g"""
        unit = form[-1] if form and form[-1] in _WORDS else "w"
        count = int(form.rstrip("bhwg") or "8", 0)
        self._say(self._dump(self._address(address), count, _WORDS[unit]).text())

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
        """A number, a symbol, a register (``pc``, ``$sp``)."""
        name = text.removeprefix("$")
        if name == "pc":
            return self.hart.pc
        if text.startswith("$"):
            return self.hart.x[name]
        return self.machine.symbols.address(text)


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
