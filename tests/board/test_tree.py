"""Reading and editing a tree; what is wrong with a property is said with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from board.trees import tree as make
from rvvm.py.errors import UserError
from rvvm.py.tree import Region, Tree

BUSES = """
    aliases { console = "/bus@1000/inner/uart@10"; };
    soc { ranges; #address-cells = <2>; #size-cells = <2>;
        pic: pic@5 { reg = <0 5 0 1>; #interrupt-cells = <2>; interrupt-controller; };
    };
    bus@1000 { #address-cells = <1>; #size-cells = <1>; interrupt-parent = <&pic>;
        ranges = <0x0 0x1 0x40000000 0x1000>, <0x2000 0x2 0x0 0x1000>;
        inner { #address-cells = <1>; #size-cells = <1>; ranges = <0 0x800 0x100>;
            uart@10 { reg = <0x10 0x10>; interrupts = <7 4>, <8 1>; };
            far@fff { reg = <0xfff 2>; };
        };
        second@2010 { reg = <0x2010 0x10 0x0 0x4>; };
    };
    i2c { #address-cells = <1>; #size-cells = <0>; chip@50 { reg = <0x50>; }; };
    extended { interrupts-extended = <&pic 1 2>, <&cpu 9>; };
    cpu: cpu { #interrupt-cells = <1>; interrupt-controller; };
"""


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return make(tmp_path, BUSES)


def test_regions_are_translated_through_every_bus(tree: Tree) -> None:
    assert tree["/bus@1000/inner/uart@10"].reg() == [Region(0x10, 0x10)]
    assert tree["/bus@1000/inner/uart@10"].physical() == [Region(0x1_4000_0810, 0x10)]
    assert tree["/bus@1000/second@2010"].physical() == [(0x2_0000_0010, 16), (0x1_4000_0000, 4)]
    assert tree["/soc/pic@5"].physical() == [Region(5, 1)]
    assert tree["/i2c/chip@50"].physical() is None
    with pytest.raises(UserError, match=r"board.dts:\d+: /bus@1000/inner/far@fff: .*ranges of"):
        tree["/bus@1000/inner/far@fff"].physical()


def test_interrupts(tree: Tree) -> None:
    pic, cpu = tree["/soc/pic@5"], tree["/cpu"]
    assert tree["/bus@1000/inner/uart@10"].interrupts() == [(pic, (7, 4)), (pic, (8, 1))]
    assert tree["/extended"].interrupts() == [(pic, (1, 2)), (cpu, (9,))]
    assert tree["/i2c"].interrupts() == []


def test_finding(tree: Tree) -> None:
    assert tree.find("console") is tree["/bus@1000/inner/uart@10"]
    assert tree.find("/bus/inner/uart:115200n8") is tree.find("console")
    assert tree.find("/nothing/here") is None and tree.find("nothing") is None
    with pytest.raises(UserError, match=r"board\.dts: has no node /nothing"):
        tree["/nothing"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("a { p = [00]; };", "board.dts:3: /a: p is 1 bytes, not a list of 32-bit cells"),
        ("a { p = <1 2>; };", "p has 2 cells, expected one"),
        ("a { };", "board.dts:3: /a: has no p"),
    ],
)
def test_u32_errors(tmp_path: Path, body: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        make(tmp_path, body)["/a"].u32("p")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("a { p = <1>; };", "p is not a string"),
        ("a { p = [ff 00]; };", "p is not text"),
        ('a { p = "x", "y"; };', "p has 2 strings, expected one"),
    ],
)
def test_string_errors(tmp_path: Path, body: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        make(tmp_path, body)["/a"].string("p")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("a { reg = <1 2 3>; };", "reg has 3 cells, not a multiple of 4"),
        ("a { interrupts = <1>; };", "interrupts has no interrupt-parent"),
        ("a { interrupt-parent = <9>; interrupts = <1>; };", "refers to phandle 0x9"),
        ("a { interrupts-extended = <9 1>; };", "refers to phandle 0x9, which no node has"),
        ("a { interrupts-extended = <&b>; }; b: b { #interrupt-cells = <1>; };", "ends within"),
        ("a { interrupts-extended = <&b 1>; }; b: b { };", "/b: has no #interrupt-cells"),
    ],
)
def test_errors_name_the_place(tmp_path: Path, body: str, says: str) -> None:
    node = make(tmp_path, body)["/a"]
    with pytest.raises(UserError) as caught:
        node.reg()
        node.interrupts()
    assert "board.dts:3: /" in str(caught.value) and says in str(caught.value)


def test_editing(tree: Tree) -> None:
    copy = tree.copy()
    node = copy.root.add("new")
    node.set("text", "a")
    node.set("cells", [1, 2])
    node.set("strings", ["x", "y"])
    node.set("flag", None)
    assert copy["/new"].strings("strings") == ["x", "y"] and node["cells"].u32s() == [1, 2]
    node.delete("text")
    node.delete("text")
    assert "text" not in node and "flag" in node
    assert copy.root.add("new") is node
    copy.root.delete("i2c")
    assert tree.find("/new") is None and tree.find("/i2c") is not None, "the other tree's"
    twin = copy["/soc/pic@5"].clone("pic@6")
    assert twin.phandle is None and copy.new_phandle(twin) == copy.new_phandle(twin) > 2
    with pytest.raises(UserError, match="already"):
        twin.clone("pic@5")


def test_numbers_of_either_width(tmp_path: Path) -> None:
    node = make(tmp_path, "a { n = <5>; w = <1 0>; x = <1 2 3>; };")["/a"]
    assert (node["n"].number(), node["w"].number()) == (5, 1 << 32)
    with pytest.raises(UserError, match="12 bytes"):
        node["x"].number()
