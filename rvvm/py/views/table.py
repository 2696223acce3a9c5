"""One small table, shown as text in a terminal and as HTML in a notebook, from the same rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

_CELL = "text-align:left;padding:1px 8px;font-family:monospace;white-space:pre"
_MARK = "background:#ffe8a3;color:#000"


@dataclass
class Table:
    """Rows of cells under a title.

    ``marked`` holds the indices of rows that deserve the eye (the next instruction, a changed
    register, the page table entry that faulted): ``>`` in the text, a background in the HTML.
    ``folded`` rows are not shown but for the line ``more``, which unfolds them in a notebook.

    >>> print(Table("Colours", ("name", "code"), [("red", 31), ("green", 32)], marked={1}))
    Colours
      name   code
      red    31
    > green  32
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    marked: set[int] = field(default_factory=set)
    note: str = ""
    folded: Sequence[Sequence[object]] = ()
    more: str = ""

    def text(self) -> str:
        """The table in columns, no trailing blanks; no header line when columns are unnamed."""
        cells = [[str(cell) for cell in row] for row in self.rows]
        lines = [self.columns, *cells] if any(self.columns) else cells
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)] if lines else []
        shown = [self._line(row, widths, index) for index, row in enumerate(cells)]
        header = [self._line(self.columns, widths)] if any(self.columns) else []
        notes = [self.note, self.more if self.folded else ""]
        return "\n".join([*filter(None, [self.title]), *header, *shown, *filter(None, notes)])

    def _line(self, row: Sequence[str], widths: Sequence[int], index: int | None = None) -> str:
        mark = ("> " if index in self.marked else "  ") if self._has_margin() else ""
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        return (mark + "  ".join(padded)).rstrip()

    def _has_margin(self) -> bool:
        return bool(self.marked)

    def html(self) -> str:
        """The same rows as an HTML table, every cell escaped."""
        caption = f"<caption>{_escaped(self.title)}</caption>" if self.title else ""
        header = _html_row(self.columns, "th") if any(self.columns) else ""
        body = "".join(
            _html_row(row, "td", _MARK if index in self.marked else "")
            for index, row in enumerate(self.rows)
        )
        note = f"<div>{_escaped(self.note)}</div>" if self.note else ""
        return f"<table>{caption}{header}{body}</table>{note}{self._fold(header)}"

    def _fold(self, header: str) -> str:
        if not self.folded:
            return ""
        body = "".join(_html_row(row, "td") for row in self.folded)
        summary = f"<summary>{_escaped(self.more)}</summary>"
        return f"<details>{summary}<table>{header}{body}</table></details>"

    __str__ = text
    __repr__ = text
    _repr_html_ = html


def _html_row(cells: Iterable[object], tag: str, style: str = "") -> str:
    inner = "".join(f'<{tag} style="{_CELL}">{_escaped(str(cell))}</{tag}>' for cell in cells)
    return f'<tr style="{style}">{inner}</tr>' if style else f"<tr>{inner}</tr>"


def _escaped(text: str) -> str:
    from html import escape

    return escape(text)


class Hex(int):
    """A number that shows itself in hexadecimal, as addresses and registers are read.

    >>> Hex(0x8000003E), f"{Hex(16)} {Hex(16):d}", Hex(16) + 1
    (0x8000003e, '0x10 16', 17)
    """

    def __repr__(self) -> str:
        return f"{int(self):#x}"

    __str__ = __repr__


def hexadecimal(value: int, digits: int = 16) -> str:
    """An address or register, at full width.

    >>> hexadecimal(0x1000)
    '0x0000000000001000'
    """
    return f"0x{value:0{digits}x}"
