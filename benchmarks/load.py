"""The program of ``load/`` in the guest's initramfs: what benchmarks of devices run there."""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path

from benchmarks import kernels
from rvvm.py import images
from rvvm.py.images import cache, cpio

SOURCES = Path(__file__).with_name("load")
IN_GUEST, ARCHIVE = "bench/load", "bench/files.tar"
FILES = 500  # in the archive
LINE = rb"load (\w+) (\d+)\s+"
DONE = re.compile(LINE)


def initramfs() -> Path:
    """rvvm's initramfs and, behind it, an archive with the program and a tar of small files."""
    program = kernels.compile_for("riscv64-linux-musl", SOURCES)
    archive = cpio.Archive()
    archive.file(IN_GUEST, program.read_bytes(), mode=0o755)
    archive.file(ARCHIVE, _files())
    base = images.path("busybox").read_bytes()
    path = cache.folder("benchmarks") / "load.cpio"
    cache.write(path, base + bytes(-len(base) % 4) + archive.finish())
    return path


def _files() -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for number in range(FILES):
            about = tarfile.TarInfo(f"tree/{number % 20}/{number}")
            about.size = 3000
            tar.addfile(about, io.BytesIO(bytes(3000)))
    return data.getvalue()
