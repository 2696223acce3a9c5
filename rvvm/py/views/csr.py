"""A control and status register with its fields, from the rows the core itself uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rvvm.py.views.table import Table, hexadecimal


@dataclass(frozen=True)
class FieldRow:
    """One field: bits ``high`` to ``low``, both included, and how writes to it behave."""

    name: str
    high: int
    low: int
    kind: str

    @property
    def mask(self) -> int:
        """The field's bits, in place."""
        return ((1 << (self.high - self.low + 1)) - 1) << self.low

    def get(self, value: int) -> int:
        """The field of ``value``.

        >>> FieldRow("VSXL", 33, 32, "ro").get(0x2_0000_0000)
        2
        """
        return (value & self.mask) >> self.low

    def put(self, value: int, field: int) -> int:
        """``value`` with the field replaced; ValueError when ``field`` has too many bits."""
        if field < 0 or field > self.mask >> self.low:
            raise ValueError(f"{field:#x} does not fit {self.name} ({self.bits})")
        return (value & ~self.mask) | (field << self.low)

    @property
    def bits(self) -> str:
        """Its position as the manual writes it: ``33:32`` or ``5``."""
        return str(self.low) if self.high == self.low else f"{self.high}:{self.low}"


@dataclass(frozen=True)
class CsrRow:
    """One register of the core's table."""

    name: str
    address: int
    extension: str
    fields: tuple[FieldRow, ...]

    def field(self, name: str) -> FieldRow | None:
        """The field called ``name``, as the manual spells it."""
        return next((field for field in self.fields if field.name == name), None)


def summary(row: CsrRow, value: int) -> str:
    """The register on one line, fields from the top bit down.

    >>> summary(CsrRow("hstatus", 0x600, "H", (FieldRow("VTSR", 22, 22, "rw"),)), 1 << 22)
    'hstatus 0x400000 (VTSR=1)'
    """
    fields = " ".join(f"{field.name}={_short(field.get(value))}" for field in _from_top(row.fields))
    return f"{row.name} {value:#x}" + (f" ({fields})" if fields else "")


def csr_table(row: CsrRow, value: int) -> Table:
    """The register with a line a field: bits, name, value, kind. Fields that are set are marked."""
    fields = _from_top(row.fields)
    rows = [(field.bits, field.name, f"{field.get(value):#x}", field.kind) for field in fields]
    marked = {index for index, field in enumerate(fields) if field.get(value)}
    title = f"{row.name} ({row.address:#05x}) {hexadecimal(value)}"
    return Table(title, ("bits", "field", "value", "kind"), rows, marked)


def csr_list(
    values: Iterable[tuple[CsrRow, int]],
    reset: Mapping[int, int] | None = None,
    how: str = "",
) -> Table:
    """Many registers, one line each. Those with their ``reset`` value, by address, are folded, and
    a line says how many they are and ``how`` to see them."""
    shown: list[tuple[str, ...]] = []
    folded: list[tuple[str, ...]] = []
    for row, value in values:
        changed = reset is None or reset.get(row.address) != value
        line = (f"{row.address:#05x}", row.name, hexadecimal(value), _fields(row, value))
        (shown if changed else folded).append(line)
    more = f"{len(folded)} more have their reset value{how}"
    columns = ("address", "name", "value", "fields that are set")
    return Table("", columns, shown, folded=folded, more=more)


def _fields(row: CsrRow, value: int) -> str:
    return " ".join(
        f"{field.name}={_short(field.get(value))}"
        for field in _from_top(row.fields)
        if field.get(value)
    )


def _from_top(fields: Sequence[FieldRow]) -> list[FieldRow]:
    return sorted(fields, key=lambda field: -field.low)


def _short(value: int) -> str:
    return str(value) if value < 10 else f"{value:#x}"
