"""What a boot loader adds to a board's tree: ``/chosen``, memory size, the number of harts.

``complete`` does what the board's layout needs; ``set_chosen`` can wait until it is known where
things were loaded.
"""

from __future__ import annotations

import re

from rvvm.py import isa
from rvvm.py.errors import UserError
from rvvm.py.tree import Node, Region, Tree, cells

PAGE = 0x1000
MAX_HARTS = 512  # the contexts of a PLIC of the size that virt.dts gives it, M and S of each


def memory_nodes(tree: Tree) -> list[Node]:
    """Section 3.4: the enabled nodes with ``device_type = "memory"``."""
    return [
        node for node in tree.walk() if node.string("device_type", "") == "memory" and node.enabled
    ]


def cpu_nodes(tree: Tree) -> list[Node]:
    """Section 3.8: the cpu nodes, disabled ones too."""
    cpus = tree.find("/cpus")
    children = cpus.children.values() if cpus is not None else ()
    return [node for node in children if node.string("device_type", "") == "cpu"]


def hart_id(cpu: Node) -> int:
    """A cpu node's ``reg`` (section 3.8.1)."""
    regions = cpu.reg()
    if len(regions) != 1:
        raise cpu.error("a cpu node has one reg, its hart ID")
    return regions[0].base


DEFAULT_TIMEBASE = 10_000_000


def set_timebase(tree: Tree) -> str:
    """Where no node says how fast ``time`` ticks, /cpus does from now on; what to tell the user.

    The binding riscv/cpus.yaml requires it, and Linux panics without it.
    """
    cpus = tree.find("/cpus")
    if cpus is None or any("timebase-frequency" in node for node in [cpus, *cpu_nodes(tree)]):
        return ""
    cpus.set("timebase-frequency", DEFAULT_TIMEBASE)
    return (
        f"{cpus.source}: {cpus.path}: has no timebase-frequency, ticks of time in a second:"
        f" taken to be timebase-frequency = <{DEFAULT_TIMEBASE}>;"
    )


def complete(tree: Tree, *, memory: int | None = None, harts: int | None = None) -> None:
    """Apply the overrides, and spell out what older software looks for."""
    if memory is not None:
        set_memory(tree, memory)
    if harts is not None:
        set_harts(tree, harts)
    for cpu in cpu_nodes(tree):
        if "riscv,isa" not in cpu and "riscv,isa-extensions" in cpu:
            cpu.set("riscv,isa", isa.legacy_string(cpu))


def set_chosen(
    tree: Tree,
    *,
    bootargs: str | None = None,
    initrd: Region | None = None,
    rng_seed: bytes | None = None,
    stdout_path: str | None = None,
    terminal: str | None = None,
) -> Node:
    """``/chosen`` (section 3.6) with what is given; the rest of it stays as the tree has it."""
    chosen = tree.root.add("chosen")
    if bootargs is not None:
        chosen.set("bootargs", bootargs)
    if initrd is not None:
        chosen.set("linux,initrd-start", cells(initrd.base, 2))
        chosen.set("linux,initrd-end", cells(initrd.end, 2))
    if rng_seed is not None:
        chosen.set("rng-seed", rng_seed)
    if stdout_path is not None:
        chosen.set("stdout-path", stdout_path)
    if terminal is not None:
        chosen.set("rvvm,terminal", terminal)
    return chosen


def set_memory(tree: Tree, size: int) -> None:
    """Give the tree's one memory node another size."""
    nodes = memory_nodes(tree)
    if len(nodes) != 1 or len(nodes[0].reg()) != 1:
        raise tree.error("a memory size can only be given to a tree with one region of memory")
    (node,) = nodes
    if size <= 0 or size % PAGE:
        raise UserError(f"memory size {size:#x} is not a whole number of 4 KiB pages")
    assert node.parent is not None
    base = node.reg()[0].base
    address = cells(base, node.parent.address_cells)
    if (base + size) >> min(64, 32 * node.parent.address_cells):
        raise UserError(f"memory size {size:#x} does not fit above {base:#x}")
    if size >> 32 * node.parent.size_cells:
        raise node.error(f"#size-cells of its parent has no room for {size:#x} bytes")
    node.set("reg", [*address, *cells(size, node.parent.size_cells)])


def set_harts(tree: Tree, count: int) -> None:
    """Make it ``count`` harts: the last cpu node is cloned, or the last ones are removed.

    Interrupt controllers' ``interrupts-extended`` and ``/cpus/cpu-map`` follow.
    """
    if count < 1:
        raise UserError(f"{count} harts: there must be at least one")
    if count > MAX_HARTS:
        raise UserError(f"{count} harts: at most {MAX_HARTS} can be asked for")
    present = [node for node in cpu_nodes(tree) if node.enabled]
    if not present:
        raise tree.error("has no cpu node")
    for cpu in present[count:]:
        _remove(tree, cpu)
    for _ in range(count - len(present)):
        _add_like(tree, present[-1])


def _remove(tree: Tree, cpu: Node) -> None:
    assert cpu.parent is not None
    gone = {node.phandle for node in cpu.walk()} - {None}
    for node, entries in _extended(tree):
        kept = [entry for entry in entries if entry[0] not in gone]
        node.set("interrupts-extended", [cell for entry in kept for cell in entry])
    for core in _cores(tree, cpu):
        assert core.parent is not None
        core.parent.delete(core.name)
    cpu.parent.delete(cpu.name)


def _add_like(tree: Tree, template: Node) -> None:
    """One more hart like ``template``, wired to the same interrupt controllers."""
    assert template.parent is not None
    identity = 1 + max(hart_id(node) for node in cpu_nodes(tree))
    stem = template.name.partition("@")[0]
    cpu = template.clone(f"{stem}@{identity:x}")
    cpu.set("reg", cells(identity, template.parent.address_cells))
    phandles = {}
    for old, new in zip(template.walk(), cpu.walk(), strict=True):
        if old.phandle is not None:
            phandles[old.phandle] = tree.new_phandle(new)
    for node, entries in _extended(tree):
        added = [[phandles[e[0]], *e[1:]] for e in entries if e[0] in phandles]
        node.set("interrupts-extended", [cell for e in [*entries, *added] for cell in e])
    for core in _cores(tree, template):
        _add_core(core, cpu)


def _extended(tree: Tree) -> list[tuple[Node, list[list[int]]]]:
    """Every node with ``interrupts-extended``, and its entries as cells, the phandle first."""
    found = []
    for node in tree.walk():
        if "interrupts-extended" in node:
            specifiers = node.specifiers("interrupts-extended", "#interrupt-cells")
            entries = [[entry.node.u32("phandle"), *entry.cells] for entry in specifiers]
            found.append((node, entries))
    return found


def _cores(tree: Tree, cpu: Node) -> list[Node]:
    """The cpu-map's leaves that stand for this cpu."""
    cpu_map = tree.find("/cpus/cpu-map")
    if cpu_map is None or cpu.phandle is None:
        return []
    leaves = [node for node in cpu_map.walk() if "cpu" in node]
    return [node for node in leaves if node.u32("cpu") == cpu.phandle]


def _add_core(core: Node, cpu: Node) -> None:
    """The next ``core<n>`` of the same cluster."""
    assert core.parent is not None
    numbers = [re.fullmatch(r"core(\d+)", name) for name in core.parent.children]
    last = max((int(number[1]) for number in numbers if number), default=0)
    core.clone(f"core{last + 1}").set("cpu", cpu.phandle)
