"""What is added to a board's tree before the guest sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from board.trees import CPU, VIRT
from board.trees import tree as make
from rvvm.py import fdt
from rvvm.py.completion import complete, cpu_nodes, hart_id, set_chosen
from rvvm.py.errors import UserError
from rvvm.py.options import Options
from rvvm.py.tree import Region, Tree


@pytest.fixture
def virt() -> Tree:
    return fdt.load(VIRT)


def wires(tree: Tree, path: str) -> list[tuple[int, int]]:
    """Hart ID and interrupt number of each entry of interrupts-extended."""
    return [
        (hart_id(entry.node.parent), *entry.cells)
        for entry in tree[path].interrupts()
        if entry.node.parent is not None
    ]


def test_chosen(virt: Tree) -> None:
    set_chosen(virt, bootargs="quiet", initrd=Region(0x1_8000_0000, 0x100), rng_seed=b"\1\2\3\4\5")
    chosen = virt["/chosen"]
    assert chosen.string("bootargs") == "quiet"
    assert chosen["linux,initrd-start"].number() == 0x1_8000_0000
    assert chosen["linux,initrd-end"].number() == 0x1_8000_0100
    assert chosen["rng-seed"].value == b"\1\2\3\4\5"
    assert chosen.string("stdout-path") == "/soc/serial@10000000", "kept"


def test_chosen_is_made(tmp_path: Path) -> None:
    tree = make(tmp_path, "")
    set_chosen(tree, stdout_path="/x")
    assert tree["/chosen"].string("stdout-path") == "/x" and "bootargs" not in tree["/chosen"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, None),
        ({"terminal": "24x80"}, "24x80"),
        ({"terminal": "24x80", "serial": "stdio"}, "24x80"),
        ({"terminal": "24x80", "serial": "null"}, None),
        ({"terminal": "24x80", "serial": "file:log"}, None),
        ({"terminal": "24x80", "serial": "unix:con,server"}, "0x0"),
        ({"serial": "tcp:localhost:1"}, "0x0"),
        ({"serial": "pty"}, "0x0"),
        ({"terminal": "24x80", "clock": "instructions"}, None),
    ],
)
def test_the_terminal(virt: Tree, options: dict[str, str], told: str | None) -> None:
    """Only of the terminal that the console is at, and never where runs are to be the same."""
    set_chosen(virt, terminal=Options(**options).terminal_size)  # type: ignore[arg-type]
    assert ("rvvm,terminal" in virt["/chosen"]) == (told is not None)
    assert told is None or virt["/chosen"].string("rvvm,terminal") == told


def test_memory(virt: Tree) -> None:
    complete(virt, memory=5 << 30)
    assert virt["/memory@80000000"].reg() == [Region(0x8000_0000, 5 << 30)]


@pytest.mark.parametrize("size", [0, -4096, 100, 1 << 64])
def test_impossible_memory(virt: Tree, size: int) -> None:
    with pytest.raises(UserError, match="memory size"):
        complete(virt, memory=size)


def test_memory_needs_one_node(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"board\.dts: a memory size"):
        complete(make(tmp_path, CPU), memory=1 << 30)
    narrow = make(
        tmp_path, '#size-cells = <1>; memory@0 { device_type = "memory"; reg = <0 0 4096>; };'
    )
    with pytest.raises(UserError, match="has no room for 0x100000000 bytes"):
        complete(narrow, memory=1 << 32)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_more_harts(virt: Tree, count: int) -> None:
    complete(virt, harts=count)
    assert [hart_id(node) for node in cpu_nodes(virt)] == list(range(count))
    assert [node.name for node in cpu_nodes(virt)] == [f"cpu@{i:x}" for i in range(count)]
    expected = [(hart, number) for hart in range(count) for number in (3, 7)]
    assert wires(virt, "/soc/clint@2000000") == expected
    expected = [(hart, number) for hart in range(count) for number in (11, 9)]
    assert wires(virt, "/soc/interrupt-controller@c000000") == expected
    cores = virt["/cpus/cpu-map/cluster0"].children
    assert [hart_id(core.reference("cpu")) for core in cores.values()] == list(range(count))
    phandles = [node.phandle for node in virt.walk() if node.phandle is not None]
    assert len(phandles) == len(set(phandles))


def test_hundreds_of_harts_are_no_matter(virt: Tree) -> None:
    complete(virt, harts=64)
    assert len(wires(virt, "/soc/clint@2000000")) == 128


def test_fewer_harts(virt: Tree) -> None:
    complete(virt, harts=4)
    complete(virt, harts=2)
    assert [hart_id(node) for node in cpu_nodes(virt)] == [0, 1]
    assert wires(virt, "/soc/clint@2000000") == [(0, 3), (0, 7), (1, 3), (1, 7)]
    assert list(virt["/cpus/cpu-map/cluster0"].children) == ["core0", "core1"]


def test_impossible_harts(virt: Tree, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least one"):
        complete(virt, harts=0)
    with pytest.raises(UserError, match=r"board\.dts: has no cpu"):
        complete(make(tmp_path, ""), harts=2)


def test_the_legacy_isa_string_is_added(virt: Tree) -> None:
    complete(virt, harts=2)
    for cpu in cpu_nodes(virt):
        assert cpu.string("riscv,isa").startswith("rv64imafdcbh_zicbom_")
