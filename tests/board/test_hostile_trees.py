"""Devicetrees of somebody else's: what they include, and what no board has. One line, and soon."""

from __future__ import annotations

import os
import random
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import rvvm
from board import forged
from rvvm.py import dtb, fdt
from rvvm.py.errors import UserError
from rvvm.py.resources import resource
from rvvm.py.tree import DEEPEST, MOST_NODES, Tree

SOON = 30
"""Seconds on a busy host; what is not bounded takes hours, or all memory."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RVVM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "board").mkdir()
    monkeypatch.chdir(tmp_path / "board")
    return tmp_path


def source(text: str) -> Path:
    path = Path("board.dts")
    path.write_text(f"/dts-v1/;\n{text}\n")
    return path


INCLUDES = [
    '/ {{ a = /incbin/("{}"); }};',
    '/ {{ a = /incbin/("{}", 0, 3); }};',
    '/include/ "{}"\n/ {{ }};',
    '#include "{}"\n/ {{ }};',
    "#include <{}>\n/ {{ }};",
    '#define FILE "{}"\n#include FILE\n/ {{ }};',
]


@pytest.mark.parametrize("text", INCLUDES)
@pytest.mark.parametrize("where", ["absolute", "above", "link", "home", "process", "input"])
def test_a_source_reads_nothing_outside_of_its_folder(text: str, where: str, folder: Path) -> None:
    """What it includes is in the guest's tree."""
    Path("link").symlink_to("../secret")
    Path("process").symlink_to("/proc/self/environ")
    names = {
        "absolute": f"{folder}/secret",
        "above": "../secret",
        "link": "link",
        "home": "/etc/passwd",
        "process": "process",
        "input": "-",
    }
    with pytest.raises(UserError) as caught:
        fdt.load(source(text.format(names[where])))
    told = str(caught.value)
    says = ("not in its folder", "not be found", "not found", "Malformed #include")
    assert any(word in told for word in says), told
    assert "board.dts" in told and "secret\n" not in told and "root:" not in told


@pytest.mark.parametrize("text", [it for it in INCLUDES if "<{}>" not in it and "incbin" not in it])
def test_what_lies_beside_it_or_below_is_included(text: str) -> None:
    Path("parts").mkdir()
    Path("parts/one.dtsi").write_text('/include/ "two.dtsi"\n')
    Path("parts/two.dtsi").write_text("/ { a = <5>; };\n")
    assert fdt.load(source(text.format("parts/one.dtsi"))).root.u32("a") == 5


def test_a_folder_that_the_caller_names(folder: Path) -> None:
    tree = fdt.load(source('/ { a = /incbin/("secret"); };'), include=[str(folder)])
    assert tree.root["a"].value == b"secret"


def doubling(levels: int) -> str:
    defines = [f"#define A{n} A{n - 1} A{n - 1}" for n in range(1, levels)]
    return "\n".join(["#define A0 1", *defines, f"/ {{ a = <A{levels - 1}>; }};"])


def nested(depth: int) -> str:
    return "/ {" + "a {" * depth + "};" * depth + "};"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (doubling(40), "macros that stand for too much"),
        ("/ { a = <(1 << 0x7fffffffff)>; };", "a shift by 549755813887"),
        ("#if 1 << 0x7fffffffff\n#endif\n/ { };", ""),
        (nested(DEEPEST + 1), "nested more than 64 deep"),
        (nested(5000), "nested"),
        ('#include "board.dts"\n/ { };', "nested too deeply"),
        ("/ {" + "".join(f"n{n} {{}};" for n in range(MOST_NODES)) + "};", "more than 4096 nodes"),
        ('#include "many.dtsi"\n/ { };', "too many files"),
        ('/include/ "many.dtsi"\n/ { };', "too many files"),
        ("/ { a = [" + "00" * (9 << 20) + "]; };", "more than 16,777,216 bytes"),
    ],
    ids=str,
)
def test_source_that_stands_for_too_much(text: str, says: str) -> None:
    """Each of four levels includes the next one 20 times."""
    word = "#include" if text.startswith("#") else "/include/"
    Path("many.dtsi").write_text(f'{word} "l1.dtsi"\n')
    for level in range(1, 5):
        following = f'{word} "l{level + 1}.dtsi"\n' * 20 if level < 4 else "\n"
        Path(f"l{level}.dtsi").write_text(following)
    begun = time.monotonic()
    if says:
        with pytest.raises(UserError, match=says):
            fdt.load(source(text))
    else:
        fdt.load(source(text))
    assert time.monotonic() - begun < SOON


def virt() -> Tree:
    return fdt.load(resource("devicetree/virt.dts"))


def cells(*values: int) -> bytes:
    return b"".join(struct.pack(">I", value) for value in values)


