"""QEMU's tools, which make and change disk images."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def tool(*words: str | Path) -> None:
    """Run one. No sanitizer of ours is to watch it, for then it hangs."""
    environment = {name: it for name, it in os.environ.items() if name != "LD_PRELOAD"}
    subprocess.run(words, check=True, capture_output=True, env=environment, timeout=60)
