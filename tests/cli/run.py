"""Running the command line as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import rvvm as package

COMMAND = [sys.executable, "-m", "rvvm"]

# The package under test, from whatever working folder; an asan build is not the installed one.
_PACKAGE = str(Path(package.__file__).parents[1])
ENVIRONMENT = {**os.environ, "PYTHONPATH": _PACKAGE, "PYTHONSAFEPATH": "1"}


def rvvm(
    *arguments: object, stdin: bytes = b"", timeout: float = 300, cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    """The finished process, with what it printed."""
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(
        command, input=stdin, capture_output=True, timeout=timeout, cwd=cwd, env=ENVIRONMENT
    )
