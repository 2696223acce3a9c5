"""A hart as a person sees it: registers by name, its mode, its view of memory, its code."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from rvvm import _core
from rvvm.py.csr import Csrs
from rvvm.py.symbols import Symbols
from rvvm.py.views import registers, traps
from rvvm.py.views.listing import Listing, disassemble
from rvvm.py.views.page_tables import TranslationView
from rvvm.py.views.table import Table

_MODES = {
    "M": (3, False),
    "HS": (1, False),
    "S": (1, False),  # a hart without H calls it S; both names are accepted
    "U": (0, False),
    "VS": (1, True),
    "VU": (0, True),
}


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
        number = self._names.get(key, -1) if isinstance(key, str) else key
        if not 0 <= number < 32:
            raise KeyError(key)
        return number

    def __getitem__(self, key: int | str) -> int:
        return self._get(self._number(key))

    def __setitem__(self, key: int | str, value: int | float) -> None:
        self._set(self._number(key), _bits(value))

    def __getattr__(self, name: str) -> int:
        if name.startswith("_") or name not in self._names:
            raise AttributeError(f"no register {name}")
        return self[name]

    def __setattr__(self, name: str, value: int | float) -> None:
        if name not in self._names:
            raise AttributeError(f"no register {name}")
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


def _bits(value: int | float) -> int:
    """The 64 bits that stand for ``value``: a float becomes binary64."""
    if isinstance(value, float):
        return int(struct.unpack("<Q", struct.pack("<d", value))[0])
    return value & ((1 << 64) - 1)


class Hart:
    """One hart of a paused machine. Everything is read live and may be written."""

    def __init__(self, core: _core.Hart, symbols: Symbols) -> None:
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
        """Address of the next instruction."""
        return self.core.pc

    @pc.setter
    def pc(self, address: int) -> None:
        self.core.pc = address

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
        if name not in _MODES:
            raise ValueError(f"no mode {name!r}; one of: {', '.join(_MODES)}")
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

    def integer(self, number: int) -> int:
        """Register x``number``, 0 to 2^64-1."""
        return self.core.x(number)

    def floating(self, number: int) -> FloatBits:
        """Register f``number`` as raw bits."""
        return FloatBits(self.core.f(number))

    def step(self, count: int = 1) -> _core.Exit:
        """Execute ``count`` instructions of this hart alone."""
        return self.core.step(count)

    def translate(
        self,
        address: int,
        access: str = "load",
        privilege: int | None = None,
        virtual: bool | None = None,
    ) -> TranslationView:
        """The walk for ``address`` as the hart would do it now, with no side effect.

        ``access`` is ``load``, ``store`` or ``fetch``. ``privilege`` (0, 1, 3) and ``virtual``
        ask for another mode than the present one.
        """
        result = self.core.translate(address, access, privilege, virtual)
        return TranslationView(address, access, result)

    def read(self, address: int, size: int) -> bytes:
        """``size`` bytes of virtual memory; ValueError when the translation faults."""
        return self.core.read(address, size)

    def write(self, address: int, data: bytes) -> None:
        """Write virtual memory; ValueError when the translation faults."""
        self.core.write(address, data)

    def disassemble(self, count: int = 8, address: int | None = None) -> Listing:
        """``count`` instructions from ``address`` (default: pc), with bytes and symbols."""
        start = self.pc if address is None else address
        code = self._readable(start, 4 * count)
        return Listing(disassemble(code, start, count, self.symbols.name), self.pc)

    def _readable(self, address: int, size: int) -> bytes:
        """As many of the bytes as are mapped; ValueError when the first is not."""
        try:
            return self.core.read(address, size)
        except ValueError:
            to_page_end = 0x1000 - (address & 0xFFF)
            if size <= to_page_end:
                raise
            return self.core.read(address, to_page_end)

    def _integer_table(self) -> Table:
        symbol = self.symbols.name(self.pc)
        return registers.integer_table(self, f" {symbol}" if symbol else "")

    def __repr__(self) -> str:
        return self._integer_table().text()

    def _repr_html_(self) -> str:
        return self._integer_table().html()
