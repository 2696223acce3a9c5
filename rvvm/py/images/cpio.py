"""Write initramfs archives: cpio in the "newc" format, as the kernel unpacks it.

Linux, Documentation/driver-api/early-userspace/buffer-format.rst. No root is needed: owners
and device nodes are only words in headers. The same content always gives the same bytes.
"""

from __future__ import annotations

import stat
from pathlib import PurePosixPath

TRAILER = "TRAILER!!!"


class Archive:
    """An archive under construction. Parents are added by need; a path is taken only once."""

    def __init__(self) -> None:
        self._out = bytearray()
        self._seen: set[str] = {""}

    def directory(self, path: str, mode: int = 0o755) -> None:
        """Add a folder."""
        self._add(path, stat.S_IFDIR | mode)

    def file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Add a regular file."""
        self._add(path, stat.S_IFREG | mode, data)

    def symlink(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self._add(path, stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, path: str, major: int, minor: int, mode: int = 0o600) -> None:
        """Add a device node; making it in the guest takes no right here."""
        self._add(path, stat.S_IFCHR | mode, device=(major, minor))

    def finish(self) -> bytes:
        """The whole archive."""
        return bytes(self._out) + _entry(TRAILER, 0, 0, b"", (0, 0))

    def _add(
        self, path: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)
    ) -> None:
        name = str(PurePosixPath(path.lstrip("/")))
        if name in self._seen:
            raise ValueError(f"{name} is in the archive already")
        parent = str(PurePosixPath(name).parent)
        if parent != "." and parent not in self._seen:
            self.directory(parent)
        self._seen.add(name)
        self._out += _entry(name, len(self._seen), mode, data, device)


def _entry(name: str, inode: int, mode: int, data: bytes, device: tuple[int, int]) -> bytes:
    links = 2 if stat.S_ISDIR(mode) else 1
    name_size = len(name.encode()) + 1
    # ino mode uid gid nlink mtime filesize maj min rmaj rmin namesize chksum
    words = (inode, mode, 0, 0, links, 0, len(data), 0, 0, *device, name_size, 0)
    header = b"070701" + b"".join(b"%08X" % word for word in words)
    return _padded(header + name.encode() + b"\0") + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
