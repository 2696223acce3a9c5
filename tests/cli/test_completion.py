"""Tab completes: bash calls the function of `rvvm completion bash`, as at a prompt."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cli.run import ENVIRONMENT, rvvm

TRY = """
compopt() { :; }  # it works only while bash itself completes
eval "$(rvvm completion bash)"
complete -p rvvm >&2
read -ra COMP_WORDS <<< "$1"
[[ $1 != *" " ]] || COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
current=${COMP_WORDS[COMP_CWORD]}
[[ $current != [=:] ]] || current=
_rvvm_completion rvvm "$current"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With files, a folder, and `rvvm` as a command."""
    for name in ("hi.elf", "disk.img"):
        (tmp_path / name).touch()
    (tmp_path / "shared").mkdir()
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin/rvvm"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m rvvm "$@"\n')
    command.chmod(0o755)
    return tmp_path


def completed(folder: Path, line: str) -> list[str]:
    """The candidates for the last word; `=` and `:` are set apart as bash does."""
    environment = {**ENVIRONMENT, "PATH": f"{folder / 'bin'}:{ENVIRONMENT['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", TRY, "bash", line],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stderr == "complete -o nosort -F _rvvm_completion rvvm\n"
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("rvvm h", ["hello", "hypervisor", "hi.elf"]),
        ("rvvm de", ["debian"]),
        ("rvvm --ker", ["--kernel"]),
        ("rvvm --no", ["--no-threads"]),
        ("rvvm --kernel d", ["debian", "disk.img"]),
        ("rvvm --kernel = d", ["debian", "disk.img"]),
        ("rvvm --bios n", ["none"]),
        ("rvvm --commit --drive file = d", ["disk.img"]),
        ("rvvm --clock ", ["host", "instructions"]),
        ("rvvm --accel j", ["jit"]),
        ("rvvm --serial u", ["unix:"]),
        ("rvvm --serial file : h", ["hi.elf"]),
        ("rvvm --share s", ["shared"]),
        ("rvvm --netdev user,hostfwd = tcp :: 22- : 22 --device virtio-r", ["virtio-rng"]),
        ("rvvm images b", ["build"]),
        ("rvvm images fetch opensbi u", ["u-boot"]),
        ("rvvm images build --ssh-key h", ["hi.elf"]),
        ("rvvm completion ", ["bash", "zsh", "fish"]),
    ],
)
def test_bash(folder: Path, line: str, expected: list[str]) -> None:
    found = completed(folder, line)
    assert [name for name in found if name != "bin"] == expected


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_scripts_for_others(shell: str) -> None:
    done = rvvm("completion", shell)
    assert (done.returncode, done.stderr) == (0, b"")
    assert f"_RVVM_COMPLETE={shell}_complete".encode() in done.stdout


def test_another_shell() -> None:
    done = rvvm("completion", "csh")
    assert done.returncode == 2 and b"'bash', 'zsh', 'fish'" in done.stderr
