"""Trees that were parsed before: the same tree, and never another text's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rvvm.py import fdt, parsed

TEXT = """/dts-v1/;
/memreserve/ 0x80000000 0x1000;
/ {
    #address-cells = <2>;
    what: node@1 {
        reg = <0 1 0 0x10>;
        note = "a\\"b", "c";
    };
};
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RVVM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "boards"


@pytest.fixture
def board(tmp_path: Path) -> Path:
    path = tmp_path / "board.dts"
    path.write_text(TEXT)
    return path


def forbid_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rvvm.py.dts", None)
    monkeypatch.delattr("rvvm.py.dts", raising=False)


def test_the_second_time_does_without_the_parser(
    board: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fdt.load(board)
    forbid_parser(monkeypatch)
    second = fdt.load(board)
    assert fdt.to_dtb(second) == fdt.to_dtb(first)
    assert second.root.children["node@1"].labels == ["what"]
    assert str(second["/node@1"]["note"].source) == f"{board}:7"


def test_another_text_of_that_name_is_parsed(board: Path) -> None:
    fdt.load(board)
    board.write_text(TEXT.replace("node@1", "node@2"))
    assert "node@2" in fdt.load(board).root.children


@pytest.mark.parametrize(
    "more", ['/include/ "other.dtsi"', '#include "other.dtsi"', "#define X\n"], ids=str.split
)
def test_a_text_that_is_not_all_is_parsed_anew(board: Path, cache: Path, more: str) -> None:
    (board.parent / "other.dtsi").write_text("/ { a = <1>; };\n")
    board.write_text(f"{TEXT}{more}\n")
    fdt.load(board)
    assert not cache.exists()


def test_definitions_from_outside_are_no_part_of_the_text(board: Path, cache: Path) -> None:
    fdt.load(board, defines=["node=other"])
    assert not cache.exists()


def test_what_was_damaged_is_forgotten(board: Path, cache: Path) -> None:
    fdt.load(board)
    kept = cache / board.name
    whole = kept.read_bytes()
    assert parsed.recall(str(board), TEXT)
    for at in range(0, len(whole), 7):
        for damaged in (whole[:at], whole[:at] + whole[at + 1 :], whole[:at] * 2):
            kept.write_bytes(damaged)
            assert parsed.recall(str(board), TEXT) is None
    assert "node@1" in fdt.load(board).root.children


def test_a_folder_that_takes_nothing_is_no_error(board: Path, cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_text("in the way")
    assert "node@1" in fdt.load(board).root.children