def prop(path: str, name: str, value: bytes) -> Callable[[Tree], object]:
    return lambda tree: tree[path].set(name, value)


PCI = next(node.path for node in virt().compatible("pci-host-ecam-generic"))
PLIC = next(node.path for node in virt().compatible("sifive,plic-1.0.0"))
CLINT = next(node.path for node in virt().compatible("sifive,clint0", "riscv,clint0"))
UART = next(node.path for node in virt().compatible("ns16550a"))
CPU = "/cpus/cpu@0"
INTC = next(node.path for node in virt().compatible("riscv,cpu-intc"))
HUGE = cells(0xFFFF_FFFF)


def many(tree: Tree) -> None:
    for number in range(3000):
        node = tree.root.add(f"poweroff{number}")
        for name, value in (("compatible", "syscon-poweroff"), ("interrupts", [1])):
            node.set(name, value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (prop(PCI, "interrupt-map-mask", cells(0x1800, 0, 0)), "has 3 cells, expected 4"),
        (prop(PCI, "interrupt-map-mask", b""), "has 0 cells, expected 4"),
        (prop(PCI, "interrupt-map-mask", b"123"), "is 3 bytes"),
        (prop(PCI, "interrupt-map", cells(0)), "ends within a row"),
        (prop(PCI, "ranges", cells(1)), "not a multiple of"),
        (prop(PCI, "#interrupt-cells", HUGE), "is 4294967295, expected at most 16"),
        (prop("/soc", "#address-cells", HUGE), "is 4294967295, expected at most 4"),
        (prop("/", "#size-cells", HUGE), "is 4294967295, expected at most 4"),
        (prop(PLIC, "#interrupt-cells", HUGE), "is 4294967295, expected at most 16"),
        (prop(PLIC, "#interrupt-cells", cells(0)), "has no #interrupt-cells|no interrupt"),
        (prop(INTC, "#interrupt-cells", cells(0)), "refers to phandle|one cell, not 0"),
        (prop(CPU, "reg", b""), "reg is empty"),
        (prop(UART, "reg", b""), "reg is empty"),
        (prop(UART, "interrupts", b""), ""),
        (prop(UART, "interrupt-parent", cells(0xDEAD)), "refers to phandle 0xdead"),
        (prop(UART, "status", b"\xff\0"), "is not text"),
        (prop(PLIC, "riscv,ndev", b"1"), "is 1 bytes"),
        (prop(CLINT, "interrupts-extended", cells(1)), "has no #interrupt-cells"),
        (many, ""),
    ],
)
def test_properties_that_cannot_be(change: Callable[[Tree], object], says: str) -> None:
    tree = virt()
    change(tree)
    Path("board.dtb").write_bytes(dtb.export(tree))
    begun = time.monotonic()
    options = {"kernel": resource("firmware/hello.elf"), "bios": "none"}
    if says:
        with pytest.raises(UserError, match=says) as caught:
            rvvm.Machine("board.dtb", **options)
        assert "board.dtb: " in str(caught.value) and "\n" not in str(caught.value)
    else:
        try:
            rvvm.Machine("board.dtb", **options)
        except UserError as error:
            assert "board.dtb: " in str(error)
    assert time.monotonic() - begun < SOON


def deep(depth: int) -> bytes:
    """A tree of nodes in each other, which no writer of ours would make."""
    body = b"\0\0\0\1a\0\0\0" * depth + b"\0\0\0\2" * depth
    whole = bytearray(dtb.export(Tree.empty()))
    at = struct.unpack_from(">I", whole, 8)[0]
    data = bytes(whole[:at]) + b"\0\0\0\1\0\0\0\0" + body + b"\0\0\0\2\0\0\0\x09"
    header = bytearray(data)
    struct.pack_into(">I", header, 4, len(data))
    struct.pack_into(">I", header, 12, len(data) - 1)
    return bytes(header)


@pytest.mark.parametrize("depth", [DEEPEST, 100_000])
def test_blobs_that_are_nested_deeply(depth: int) -> None:
    with pytest.raises(UserError, match="nested more than 64 deep"):
        dtb.parse(deep(depth), "board.dtb")


def test_a_blob_is_no_larger_than_what_is_read() -> None:
    Path("board.dtb").write_bytes(b"\xd0\x0d\xfe\xed")
    os.truncate("board.dtb", 1 << 40)
    with pytest.raises(UserError, match="more than 16,777,216 bytes"):
        fdt.load("board.dtb")


@pytest.mark.parametrize("seconds", [5, pytest.param(600, marks=pytest.mark.long)])
def test_forged_trees_are_one_line_or_a_board(tmp_path: Path, seconds: float) -> None:
    forged.run(tmp_path, seconds, first=random.randrange(1 << 30))
