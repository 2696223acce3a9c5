"""What this host lacks for some tests, in words for who reads why they were left out; and what its
Python may lack."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from functools import cache
from pathlib import Path


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


def unpack(archive: tarfile.TarFile, folder: Path) -> None:
    """An archive of the tests' own, as it is. Python 3.14 filters by default; Debian 12's 3.11.2
    knows no filters (they came with 3.11.4)."""
    if hasattr(tarfile, "fully_trusted_filter"):
        archive.extraction_filter = tarfile.fully_trusted_filter
    archive.extractall(folder)
