"""How a disk says that it holds a system to start: by the label of its file system."""

from __future__ import annotations

from pathlib import Path

LABEL = "rvvm-root"

# Linux, Documentation/filesystems/ext4/super.rst
_SUPERBLOCK, _MAGIC_AT, _NAME_AT, _NAME_SIZE = 1024, 0x38, 0x78, 16
_MAGIC = b"\x53\xef"


def is_root(path: Path) -> bool:
    """Whether a raw image is an ext4 file system of that label."""
    try:
        if not (path.is_file() or path.is_block_device()):
            return False
        with path.open("rb") as file:
            file.seek(_SUPERBLOCK)
            block = file.read(_NAME_AT + _NAME_SIZE)
    except OSError:
        return False  # opening it as a disk says what is wrong
    magic = block[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)]
    return magic == _MAGIC and block[_NAME_AT:].rstrip(b"\0") == LABEL.encode()
