"""A hart as a person sees it: registers by name, its mode, its view of memory, its code."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import SupportsIndex, overload

from rvvm import _core
from rvvm.py import arguments
from rvvm.py.arguments import UnknownName
from rvvm.py.csr import Csrs
from rvvm.py.symbols import Symbols
from rvvm.py.views import registers, traps
from rvvm.py.views.board import harts_tables
from rvvm.py.views.listing import Listing, disassemble
from rvvm.py.views.page_tables import TranslationView
from rvvm.py.views.table import Hex, Table

_MODES = {
    "M": (3, False),
    "HS": (1, False),
    "S": (1, False),  # a hart without H calls it S; both names are accepted
    "U": (0, False),
    "VS": (1, True),
    "VU": (0, True),
}
_ACCESSES = ("load", "store", "fetch")
_PIECE = 1 << 20
"""Bytes or instructions at a time: a read that faults ends early, Ctrl-C is heard between steps."""


class FloatBits(int):
    """A floating-point register's 64 raw bits, which also read as numbers.

    >>> FloatBits(0x3FF8000000000000).double
    1.5
    """

    @property
    def double(self) -> float:
        """The bits as binary64."""
        return float(struct.unpack("<d", struct.pack("<Q", int(self)))[0])

    @property
    def single(self) -> float:
        """The low half as binary32 (whether or not it is NaN-boxed)."""
        return float(struct.unpack("<f", struct.pack("<Q", int(self))[:4])[0])

    def __repr__(self) -> str:
        return f"{int(self):#018x} ({self.double!r})"


class Registers:
    """A register file: ``h.x.a0``, ``h.x.x10`` and ``h.x[10]`` are one register.

    Values are unsigned 64-bit; a negative int is stored as its two's complement.
    """

    _names: dict[str, int]
    _get: Callable[[int], int]
    _set: Callable[[int, int], None]
    _show: Callable[[], Table]

    def __init__(
        self,
        names: dict[str, int],
        get: Callable[[int], int],
        put: Callable[[int, int], None],
        show: Callable[[], Table],
    ) -> None:
        for name, value in {"_names": names, "_get": get, "_set": put, "_show": show}.items():
            object.__setattr__(self, name, value)

    def _number(self, key: int | str) -> int:
        if isinstance(key, str):
            if key not in self._names:
                raise UnknownName(f"no register {key}" + arguments.near(key, self._names))
            return self._names[key]
        try:
            number = arguments.integer("register", key, -1 << 63)
        except TypeError:
            raise arguments.wrong_type("register", "a name or a number", key) from None
        if not 0 <= number < 32:
            raise UnknownName(f"no register {number}: they are numbered 0 to 31")
        return number

    def __getitem__(self, key: int | str) -> int:
        return self._get(self._number(key))

    def __setitem__(self, key: int | str, value: int | float) -> None:
        self._set(self._number(key), _bits(str(key), value))

    def __getattr__(self, name: str) -> int:
        if name.startswith("_") or name not in self._names:
            raise AttributeError(f"no register {name}" + arguments.near(name, self._names))
        return self[name]

    def __setattr__(self, name: str, value: int | float) -> None:
        if name not in self._names:
            raise AttributeError(f"no register {name}" + arguments.near(name, self._names))
        self[name] = value

    def __iter__(self) -> Iterator[int]:
        return (self[number] for number in range(32))

    def __len__(self) -> int:
        return 32

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._names]

    def __repr__(self) -> str:
        return self._show().text()

    def _repr_html_(self) -> str:
        return self._show().html()


def _bits(name: str, value: int | float) -> int:
    """The 64 bits that stand for ``value``: a float becomes binary64."""
    if isinstance(value, float):
        return int(struct.unpack("<Q", struct.pack("<d", value))[0])
    return arguments.bits(name, value)


class Harts(list["Hart"]):
    """The harts of a machine, by number; they show themselves side by side."""

    @overload
    def __getitem__(self, number: SupportsIndex) -> Hart: ...
    @overload
    def __getitem__(self, number: slice) -> list[Hart]: ...
    def __getitem__(self, number: SupportsIndex | slice) -> Hart | list[Hart]:
        if isinstance(number, slice):
            return Harts(super().__getitem__(number))
        at = arguments.integer("hart", number, -1 << 63)
        if not -len(self) <= at < len(self):
            raise IndexError(f"no hart {at}: there are {len(self)}, numbered from 0")
        return super().__getitem__(at)

    def tables(self) -> list[Table]:
        """A few harts in each."""
        return harts_tables(self)

    def __repr__(self) -> str:
        return "\n\n".join(table.text() for table in self.tables())

    def _repr_html_(self) -> str:
        return "".join(table.html() for table in self.tables())


class Hart:
    """One hart of a paused machine. Everything is read live and may be written."""

    def __init__(
        self, core: _core.Hart, symbols: Symbols, ring: Callable[[], None] | None = None
    ) -> None:
        """``ring`` rings the alarms that are due, where stepping makes the time pass."""
        self._ring = ring
        self.core = core
        self.symbols = symbols
        self.x = Registers(
            dict(registers.INTEGER_NUMBER), self.integer, core.set_x, self._integer_table
        )
        self.f = Registers(
            dict(registers.FLOATING_NUMBER),
            self.floating,
            core.set_f,
            lambda: registers.floating_table(self),
        )
        self.csr = Csrs(core)

    @property
    def id(self) -> int:
        """mhartid: the ``reg`` of its cpu node."""
        return self.core.id

    @property
    def pc(self) -> int:
        """Address of the next instruction. A symbol may be assigned."""
        return Hex(self.core.pc)

    @pc.setter
    def pc(self, address: int | str) -> None:
        self.core.pc = self.symbols.address(address, "pc")

    @property
    def mode(self) -> str:
        """``"M"``, ``"HS"``, ``"U"``, ``"VS"`` or ``"VU"`` (``"S"`` on a hart without H)."""
        if self.core.privilege == 3:
            return "M"
        if self.core.virtual:
            return "VS" if self.core.privilege else "VU"
        supervisor = "HS" if "h" in self.core.extensions else "S"
        return supervisor if self.core.privilege else "U"

    @mode.setter
    def mode(self, name: str) -> None:
        if name not in list(_MODES):
            raise ValueError(f"no mode {arguments.shown(name)}; one of: {', '.join(_MODES)}")
        self.core.privilege, self.core.virtual = _MODES[name]

    @property
    def waiting(self) -> bool:
        """Whether it sleeps in wfi."""
        return self.core.waiting

    @property
    def instret(self) -> int:
        """Instructions it has retired since reset."""
        return self.core.instret

    @property
    def extensions(self) -> frozenset[str]:
        """The ISA it implements, as named in ``riscv,isa-extensions``."""
        return self.core.extensions

    @property
    def last_trap(self) -> Table:
        """The last trap it took, by name."""
        return traps.trap_table(self.core.last_trap)

    def place(self) -> str:
        """Where pc is, as symbol and distance; empty where no symbol is near."""
        return self.symbols.name(self.pc)

    def integer(self, number: int) -> int:
        """Register x``number``, 0 to 2^64-1."""
        return Hex(self.core.x(arguments.integer("register", number, 0, 31)))

    def floating(self, number: int) -> FloatBits:
        """Register f``number`` as raw bits."""
        return FloatBits(self.core.f(arguments.integer("register", number, 0, 31)))

    def step(self, count: int = 1) -> _core.Exit:
        """Execute ``count`` instructions of this hart alone."""
        left = arguments.integer("count", count)
        piece = 1 if self._ring else _PIECE
        while left > piece:
            exit = self._step(piece)
            if exit.reason != "budget":
                return exit
            left -= piece
        return self._step(left)

    def _step(self, count: int) -> _core.Exit:
        exit = self.core.step(count)
        if self._ring:
            self._ring()
        return exit

    def translate(
        self,
        address: int | str,
        access: str = "load",
        privilege: int | None = None,
        virtual: bool | None = None,
    ) -> TranslationView:
        """The walk for ``address`` as the hart would do it now, with no side effect.

        Addresses may be symbols, here and below. ``access`` is ``load``, ``store`` or ``fetch``.
        ``privilege`` (0, 1, 3) and ``virtual`` ask for another mode than the present one.
        """
        at = self.symbols.address(address)
        arguments.one_of("access", access, _ACCESSES)
        if privilege is not None and arguments.integer("privilege", privilege) not in (0, 1, 3):
            raise ValueError(f"privilege: expected 0 (U), 1 (S) or 3 (M), not {privilege}")
        if virtual is not None and not isinstance(virtual, bool):
            raise arguments.wrong_type("virtual", "True or False", virtual)
        return TranslationView(at, access, self.core.translate(at, access, privilege, virtual))

    def read(self, address: int | str, size: int) -> bytes:
        """``size`` bytes of virtual memory; ValueError when the translation faults."""
        start, size = self.symbols.address(address), arguments.integer("size", size)
        if start + size > 1 << 64:
            raise ValueError(f"size: {size} bytes from {start:#x} are beyond the last address")
        pieces = range(0, size, _PIECE)
        return b"".join(self.core.read(start + at, min(_PIECE, size - at)) for at in pieces)

    def write(self, address: int | str, data: bytes) -> None:
        """Write virtual memory; ValueError when the translation faults."""
        start, data = self.symbols.address(address), arguments.data("data", data)
        if start + len(data) > 1 << 64:
            raise ValueError(f"data: {len(data)} bytes from {start:#x} are beyond the last address")
        self.core.write(start, data)

    def disassemble(self, count: int = 8, address: int | str | None = None) -> Listing:
        """``count`` instructions from ``address`` (default: pc), with bytes and symbols."""
        count = arguments.integer("count", count, 0, _PIECE)
        start = self.pc if address is None else self.symbols.address(address)
        code = self._readable(start, min(4 * count, (1 << 64) - start))
        return Listing(disassemble(code, start, count, self.symbols.name), self.pc)

    def _readable(self, address: int, size: int) -> bytes:
        """As many of the bytes as are mapped; ValueError when the first is not."""
        code, end = b"", address + size
        while (at := address + len(code)) < end:
            to_page_end = 0x1000 - (at & 0xFFF)
            try:
                code += self.core.read(at, min(end - at, to_page_end))
            except ValueError:
                if not code:
                    raise
                break
        return code

    def _integer_table(self) -> Table:
        symbol = self.place()
        return registers.integer_table(self, f" {symbol}" if symbol else "")

    def __repr__(self) -> str:
        return self._integer_table().text()

    def _repr_html_(self) -> str:
        return self._integer_table().html()
