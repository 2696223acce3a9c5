"""Flattened trees: there and back, against the fdt library, and damaged ones."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from pathlib import Path

import fdt as reference
import pytest

from board.trees import BOARDS, VIRT
from rvvm.py import dtb, fdt
from rvvm.py.errors import UserError
from rvvm.py.tree import Node, Region, Tree


def plain(node: Node) -> dict[str, object]:
    properties = {name: prop.value for name, prop in node.properties.items()}
    return properties | {name: plain(child) for name, child in node.children.items()}


@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.stem)
def test_there_and_back(board: Path) -> None:
    tree = fdt.load(board)
    tree.reservations.append(Region(0x1000, 0x20))
    again = dtb.parse(dtb.export(tree))
    assert plain(again.root) == plain(tree.root)
    assert again.reservations == tree.reservations
    assert dtb.export(again) == dtb.export(tree)


def test_values_that_look_like_others() -> None:
    tree = Tree.empty()
    values = [
        b"",
        b"\0",
        b"a\0",
        b"a\0\0",
        b"a\0\0b\0",
        "ä".encode(),
        b"abc\0",
        b"\0\0\0\1",
        b"\x80",
    ]
    for number, value in enumerate(values):
        tree.root.set(f"p{number}", value)
    assert plain(dtb.parse(dtb.export(tree)).root) == plain(tree.root)


def test_the_header_is_version_17() -> None:
    blob = dtb.export(fdt.load(VIRT))
    fields = struct.unpack_from(">10I", blob)
    assert fields[0] == 0xD00DFEED and fields[1] == len(blob) and fields[5:7] == (17, 16)
    assert all(offset % 4 == 0 for offset in fields[2:5]) and fields[4] % 8 == 0
    assert fields[3] + fields[8] == len(blob) and fields[2] + fields[9] == fields[3]


@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.stem)
def test_another_library_reads_the_same(board: Path) -> None:
    tree = fdt.load(board)
    parsed = reference.parse_dtb(dtb.export(tree))
    for node in tree.walk():
        theirs = parsed.get_node(node.path)
        assert [child.name for child in theirs.nodes] == list(node.children)
        for prop, own in zip(theirs.props, node.properties.values(), strict=True):
            data, *_ = prop.to_dtb("", version=17)
            assert data[12 : 12 + len(own.value)] == own.value


@pytest.mark.skipif(not shutil.which("dtc"), reason="dtc is not installed")
def test_what_dtc_writes_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.dts").write_text(
        '/dts-v1/;\n/memreserve/ 1 2;\n/ { a = "x"; b { c = <1>; }; };\n'
    )
    subprocess.run(["dtc", "-o", "a.dtb", "a.dts"], cwd=tmp_path, check=True)
    tree = fdt.load(tmp_path / "a.dtb")
    assert plain(tree.root) == {"a": b"x\0", "b": {"c": b"\0\0\0\1"}}
    assert tree.reservations == [(1, 2)]
    assert str(tree.root.source) == str(tmp_path / "a.dtb"), "a blob has no lines"


def test_nops_are_skipped() -> None:
    tree = Tree.empty()
    tree.root.set("a", 1)
    blob = bytearray(dtb.export(tree))
    (structure,) = struct.unpack_from(">I", blob, 8)
    # FDT_PROP, length, name and value become four FDT_NOPs, as fdt_nop_property leaves them.
    blob[structure + 8 : structure + 24] = struct.pack(">I", 4) * 4
    assert plain(dtb.parse(bytes(blob)).root) == {}


def test_it_is_told_apart_by_content(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(dtb.export(fdt.load(VIRT)))
    assert fdt.load(tmp_path / "blob")["/memory@80000000"].reg() == [(0x8000_0000, 0x4000_0000)]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda blob: b"", "cut short"),
        (lambda blob: blob[:20], "cut short"),
        (lambda blob: b"\x7fELF" + blob[4:], "begins with 0x7f454c46"),
        (lambda blob: blob[:-100], "it says it has"),
        (lambda blob: blob[:20] + struct.pack(">II", 3, 2) + blob[28:], "version is 3"),
        (lambda blob: blob[:8] + struct.pack(">I", len(blob)) + blob[12:], "cut short"),
    ],
)
def test_damaged_blobs(tmp_path: Path, damage: object, says: str) -> None:
    (tmp_path / "bad.dtb").write_bytes(damage(dtb.export(fdt.load(VIRT))))  # type: ignore[operator]
    with pytest.raises(UserError, match=rf"bad\.dtb: not a devicetree blob: .*{says}"):
        fdt.load(tmp_path / "bad.dtb")


def test_any_damage_is_an_error_or_a_tree() -> None:
    whole = dtb.export(fdt.load(VIRT))
    rng = random.Random(1)
    for _ in range(2000):
        blob = bytearray(whole)
        for _ in range(rng.randint(1, 8)):
            blob[rng.randrange(len(blob))] = rng.choice([0, 1, 2, 3, 4, 9, 0x80, 0xFF])
        try:
            dtb.parse(bytes(blob[: rng.randint(0, 2 * len(blob))]))
        except UserError as error:
            assert "not a devicetree blob" in str(error)
