"""Types: the Python half, and the core's stub against the core itself."""

from __future__ import annotations

import sys
from pathlib import Path

from style.tree import ROOT, run

# What pybind11 gives its classes and no stub can say: a metaclass, and an __init__ that refuses.
CLASSES = "DeferredSignals|Exit|Hart|MemoryImage|Step|System|Translation"
PYBIND11 = rf"rvvm\._core\.({CLASSES})(\.__init__)?"


def test_package_is_typed() -> None:
    run(sys.executable, "-m", "mypy")


def test_stub_agrees_with_the_core(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.write_text(PYBIND11)
    run(
        sys.executable,
        "-m",
        "mypy.stubtest",
        "--concise",
        "--mypy-config-file",
        str(ROOT / "pyproject.toml"),
        "--allowlist",
        str(allowed),
        "rvvm._core",
    )
