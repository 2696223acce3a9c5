"""./run and what it shares with ./test, with the long work replaced by nothing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose preparation does nothing and whose rvvm prints its arguments and input."""
    for folder in (".ci", ".venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(ROOT / "run", tmp_path)
    (tmp_path / ".ci/prepare").write_text("prepare() { :; }\n")
    rvvm = tmp_path / ".venv/bin/rvvm"
    rvvm.write_text('#!/bin/sh\nprintf "%s|" "$RVVM_DEFAULT_KERNEL" "$@"\ncat\n')
    rvvm.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    "arguments", [[], ["--commit", "debian.img"], ["--append", "a b", ""], ["images", "list"]]
)
def test_run_leaves_the_arguments_to_the_program(checkout: Path, arguments: list[str]) -> None:
    """What they mean is for tests/cli/test_defaults.py: the script knows no options."""
    command = [checkout / "run", *arguments]
    said = subprocess.run(command, input="keys\n", capture_output=True, text=True, check=True)
    assert said.stdout == "|".join(["debian", *arguments, "keys\n"])


def prepared(commands: str) -> subprocess.CompletedProcess[str]:
    """Runs shell commands after the shared part has been read."""
    script = f"set -euo pipefail\n. .ci/prepare\n{commands}"
    return subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True)


def test_missing_packages_are_one_line() -> None:
    said = prepared("id() { echo 1000; }\nsystem_packages g++ python3-dev")
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr == (
        "rvvm: system packages are missing: sudo apt-get install g++ python3-dev\n"
    )


def test_missing_commands_name_their_packages() -> None:
    said = prepared("missing_commands sh:dash no-such-command:some-package")
    assert said.stdout == "some-package\n"


def test_a_failing_step_ends_with_its_output() -> None:
    said = prepared("shown '^progress' sh -c 'echo progress; echo reason; exit 3'\necho went on")
    assert (said.returncode, said.stdout) == (2, "")
    assert "reason" in said.stderr
