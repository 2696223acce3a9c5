"""Types: the Python half, and the core's stub against the core itself."""

from __future__ import annotations

import sys

from style.tree import ROOT, run

ALLOWED = ROOT / "tests/style/stubtest.txt"


def test_package_is_typed() -> None:
    run(sys.executable, "-m", "mypy")


def test_stub_agrees_with_the_core() -> None:
    options = ["--concise", "--mypy-config-file", "pyproject.toml", "--allowlist", str(ALLOWED)]
    run(sys.executable, "-m", "mypy.stubtest", "rvvm._core", *options)
