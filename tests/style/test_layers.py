"""Includes and imports point to what lies below, never up: the two tables are the architecture."""

from __future__ import annotations

import re

from style.tree import ROOT, cpp_files, lines

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
