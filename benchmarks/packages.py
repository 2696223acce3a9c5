"""Debian programs for the guests: packages with all they need, unpacked into a disk image."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from rvvm.py.errors import UserError
from rvvm.py.images import apt_tool, cache

MERGED = ("bin", "lib", "sbin")  # links into usr, which base-files makes
SPARE = 64 << 20


def disk(*names: str) -> Path:
    """An ext4 image with these packages for riscv64, made when it is not there: a chroot."""
    path = cache.folder("benchmarks") / f"{'-'.join(names)}.ext4"
    if not path.exists():
        with cache.lock("benchmarks"), tempfile.TemporaryDirectory(dir=path.parent) as folder:
            tree = Path(folder) / "tree"
            _unpack(names, tree)
            whole = Path(folder) / "disk"
            _format(tree, whole)
            whole.rename(path)
    return path


def _unpack(names: tuple[str, ...], tree: Path) -> None:
    for name in MERGED:
        (tree / "usr" / name).mkdir(parents=True)
        (tree / name).symlink_to(f"usr/{name}")
    for name in ("dev", "proc", "tmp"):
        (tree / name).mkdir()
    with cache.lock("apt"):
        apt_tool.prepare()
        apt_tool.run("apt-get", "update", "-q")
        words = ("--download-only", "--yes", "--no-install-recommends")
        apt_tool.run("apt-get", "install", "-q", *words, *names)
        archives = apt_tool.home() / "cache/archives"
        for package in sorted(archives.glob("*.deb")):
            _extract(package, tree)
            package.unlink()


def _extract(package: Path, tree: Path) -> None:
    """Without documents; and over the links of ``MERGED``, which dpkg-deb would replace."""
    data = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], check=True, capture_output=True)
    words = ["tar", "-x", "--keep-directory-symlink", "--exclude=./usr/share/*", "-C", tree]
    subprocess.run(words, input=data.stdout, check=True)


def _format(tree: Path, path: Path) -> None:
    if not (program := shutil.which("mke2fs")):
        raise UserError("mke2fs is needed to make a disk: apt-get install e2fsprogs")
    size = sum(file.lstat().st_size for file in tree.rglob("*")) * 5 // 4 + SPARE
    with path.open("wb") as file:
        file.truncate(size)
    subprocess.run([program, "-q", "-t", "ext4", "-d", tree, path], check=True)
