"""Named images: kernels, firmware and initramfs that rvvm fetches or builds by itself.

``--kernel debian --bios opensbi --initrd busybox`` name them; `path` gives their files.
"""

from __future__ import annotations

from rvvm.py.images.store import Row, build, fetch, path, remove
from rvvm.py.images.store import rows as list

__all__ = ["Row", "build", "fetch", "list", "path", "remove"]
