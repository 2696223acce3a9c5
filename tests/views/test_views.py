"""Views: text and HTML come from the same rows."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import unescape

import pytest

from rvvm.py.symbols import Symbols
from rvvm.py.views.board import Placed, board_table, harts_tables, memory_table
from rvvm.py.views.csr import CsrRow, FieldRow, csr_list, csr_table, summary
from rvvm.py.views.listing import Listing, disassemble
from rvvm.py.views.page_tables import TranslationView
from rvvm.py.views.registers import FLOATING, INTEGER, floating_table, integer_table
from rvvm.py.views.table import Table
from rvvm.py.views.traps import CAUSES, cause_name, cause_number, trap_table

HSTATUS = CsrRow(
    "hstatus",
    0x600,
    "H",
    (FieldRow("VSXL", 33, 32, "ro"), FieldRow("VTSR", 22, 22, "rw"), FieldRow("SPV", 7, 7, "rw")),
)


def cells(table: Table) -> list[list[str]]:
    """The cells of a table's HTML."""
    rows = re.findall(r"<tr.*?>(.*?)</tr>", table.html(), re.DOTALL)
    return [[unescape(cell) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t", row)] for row in rows]


@dataclass
class FakeHart:
    id: int = 3
    pc: int = 0x8000_0000
    mode: str = "VS"

    def integer(self, number: int) -> int:
        return number * 0x11

    def floating(self, number: int) -> int:
        return number << 52

    waiting: bool = False
    instret: int = 1_000_000

    def place(self) -> str:
        return "main+0x4"


@dataclass
class FakeStep:
    stage: str
    level: int
    pte_address: int
    pte_physical: int
    pte: int = 0x2000_00CF
    flags: str = "rwx--ad"
    note: str = ""


@dataclass
class FakeTranslation:
    ok: bool = True
    physical: int | None = 0x8020_0000
    cause: int | None = None
    tval2: int = 0
    reason: str = ""
    steps: list[FakeStep] = field(default_factory=list)


TABLES = [
    Table("title", ("a", "b"), [("1", "<&>"), ("22", "3")], marked={1}, note="a note"),
    csr_table(HSTATUS, 0x2_0040_0000),
    csr_list([(HSTATUS, 0)]),
    integer_table(FakeHart(), " main+0x4"),
    floating_table(FakeHart()),
    Listing(disassemble(bytes.fromhex("130515000100ffffffff"), 0x1000, 8), 0x1004).table(),
    TranslationView(0x1000, "load", FakeTranslation(steps=[FakeStep("S", 2, 8, 8)])).table(),
    board_table("a board", [Placed(0x1000, 0x100, "/soc/uart@1000", "Uart", [("plic", 10)])]),
    memory_table("memory", [(0x8000_0000, 1 << 30, "RAM")]),
    *harts_tables([FakeHart(), FakeHart(4)]),
]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.title or table.columns)
def test_text_and_html_say_the_same(table: Table) -> None:
    text = table.text()
    for row in cells(table):
        for cell in row:
            assert cell.rstrip() in text
    assert len(text.splitlines()) == (
        len(table.rows) + bool(table.title) + any(table.columns) + bool(table.note)
    )
    assert not any(line != line.rstrip() for line in text.splitlines())


def test_folded_rows_are_counted_in_text_and_behind_a_line_in_html() -> None:
    table = Table("t", ("a",), [("shown",)], folded=[("hidden",), ("<too>",)], more="2 more")
    assert table.text() == "t\na\nshown\n2 more"
    html = table.html()
    details = html[html.index("<details>") :]
    assert "<summary>2 more</summary>" in details and "hidden" in details and "&lt;too>" not in html
    assert "&lt;too&gt;" in details and html.index("shown") < html.index("<details>")
    assert "<details>" not in Table("t", ("a",), [("shown",)], more="0 more").html()


def test_registers_with_their_reset_value_are_folded() -> None:
    other = CsrRow("hedeleg", 0x602, "H", ())
    table = csr_list([(HSTATUS, 7), (other, 5)], {0x600: 7, 0x602: 0}, "; how")
    assert [row[1] for row in table.rows] == ["hedeleg"]
    assert [row[1] for row in table.folded] == ["hstatus"]
    assert table.text().endswith("1 more have their reset value; how")


def test_a_board_by_address() -> None:
    placed = [
        Placed(None, 0, "/poweroff", "SysconPoweroff"),
        Placed(0x8000_0000, 1 << 30, "/memory@80000000", "RAM"),
        Placed(
            0x1000,
            0x1800,
            "/soc/clint",
            "Clint",
            [(f"cpu@{n}", i) for n in range(5) for i in (3, 7)],
        ),
    ]
    lines = board_table("mine", placed).text().splitlines()
    assert [line.split()[0] for line in lines[2:]] == [
        "0x1000..0x27ff",
        "0x80000000..0xbfffffff",
        "/poweroff",
    ]
    assert lines[2].endswith("Clint           cpu@0 3 7, cpu@1 3 7, cpu@2 3 7, and 2 more")
    assert " 6 KiB " in lines[2] and " 1 GiB " in lines[3]


def test_harts_stand_beside_each_other() -> None:
    tables = harts_tables([FakeHart(number) for number in range(6)])
    assert [table.columns[-1] for table in tables] == ["hart 3", "hart 5"]
    assert re.search(r"^instret +1,000,000 +1,000,000$", tables[1].text(), re.MULTILINE)


def test_many_symbols_are_counted() -> None:
    symbols = Symbols()
    symbols.add({f"name{number}": 0x1000 + number for number in range(2000)})
    text = repr(symbols)
    assert text.startswith("2000 symbols\n0x0000000000001000  name0\n")
    assert text.endswith("\n1980 more") and len(text.splitlines()) == 22
    assert len(symbols._repr_html_()) < 1_000_000 and "<details>" in symbols._repr_html_()


def test_html_is_escaped() -> None:
    html = Table("<t>", ("a",), [("<script>",)], note="&").html()
    assert "<script>" not in html and "<t>" not in html and "&lt;script&gt;" in html


def test_empty_table() -> None:
    assert Table("nothing", (), ()).text() == "nothing"
    assert Table("", ("a",), ()).text() == "a"


def test_csr_summary() -> None:
    assert summary(HSTATUS, 0x2_0040_0080) == "hstatus 0x200400080 (VSXL=2 VTSR=1 SPV=1)"


def test_csr_field_arithmetic() -> None:
    vsxl = HSTATUS.fields[0]
    assert (vsxl.mask, vsxl.get(3 << 32), vsxl.put(0, 2), vsxl.bits) == (
        3 << 32,
        3,
        2 << 32,
        "33:32",
    )
    for value in (4, -1):
        with pytest.raises(ValueError, match="does not fit VSXL"):
            vsxl.put(0, value)


def test_register_names() -> None:
    text = integer_table(FakeHart()).text() + floating_table(FakeHart()).text()
    assert all(re.search(rf"\b{name}\b", text) for name in [*INTEGER, *FLOATING])
    assert "t6   0x000000000000020f" in text


def test_two_stages() -> None:
    steps = [FakeStep("G", 2, 0x10, 0x9000_0010), FakeStep("VS", 2, 0x20, 0x9000_0020)]
    view = TranslationView(0xFFFF_FFFF_8000_0000, "store", FakeTranslation(steps=steps))
    assert view.ok and view.physical == 0x8020_0000 and view.steps == steps
    lines = repr(view).splitlines()
    assert lines[0] == "store 0xffffffff80000000 -> 0x80200000"
    assert lines[2].startswith("  G") and lines[3].startswith("VS")
    assert "0x90000020" in view._repr_html_()


def test_a_fault_says_why() -> None:
    result = FakeTranslation(
        ok=False,
        physical=None,
        cause=21,
        tval2=0x2000_0000,
        reason="G level 0: the entry is not valid",
        steps=[FakeStep("G", 0, 0x10, 0x9000_0010, 0, "-------", "not valid")],
    )
    text = repr(TranslationView(0x1000, "load", result))
    assert text.splitlines()[0] == "load 0x1000 -> fault"
    assert text.splitlines()[2].startswith("> ")
    assert text.endswith(
        "load guest page fault: G level 0: the entry is not valid, tval2 0x20000000"
    )


def test_unknown_bytes_are_shown() -> None:
    lines = disassemble(bytes.fromhex("ffffffff00000100"), 0, 8)
    assert [line.text for line in lines] == [".4byte 0xffffffff", "unimp", "nop"]
    assert disassemble(b"\x13", 0, 1) == [] and disassemble(b"\x13\0", 0, 1) == []


@pytest.mark.parametrize(
    ("word", "text"),
    [
        (0x6805C573, "hlv.w a0, (a1)"),
        (0x20C5A533, "sh1add a0, a1, a2"),
        (0x22000073, "hfence.vvma"),
        (0x60002573, "csrr a0, hstatus"),
    ],
)
def test_capstone_knows(word: int, text: str) -> None:
    (line,) = disassemble(word.to_bytes(4, "little"), 0, 1)
    assert line.text.startswith(text.split()[0]) and line.bits == word


def test_causes_have_one_name_each() -> None:
    assert len(set(CAUSES.values())) == len(CAUSES)
    for name, number in CAUSES.items():
        assert cause_number(name) == number == cause_number(cause_name(number))


def test_last_trap() -> None:
    assert str(trap_table(None)) == "no trap yet"
    trap = {
        **{"cause": 7, "interrupt": True, "epc": 0x80, "tval": 0},
        **{"tval2": 0, "tinst": 0, "to": "M", "gva": False},
    }
    assert "machine timer interrupt" in trap_table(trap).text()
