"""The busybox initramfs: a shell and a few modules, made for a short boot.

It is an uncompressed archive with uncompressed modules: copying costs the guest about two
instructions for eight bytes, xz some hundred for each byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rvvm.py.images import cpio, modules, symbols

MODULES = (
    "kvm",
    "virtio_mmio",
    "virtio_blk",
    "virtio_net",
    "virtio_rng",
    "virtio_balloon",
    "vmw_vsock_virtio_transport",
    "9p",
    "9pnet_virtio",
    "crc32c_generic",
    "ext4",
    "overlay",
    "squashfs",
    "loop",
)
"""What a guest may want; each comes with what it needs. virtio_console and virtio_pci are
built into Debian's kernel."""

FOLDERS = (
    "bin",
    "dev",
    "etc",
    "etc/udhcpc",
    "lib",
    "mnt",
    "proc",
    "root",
    "run",
    "sys",
    "tmp",
    "usr",
)

SCRIPTS = {"init": "init.sh", "etc/udhcpc/default.script": "udhcpc.sh"}
"""Where each is in the archive, and its file beside this one."""

TEXT_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "etc/hosts": "127.0.0.1 localhost rvvm\n",
    "etc/profile": "alias ll='ls -l'\n",
    "etc/profile.plain": ". /etc/profile\nset -v\n",
    "etc/resolv.conf": "",
    "etc/fstab": "".join(
        f"{name} /{name} {kind} defaults 0 0\n"
        for name, kind in (("dev", "devtmpfs"), ("proc", "proc"), ("sys", "sysfs"))
    ),
}


def build(
    busybox: bytes, release: str, packaged: Mapping[str, bytes], programs: Mapping[str, bytes]
) -> bytes:
    """The archive.

    `packaged` holds the kernel package's modules, path below ``/lib/modules/<release>`` ->
    bytes; `programs` go to /root.
    """
    archive = cpio.Archive()
    for folder in FOLDERS:
        archive.directory(folder)
    for name, target in {"sbin": "bin", "usr/bin": "../bin", "usr/sbin": "../bin"}.items():
        archive.symlink(name, target)
    # The kernel opens the console for process 1 before devtmpfs is there.
    archive.character_device("dev/console", 5, 1)
    archive.character_device("dev/null", 1, 3, mode=0o666)
    for name, script in SCRIPTS.items():
        archive.file(name, _text(script), mode=0o755)
    for name, text in TEXT_FILES.items():
        archive.file(name, text.encode())
    _add_busybox(archive, busybox)
    _add_modules(archive, f"lib/modules/{release}", packaged)
    for name, data in programs.items():
        archive.file(f"root/{name}", data, mode=0o755)
    return archive.finish()


def init_script() -> bytes:
    """The text of /init."""
    return _text(SCRIPTS["init"])


def _text(script: str) -> bytes:
    return Path(__file__).with_name(script).read_bytes()


def applets(busybox: bytes) -> list[str]:
    """The applets of a busybox binary, read from its table: sorted names, each NUL-ended.

    The binary cannot run here to say it itself (``--list``).
    """
    start = busybox.index(b"[\0[[\0")
    end = busybox.index(b"\0\0", start)
    return [name.decode() for name in busybox[start:end].split(b"\0")]


def _add_busybox(archive: cpio.Archive, busybox: bytes) -> None:
    archive.file("bin/busybox", busybox, mode=0o755)
    for name in applets(busybox):
        if name != "busybox":
            archive.symlink(f"bin/{name}", "busybox")


def _add_modules(archive: cpio.Archive, base: str, packaged: Mapping[str, bytes]) -> None:
    closure = modules.Closure(MODULES, modules.loader(packaged))
    for module in closure.modules.values():
        archive.file(f"{base}/{module.path}", symbols.slim(module.data))
    for name, text in modules.index_files(closure):
        archive.file(f"{base}/{name}", text.encode())
