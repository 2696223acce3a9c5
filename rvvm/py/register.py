"""Registers as declarations, and the dispatch of a guest's accesses to them.

A device names its registers once; reads, writes, reset values, state and display follow from that::

    class Uart(Device, compatible="ns16550a"):
        lsr = Register(0x05, width=1, reset=0x60, access="r", DR=0, THRE=5, TEMT=6)
        thr = Register(0x00, width=1, access="w", stored=False)

        def on_thr_write(self, value: int) -> None:
            self.console.put(value)

On an instance ``self.lsr`` is a plain int, kept in the instance's own dictionary: as fast as any
attribute. On the class, ``Uart.lsr.THRE`` is the field's mask; the class's own methods, which run
for each access, keep the ones they need as constants.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, Self, TypeVar, overload

Reader = Callable[[], int]
Writer = Callable[[int], None]
ReadWindow = Callable[[int, int], int]
WriteWindow = Callable[[int, int, int], None]
Access = Literal["r", "w", "rw"]
T = TypeVar("T")

WIDTHS = (1, 2, 4, 8)


class Field(int):
    """A field of a register. As a number it is its mask, so ``value & Uart.lsr.DR`` just works.

    >>> mode = Field(6, 4)
    >>> hex(mode), mode.get(0x25), hex(mode.put(0x0F, 5))
    ('0x70', 2, '0x5f')
    """

    low: int

    def __new__(cls, high: int, low: int | None = None) -> Self:
        low = high if low is None else low
        field = super().__new__(cls, ((1 << (high - low + 1)) - 1) << low)
        field.low = low
        return field

    def get(self, value: int) -> int:
        """The field's value within a register's."""
        return (value & self) >> self.low

    def put(self, value: int, field: int) -> int:
        """A register's value with the field replaced."""
        return (value & ~self) | (field << self.low & self)


class Register:
    """One register: where it is, how wide, what it resets to, who may access it, its fields.

    ``writable`` is what a write changes (other bits keep their value); ``stored=False`` says that
    the handlers alone make up its value, so that it is no state of its own. A field is ``NAME=bit``
    or ``NAME=(high, low)``.
    """

    def __init__(
        self,
        offset: int,
        *,
        width: int = 4,
        reset: int = 0,
        access: Access = "rw",
        writable: int | None = None,
        stored: bool = True,
        **fields: int | tuple[int, int],
    ) -> None:
        if width not in WIDTHS:
            raise TypeError(f"a register is 1, 2, 4 or 8 bytes wide, not {width}")
        self.offset, self.width, self.reset, self.access = offset, width, reset, access
        self.mask = (1 << 8 * width) - 1
        self.writable = self.mask if writable is None else writable
        self.stored = stored
        self.fields = {
            name: Field(*bits) if isinstance(bits, tuple) else Field(bits)
            for name, bits in fields.items()
        }
        vars(self).update(self.fields)

    if TYPE_CHECKING:  # the fields, by name

        def __getattr__(self, name: str) -> Field: ...

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, device: None, owner: type) -> Self: ...
    @overload
    def __get__(self, device: object, owner: type) -> int: ...
    def __get__(self, device: object | None, owner: type) -> Self | int:
        # There is no __set__: an instance's own value hides this.
        if device is None:
            return self
        raise AttributeError(f"{owner.__name__}.{self.name} has no value of its own")

    def initial(self, device: Any) -> Any:
        """The value after reset."""
        return self.reset

    def holds(self, device: Any, value: Any) -> bool:
        """Whether it can have this value."""
        return self._can_be(value)

    def _can_be(self, value: Any) -> bool:
        return type(value) is int and 0 <= value <= self.mask & (self.writable | self.reset)

    def show(self, value: Any) -> str:
        """The value with its fields, as in ``lsr 0x60 (THRE=1 TEMT=1)``."""
        named = " ".join(f"{name}={field.get(value)}" for name, field in self.fields.items())
        return f"{self.name} {value:#x}" + (f" ({named})" if named else "")

    def places(self, device: Any) -> Iterator[Place]:
        """Where the guest finds it, and what happens there."""
        reader, writer = self._reader(device), self._writer(device)
        peek = partial(_value, vars(device), self.name) if self.stored else reader or _zero
        yield Place(self.offset, self.width, reader, writer, peek)

    def _reader(self, device: Any) -> Reader | None:
        if "r" not in self.access:
            return None
        handler = getattr(device, f"on_{self.name}_read", None)
        return handler or partial(_value, vars(device), self.name)

    def _writer(self, device: Any) -> Writer | None:
        if "w" not in self.access:
            return None
        handler = getattr(device, f"on_{self.name}_write", None)
        if handler is not None:
            return handler  # type: ignore[no-any-return]
        return partial(_store, vars(device), self.name, self.writable)


