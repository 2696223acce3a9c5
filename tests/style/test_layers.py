"""Includes and imports point to what lies below, never up: the two tables are the architecture."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from style.tree import ROOT, cpp_files, files, lines

# A room may use itself and the rooms named beside it.
CPP_ROOMS = {
    "isa": "",
    "hart": "isa",
    "memory": "isa hart",
    "mmu": "isa hart memory",
    "semantics": "isa hart memory mmu",
    "engine": "isa hart memory mmu semantics",
    "bind": "isa hart memory mmu semantics engine",
}

INCLUDE = re.compile(r'\s*#\s*include\s+"(?P<path>[^"]+)"')


def test_includes_point_down() -> None:
    wrong = []
    for path in cpp_files():
        room = path.relative_to(ROOT / "rvvm/core_cpp").parts[0]
        allowed = {room, *CPP_ROOMS[room].split()}
        for place, line in lines(path):
            if (found := INCLUDE.match(line)) and found["path"].split("/")[0] not in allowed:
                wrong.append(f"{place}: {room} includes {found['path']}")
    assert not wrong, "\n".join(wrong)


# A Python room (a module or a folder of rvvm/py) may use itself and the rooms of the rows above it.
PYTHON_ROWS = """
    _core arguments errors progress
    echo register resources scratch threads throttle views
    inputs
    included
    disk elf host images net preprocessor savefile share stream symbols tree
    bases lines ninep qcow2
    program
    csr dtb dts isa memory parsed
    completion devices fdt hart
    board boot cards
    engines options
    saved_options stats until
    console snapshot
    machine
    line_editor output
    advice conformance daemon disk_builder help monitor shell_completion terminal
    image_commands
    cli
"""


def python_rooms() -> dict[str, set[str]]:
    """What each room of rvvm/py may import."""
    below: set[str] = set()
    allowed = {}
    for row in PYTHON_ROWS.split("\n"):
        allowed |= {room: {room, *below} for room in row.split()}
        below |= set(row.split())
    return allowed


def room_of(module: str) -> str | None:
    """The room of a module, from its full name: None outside of rvvm and for a package itself.

    >>> room_of("rvvm.py.devices.uart"), room_of("rvvm._core"), room_of("os.path")
    ('devices', '_core', None)
    """
    found = re.match(r"rvvm\.(?:py\.)?(?!py\b)(\w+)", module)
    return found[1] if found else None


def imports(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Each import that runs, with its line; those under `if TYPE_CHECKING` only name types."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return
    if isinstance(node, ast.Import):
        yield from ((node.lineno, alias.name) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"line {node.lineno}: a relative import"
        yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
    for child in ast.iter_child_nodes(node):
        yield from imports(child)


def test_imports_point_down() -> None:
    rooms, wrong = python_rooms(), []
    for path in files("rvvm/py/*.py"):
        room = path.relative_to(ROOT / "rvvm/py").with_suffix("").parts[0]
        if room == "__init__":
            continue
        for line, module in imports(ast.parse(path.read_text(encoding="utf-8"))):
            used = room_of(module)
            if used and used not in rooms[room]:
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {room} imports {used}")
    assert not wrong, "\n".join(wrong)
