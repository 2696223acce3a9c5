"""CSRs by name, with their fields, over the core's own table of registers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, lru_cache

from rvvm import _core
from rvvm.py import arguments
from rvvm.py.arguments import UnknownName
from rvvm.py.views.csr import CsrRow, FieldRow, csr_list, csr_table, summary
from rvvm.py.views.table import Table, hexadecimal

_ALL = (1 << 64) - 1


@cache
def csr_rows() -> Mapping[str, CsrRow]:
    """Every CSR the core knows, by name, in the order of the table."""
    return {
        row["name"]: CsrRow(
            row["name"],
            row["address"],
            row["extension"],
            tuple(
                FieldRow(field["name"], field["high"], field["low"], field["kind"])
                for field in row["fields"]
            ),
        )
        for row in _core.csrs()
    }


@cache
def _rows_by_address() -> Mapping[int, CsrRow]:
    return {row.address: row for row in csr_rows().values()}


@lru_cache(maxsize=64)
def _reset_values(identity: int, extensions: frozenset[str]) -> Mapping[int, int]:
    """Every CSR of such a hart after reset, by address."""
    hart = _core.System().add_hart(identity, sorted(extensions))
    values = hart.registers()["csr"]
    return {csr_rows()[name].address: value for name, value in values.items()}


class CsrValue(int):
    """What a CSR held when it was read: an int whose fields have names.

    ``value.VTSR`` reads a field of this value; ``value.VTSR = 1`` writes the field to the hart
    (the value in hand, being an int, stays as it was read: read the register again), as csrrs and
    csrrc do: other bits stay, also those that read otherwise than they were written, such as
    mip.SEIP while its wire is up. The core's WARL rules decide what a write leaves behind.
    """

    _hart: _core.Hart
    _row: CsrRow

    def __new__(cls, hart: _core.Hart, row: CsrRow) -> CsrValue:
        """Reads the register; KeyError when the hart does not have it."""
        value = super().__new__(cls, hart.csr(row.address))
        object.__setattr__(value, "_hart", hart)
        object.__setattr__(value, "_row", row)
        return value

    def _field(self, name: str) -> FieldRow:
        field = self._row.field(name)
        if field is None:
            names = " ".join(field.name for field in self._row.fields) or "none"
            raise AttributeError(f"{self._row.name} has no field {name} (it has: {names})")
        return field

    def __getattr__(self, name: str) -> int:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._field(name).get(int(self))

    def __setattr__(self, name: str, field: int) -> None:
        row = self._field(name)
        field = arguments.integer(f"{self._row.name}.{name}", field, -1 << 64, 1 << 64)
        self._hart.change_csr(self._row.address, row.mask, row.put(0, field))

    def __ior__(self, bits: int) -> Change:
        return Change(self._row, self | bits, bits)

    def __iand__(self, bits: int) -> Change:
        return Change(self._row, self & bits, ~bits)

    def __ixor__(self, bits: int) -> Change:
        return Change(self._row, self ^ bits, bits)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(field.name for field in self._row.fields)]

    def table(self) -> Table:
        """A line a field."""
        return csr_table(self._row, int(self))

    def __repr__(self) -> str:
        return summary(self._row, int(self))

    def _repr_html_(self) -> str:
        return self.table().html()


class Change(int):
    """What ``csr.mip |= bits`` and the like assign: an int that knows which bits it changes."""

    row: CsrRow
    mask: int

    def __new__(cls, row: CsrRow, value: int, mask: int) -> Change:
        """The register, its whole value, and the bits of it that were changed."""
        change = super().__new__(cls, value)
        change.row, change.mask = row, mask & _ALL
        return change


class Csrs:
    """``hart.csr``: attributes by the manual's names, items by name or address.

    Reading and writing are a debugger's: no permission check, and always the register named, never
    its VS twin. A register the hart lacks raises AttributeError (KeyError through an item).
    ``csr.mip = value`` writes all of it, as csrrw does; ``|=``, ``&=`` and ``^=`` change bits and
    leave the others, as csrrs and csrrc do.
    """

    _hart: _core.Hart

    def __init__(self, hart: _core.Hart) -> None:
        object.__setattr__(self, "_hart", hart)

    def __getitem__(self, key: str | int) -> CsrValue:
        row = self._row(key)
        try:
            return CsrValue(self._hart, row)
        except KeyError:
            raise _absent(row) from None

    def __setitem__(self, key: str | int, value: int) -> None:
        row = self._row(key)
        bits = arguments.bits(row.name, value)
        try:
            if isinstance(value, Change) and value.row is row:
                self._hart.change_csr(row.address, value.mask, bits)
            else:
                self._hart.set_csr(row.address, bits)
        except KeyError:
            raise _absent(row) from None

    def __getattr__(self, name: str) -> CsrValue:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(str(error)) from None

    def __setattr__(self, name: str, value: int) -> None:
        try:
            self[name] = value
        except KeyError as error:
            raise AttributeError(str(error)) from None

    def __iter__(self) -> Iterator[str]:
        return (name for name in csr_rows() if self._has(name))

    def __contains__(self, key: str | int) -> bool:
        return self._has(key)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]

    def table(self) -> Table:
        """Every CSR that the hart has."""
        return csr_list(self._pairs())

    def changed(self, how: str = "; h.csr.table() shows all") -> Table:
        """Those whose value is not that of a reset; the others are folded. ``how`` ends the line
        that counts them."""
        reset = _reset_values(self._hart.id, frozenset(self._hart.extensions))
        table = csr_list(self._pairs(), reset, how)
        table.title = f"hart {self._hart.id}  mstatus {hexadecimal(self['mstatus'])}"
        return table

    def __repr__(self) -> str:
        return self.changed().text()

    def _repr_html_(self) -> str:
        return self.changed().html()

    def _pairs(self) -> Iterator[tuple[CsrRow, int]]:
        return ((csr_rows()[name], int(self[name])) for name in self)

    def _has(self, key: str | int) -> bool:
        try:
            self._hart.csr(self._row(key).address)
        except KeyError:
            return False
        return True

    @staticmethod
    def _row(key: str | int) -> CsrRow:
        if isinstance(key, str):
            if key not in csr_rows():
                near = arguments.near(key, csr_rows())
                raise UnknownName(f"this hart has no CSR {key}{near}")
            return csr_rows()[key]
        try:
            address = arguments.integer("CSR", key, -1 << 63)
        except TypeError:
            raise arguments.wrong_type("CSR", "a name or an address", key) from None
        if address not in _rows_by_address():
            raise UnknownName(f"this hart has no CSR at {address:#x}")
        return _rows_by_address()[address]


def _absent(row: CsrRow) -> UnknownName:
    return UnknownName(f"this hart has no CSR {row.name}")