class Registers(Register):
    """An array of registers: ``count`` of them, ``stride`` bytes apart.

    Several dimensions are tuples, the outermost first. A count that only the instance knows is the
    name of its attribute. On an instance it is a flat list; handlers get the flat index first.
    """

    def __init__(
        self,
        offset: int,
        *,
        count: int | str | tuple[int | str, ...],
        stride: int | tuple[int, ...] | None = None,
        width: int = 4,
        reset: int = 0,
        access: Access = "rw",
        writable: int | None = None,
        stored: bool = True,
        **fields: int | tuple[int, int],
    ) -> None:
        super().__init__(
            offset,
            width=width,
            reset=reset,
            access=access,
            writable=writable,
            stored=stored,
            **fields,
        )
        self.counts = count if isinstance(count, tuple) else (count,)
        stride = width if stride is None else stride
        self.strides = stride if isinstance(stride, tuple) else (stride,)

    @overload  # type: ignore[override]  # a list, where a Register is an int
    def __get__(self, device: None, owner: type) -> Self: ...
    @overload
    def __get__(self, device: object, owner: type) -> list[int]: ...
    def __get__(self, device: object | None, owner: type) -> Self | list[int]:
        return super().__get__(device, owner)  # type: ignore[return-value]

    def initial(self, device: Any) -> Any:
        return [self.reset] * len(list(self._offsets(device)))

    def holds(self, device: Any, value: Any) -> bool:
        fits = isinstance(value, list) and len(value) == len(list(self._offsets(device)))
        return fits and all(map(self._can_be, value))

    def show(self, value: Any) -> str:
        return f"{self.name} [{' '.join(f'{item:#x}' for item in value)}]"

    def places(self, device: Any) -> Iterator[Place]:
        reader = self._indexed(device, "read", "r", _item)
        writer = self._indexed(device, "write", "w", _store_item)
        values = partial(_item, vars(device), self.name, 0)
        for index, offset in enumerate(self._offsets(device)):
            read = partial(reader, index) if reader else None
            write = partial(writer, index) if writer else None
            peek = partial(values, index) if self.stored else read or _zero
            yield Place(offset, self.width, read, write, peek)

    def _offsets(self, device: Any) -> Iterator[int]:
        offsets = [self.offset]
        for count, stride in zip(self.counts, self.strides, strict=True):
            length = getattr(device, count) if isinstance(count, str) else count
            offsets = [base + stride * i for base in offsets for i in range(length)]
        return iter(offsets)

    def _indexed(
        self, device: Any, verb: str, access: str, default: Callable[..., Any]
    ) -> Callable[..., Any] | None:
        if access not in self.access:
            return None
        handler = getattr(device, f"on_{self.name}_{verb}", None)
        if handler is not None:
            return handler  # type: ignore[no-any-return]
        return partial(default, vars(device), self.name, self.writable)


class State(Generic[T]):
    """A device's state that no register shows: a FIFO, a latch. Plain data only.

    ``State(0)``, or ``State(list)`` for what must be made anew for each device. A number, or each
    one of a list, is from ``least`` to ``most``, which may be the name of an attribute; a list has
    items of ``of`` and any length, or ``count``, an attribute.
    """

    def __init__(
        self,
        initial: T | Callable[[], T],
        *,
        least: int = 0,
        most: int | str = (1 << 64) - 1,
        of: type = int,
        count: str = "",
    ) -> None:
        self._initial = initial
        self._least, self._most, self._of, self._count = least, most, of, count

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, device: None, owner: type) -> Self: ...
    @overload
    def __get__(self, device: object, owner: type) -> T: ...
    def __get__(self, device: object | None, owner: type) -> Self | T:
        if device is None:
            return self
        raise AttributeError(f"{owner.__name__}.{self.name} is not initialised")

    def initial(self, device: object) -> T:
        """The value after reset."""
        initial = self._initial
        return initial() if callable(initial) else initial

    def holds(self, device: Any, value: Any) -> bool:
        """Whether it can have this value."""
        most = getattr(device, self._most) if isinstance(self._most, str) else self._most
        if not isinstance(value, list):
            return type(value) is type(self.initial(device)) and self._can_be(value, most)
        fits = not self._count or len(value) == getattr(device, self._count)
        right = all(type(item) is self._of and self._can_be(item, most) for item in value)
        return self.initial(device) == [] and fits and right

    def _can_be(self, value: Any, most: int) -> bool:
        return type(value) is not int or self._least <= value <= most

    def show(self, value: object) -> str:
        """The value as a person reads it."""
        return f"{self.name} {value!r}"


