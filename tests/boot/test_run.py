"""The command line boots Debian with its input in a pipe."""

from __future__ import annotations

import pytest

from cli.run import rvvm


@pytest.mark.xdist_group("debian")
def test_piped_commands() -> None:
    done = rvvm("--kernel", "debian", stdin=b"uname -a\npoweroff -f\n", timeout=900)
    assert done.returncode == 0
    assert b"riscv64 GNU/Linux" in done.stdout
