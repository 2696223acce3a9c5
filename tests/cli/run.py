"""Running the command line as a user does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

COMMAND = [sys.executable, "-m", "rvvm"]


def rvvm(
    *arguments: object, stdin: bytes = b"", timeout: float = 60, cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    """The finished process, with what it printed."""
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=timeout, cwd=cwd)