class Line:
    """An interrupt output. The device sets its level; the board says where it goes."""

    __slots__ = ("_sinks", "level", "name")

    def __init__(self, name: str = "irq") -> None:
        self.name = name
        self.level = False
        self._sinks: list[Callable[[bool], None]] = []

    def connect(self, sink: Callable[[bool], None]) -> None:
        """Call ``sink`` with each new level, and now with the present one when it is high."""
        self._sinks.append(sink)
        if self.level:
            sink(True)

    def set(self, level: bool) -> None:
        """Drive the line; only a change goes further."""
        if level != self.level:
            self.level = level
            for sink in self._sinks:
                sink(level)

    def __repr__(self) -> str:
        return f"<Line {self.name} {'high' if self.level else 'low'}>"


class Place(NamedTuple):
    """One register of one device, resolved. ``peek`` is its value without a read's side effects."""

    offset: int
    width: int
    read: Reader | None
    write: Writer | None
    peek: Reader


class Window:
    """Accesses of any width at any offset, over one device's registers.

    Nothing raises: what no register covers reads 0 and ignores writes, a wider access is split
    over the registers it covers, a narrower write is merged into the register's value. How an
    access is served is found out once for each offset and width, then remembered.
    """

    def __init__(self, places: Iterable[Place]) -> None:
        placed = sorted(places, key=lambda place: place.offset)
        self._read = _disjoint([place for place in placed if place.read])
        self._write = _disjoint([place for place in placed if place.write])
        self._readers: dict[int, dict[int, Reader]] = {width: {} for width in WIDTHS}
        self._writers: dict[int, dict[int, Writer]] = {width: {} for width in WIDTHS}

    def locked(self, lock: AbstractContextManager[Any]) -> tuple[ReadWindow, WriteWindow]:
        """``read(offset, width)`` and ``write(offset, width, value)``, each under the lock."""
        readers, writers = self._readers, self._writers

        def read(offset: int, width: int) -> int:
            with lock:
                reader = readers[width].get(offset) or self._resolve_read(offset, width)
                return reader()

        def write(offset: int, width: int, value: int) -> None:
            with lock:
                writer = writers[width].get(offset) or self._resolve_write(offset, width)
                writer(value)

        return read, write

    def _resolve_read(self, offset: int, width: int) -> Reader:
        places = _covered(self._read, offset, width)
        if not places:
            return _zero
        exact = (places[0].offset, places[0].width) == (offset, width)
        reader = places[0].read if exact else partial(_gather, places, offset, width)
        assert reader is not None
        self._readers[width][offset] = reader
        return reader

    def _resolve_write(self, offset: int, width: int) -> Writer:
        places = _covered(self._write, offset, width)
        if not places:
            return _ignore
        exact = (places[0].offset, places[0].width) == (offset, width)
        writer = places[0].write if exact else partial(_scatter, places, offset, width)
        assert writer is not None
        self._writers[width][offset] = writer
        return writer


def _disjoint(places: list[Place]) -> list[Place]:
    for place, following in pairwise(places):
        if place.offset + place.width > following.offset:
            raise TypeError(f"two registers at offset {following.offset:#x}")
    return places


def _covered(places: list[Place], offset: int, width: int) -> list[Place]:
    """The registers that an access touches, in ascending order."""
    first = bisect_right(places, offset - max(WIDTHS), key=lambda place: place.offset)
    touched = takewhile(lambda place: place.offset < offset + width, places[first:])
    return [place for place in touched if place.offset + place.width > offset]


def _gather(places: list[Place], offset: int, width: int) -> int:
    value = 0
    for place in places:
        assert place.read is not None
        value |= _shifted(place.read(), 8 * (offset - place.offset))
    return value & (1 << 8 * width) - 1


def _scatter(places: list[Place], offset: int, width: int, value: int) -> None:
    for place in places:
        shift = 8 * (place.offset - offset)
        own = (1 << 8 * place.width) - 1
        written = _shifted((1 << 8 * width) - 1, shift) & own
        piece = _shifted(value, shift) & written
        if written != own:
            piece |= place.peek() & ~written
        assert place.write is not None
        place.write(piece)


def _shifted(value: int, shift: int) -> int:
    return value >> shift if shift >= 0 else value << -shift


def _value(values: dict[str, int], name: str) -> int:
    return values[name]


def _store(values: dict[str, int], name: str, writable: int, value: int) -> None:
    values[name] = (values[name] & ~writable) | (value & writable)


def _item(values: dict[str, list[int]], name: str, writable: int, index: int) -> int:
    return values[name][index]


def _store_item(
    values: dict[str, list[int]], name: str, writable: int, index: int, value: int
) -> None:
    items = values[name]
    items[index] = (items[index] & ~writable) | (value & writable)


def _zero() -> int:
    return 0


def _ignore(value: int) -> None:
    pass
