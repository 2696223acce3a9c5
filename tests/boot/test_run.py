"""The command line boots Debian to a shell, with its input in a pipe and at a terminal."""

from __future__ import annotations

import re
import sys

import pexpect
import pytest

from cli.run import ENVIRONMENT, rvvm

pytestmark = pytest.mark.xdist_group("debian")


def test_piped_commands() -> None:
    """Each is shown once, where it is read, and nobody asks a pipe where its cursor is."""
    done = rvvm("--kernel", "debian", stdin=b"uname -m\necho a\tb\npoweroff -f\n", timeout=900)
    assert done.returncode == 0
    said = done.stdout.decode().replace("\r", "")
    assert "\x1b" not in said
    _, greeting, shell = said.partition("-riscv64, 1 hart. modprobe knows")
    assert greeting
    _, _, shell = shell.partition("~ # ")
    assert shell.startswith("uname -m\nriscv64\n~ # echo a\tb\na b\n~ # poweroff -f\n")


def test_at_a_terminal() -> None:
    """The shell edits lines, and programs know how large the terminal is."""
    words = ["-m", "rvvm", "--kernel", "debian", "--append", "console=ttyS0 quiet", "--harts", "2"]
    size = (31, 101)
    child = pexpect.spawn(
        sys.executable, words, env=ENVIRONMENT, timeout=900, dimensions=size, encoding="utf-8"
    )
    try:
        child.expect_exact("-riscv64, harts 0-1. modprobe knows")
        child.expect_exact("# \x1b[6n")
        child.send("stty sizes\x7f\n")
        child.expect(re.compile(r"\n31 101\r"))
        child.expect_exact("# \x1b[6n")
        child.send("poweroff -f\n")
        child.expect(pexpect.EOF)
        child.wait()
        assert child.exitstatus == 0
    finally:
        child.close(force=True)
