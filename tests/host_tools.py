"""What this host lacks for some tests, in words for who reads why they were left out."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache


@cache
def lacks(*tools: str) -> str:
    """The reason, empty where there is none."""
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        return f"not installed: {', '.join(missing)}"
    if "passt" in tools and not _user_namespaces():
        return "this host allows no user namespaces, which passt wants (a container?)"
    return ""


def _user_namespaces() -> bool:
    command = ["unshare", "--user", "true"]
    return subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0
