"""The project's own files, as git knows them: committed or about to be."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def files(*patterns: str) -> tuple[Path, ...]:
    """Every file that git tracks or would add, or those that match a pattern such as `*.py`."""
    command = [
        "git",
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
        "--",
        *patterns,
    ]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = (ROOT / name for name in sorted(set(listed.split("\0"))) if name)
    return tuple(path for path in paths if path.is_file())


def cpp_files() -> tuple[Path, ...]:
    return files("rvvm/core_cpp/*.cpp", "rvvm/core_cpp/*.hpp", "rvvm/core_cpp/*.inc")


def lines(path: Path) -> list[tuple[str, str]]:
    """The lines of a file, each with its place (`file:line`) for a message."""
    name = path.relative_to(ROOT)
    text = path.read_text(encoding="utf-8").split("\n")
    return [(f"{name}:{number}", line) for number, line in enumerate(text, 1)]


def run(*command: str) -> None:
    """Runs a checker at the top of the tree; what it says is the failure."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
