"""The archive writer, read back by a reader of our own and by GNU cpio."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from rvvm.py.images.cpio import Archive


def archive() -> bytes:
    out = Archive()
    out.directory("dev")
    out.character_device("dev/console", 5, 1)
    out.file("deep/er/file", b"12345", mode=0o755)
    out.symlink("link", "deep/er/file")
    return out.finish()


def entries(data: bytes) -> dict[str, tuple[int, bytes, tuple[int, int]]]:
    """Name -> mode, content, device. The format: Linux, buffer-format.rst."""
    found, at = {}, 0
    while True:
        assert data[at : at + 6] == b"070701"
        words = [int(data[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        mode, size, name_size = words[1], words[6], words[11]
        name = data[at + 110 : at + 110 + name_size - 1].decode()
        at += -(-(110 + name_size) // 4) * 4
        if name == "TRAILER!!!":
            assert at == len(data)
            return found
        found[name] = (mode, data[at : at + size], (words[9], words[10]))
        at += -(-size // 4) * 4


def test_read_back() -> None:
    found = entries(archive())
    assert list(found) == ["dev", "dev/console", "deep", "deep/er", "deep/er/file", "link"]
    assert found["dev/console"] == (stat.S_IFCHR | 0o600, b"", (5, 1))
    assert found["deep/er/file"] == (stat.S_IFREG | 0o755, b"12345", (0, 0))
    assert found["link"] == (stat.S_IFLNK | 0o777, b"deep/er/file", (0, 0))
    assert stat.S_ISDIR(found["deep"][0])


def test_same_content_same_bytes() -> None:
    assert archive() == archive()


def test_a_path_only_once() -> None:
    out = Archive()
    out.file("a", b"")
    with pytest.raises(ValueError, match="already"):
        out.symlink("/a", "b")


@pytest.mark.skipif(not shutil.which("cpio"), reason="no cpio here")
def test_gnu_cpio_reads_it(tmp_path: Path) -> None:
    done = subprocess.run(["cpio", "-tv"], input=archive(), capture_output=True, check=True)
    assert b"5,   1" in done.stdout
    assert b"link -> deep/er/file" in done.stdout
