"""The notebooks run as they stand, from top to bottom."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cli.run import ENVIRONMENT

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


@pytest.mark.xdist_group("debian")
@pytest.mark.parametrize("name", [path.name for path in sorted(NOTEBOOKS.glob("*.ipynb"))])
def test_notebook(name: str) -> None:
    command = [sys.executable, "-m", "pytest", "--nbmake", "--nbmake-timeout=900", "-p", "no:xdist"]
    where = ["--rootdir", str(NOTEBOOKS), str(NOTEBOOKS / name)]
    done = subprocess.run(
        [*command, *where], capture_output=True, text=True, cwd=NOTEBOOKS, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stdout + done.stderr
