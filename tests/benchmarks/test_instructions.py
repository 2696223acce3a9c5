"""The engine has not become slower, by counted host instructions; see benchmarks/README.md."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from style.tree import ROOT

BASELINE = ROOT / "benchmarks/baseline.json"


def benchmark(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"benchmarks.{words[0]}", *words[1:]]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("valgrind"), reason="no valgrind")
@pytest.mark.skipif(bool(os.environ.get("LD_PRELOAD")), reason="under a sanitizer")
def test_no_loop_costs_more_than_the_baseline_allows() -> None:
    done = benchmark("instructions", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_loop_has_a_baseline() -> None:
    from benchmarks import bare  # type: ignore[import-not-found,unused-ignore]

    known: dict[str, Any] = json.loads(BASELINE.read_text())
    assert all(set(counts) == set(bare.LOOPS) for counts in known.values())


def test_loops_run_without_a_trap(tmp_path: Path) -> None:
    figures = tmp_path / "mips.json"
    done = benchmark("mips", "--runs", "1", "--millions", "1", "--json", str(figures))
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(row["MIPS"]["median"] > 0 for row in json.loads(figures.read_text())["rows"])


def test_misses_are_timed_without_a_trap(tmp_path: Path) -> None:
    figures = tmp_path / "mmu.json"
    done = benchmark("mmu", "--runs", "1", "--touches", "30000", "--json", str(figures))
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(json.loads(figures.read_text())["rows"]) == 7
