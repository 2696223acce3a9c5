"""What a cpu node says its hart implements, as the core's extension names."""

from __future__ import annotations

import re

from rvvm.py.tree import Node

BASE = "rv64i"
# A legacy string predates the splitting of the base: ``i`` included them (Linux, riscv/cpus.yaml).
IMPLIED_BY_LEGACY_STRING = ("zicsr", "zifencei", "zicntr", "zihpm")
CACHE_BLOCK = 64  # Zic64b, and what the core's cbo.* work on
GENERAL = ("i", "m", "a", "f", "d")

_VERSION = re.compile(r"(?<!^s[ms])\d+p\d+$")  # ss1p13 is a whole name
_SINGLE = re.compile(r"([a-rt-wy])(\d+(?:p\d+)?)?")


def extensions(cpu: Node) -> list[str]:
    """The extensions of a cpu node: ``riscv,isa-extensions``, or else ``riscv,isa``.

    A hart has S-mode and U-mode unless its ``mmu-type`` is missing or ``riscv,none``; its
    translation modes are the one named and the smaller ones.
    """
    if "riscv,isa-extensions" in cpu:
        names = _listed(cpu)
    else:
        prop = cpu["riscv,isa"]
        try:
            names = parse(prop.string())
        except ValueError as error:
            raise prop.error(str(error)) from None
    _check_cache_blocks(cpu)
    return list(dict.fromkeys([*names, *_privileged(cpu)]))


def _check_cache_blocks(cpu: Node) -> None:
    """Another size would have the guest believe that cbo.zero clears what it does not."""
    for name in ("riscv,cbom-block-size", "riscv,cbop-block-size", "riscv,cboz-block-size"):
        if name in cpu and cpu.u32(name) != CACHE_BLOCK:
            raise cpu[name].error(f"is {cpu.u32(name)}; only {CACHE_BLOCK} is implemented")


def _listed(cpu: Node) -> list[str]:
    base = cpu.string("riscv,isa-base", BASE)
    if base != BASE:
        raise cpu["riscv,isa-base"].error(f"is {base}; only {BASE} is implemented")
    names = cpu.strings("riscv,isa-extensions")
    if "i" not in names:
        raise cpu["riscv,isa-extensions"].error("does not list i")
    return names


def _privileged(cpu: Node) -> list[str]:
    mode = cpu.string("mmu-type", "riscv,none").removeprefix("riscv,")
    modes = ("none", "sv39", "sv48", "sv57")
    if mode not in modes:
        raise cpu["mmu-type"].error(f"is {mode}, expected one of riscv,{', riscv,'.join(modes)}")
    supported = modes[1 : modes.index(mode) + 1]
    return ["s", "u", *supported] if supported else ["u"]


def parse(text: str) -> list[str]:
    """The extensions of an ISA string (Unprivileged spec, "ISA Extension Naming Conventions").

    >>> parse("rv64imac_zba1p0_svinval")[:6]
    ['i', 'm', 'a', 'c', 'zba', 'svinval']
    """
    singles, *multi = text.lower().split("_")
    if not singles.startswith("rv64"):
        raise ValueError(f"is {text}: only rv64 is implemented")
    rest = singles.removeprefix("rv64")
    names: list[str] = []
    while match := _SINGLE.match(rest):
        names += GENERAL if match[1] == "g" else [match[1]]
        rest = rest[match.end() :]
    if rest and rest != "su":  # old trees name the privilege modes, too
        multi.insert(0, rest)
    for name in multi:
        name = _VERSION.sub("", name)
        if not re.fullmatch(r"[szx][a-z][a-z0-9]*|[a-rt-wy]", name):
            raise ValueError(f"is {text}: {name!r} is not an extension's name")
        names.append(name)
    if "i" not in names:
        raise ValueError(f"is {text}: there is no i")
    return list(dict.fromkeys([*names, *IMPLIED_BY_LEGACY_STRING]))


def legacy_string(cpu: Node) -> str:
    """What ``riscv,isa`` says for a cpu node's ``riscv,isa-extensions``."""
    names = _listed(cpu)
    singles = "".join(sorted((n for n in names if len(n) == 1), key="imafdqcbvh".find))
    return "_".join([f"rv64{singles}", *(name for name in names if len(name) > 1)])
