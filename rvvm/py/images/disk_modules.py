"""The kernel modules of a disk: what a virtual machine may want of the kernel package's 3,000.

They are uncompressed and slim (`symbols`), so that they load fast; depmod makes their index in
the guest. Debian's own package of the same version brings the others.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping

from rvvm.py.images import modules, symbols

FOLDERS = (
    "arch",
    "crypto",
    "drivers/block",
    "drivers/char/hw_random",
    "drivers/md",
    "drivers/nvme",
    "drivers/vhost",
    "drivers/virtio",
    "fs",
    "lib",
    "net",
    "virt",
)
"""Folders of ``kernel/`` that are there with all below them, but for these:"""

LEFT_OUT = (
    "fs/afs",
    "fs/bcachefs",
    "fs/ceph",
    "fs/dlm",
    "fs/gfs2",
    "fs/jffs2",
    "fs/jfs",
    "fs/ocfs2",
    "fs/reiserfs",
    "fs/ubifs",
    "net/batman-adv",
    "net/bluetooth",
    "net/can",
    "net/ceph",
    "net/ieee802154",
    "net/mac80211",
    "net/mac802154",
    "net/nfc",
    "net/rxrpc",
    "net/tipc",
    "net/wireless",
)

SINGLE = """
    bonding dummy geneve ifb ipvlan macvlan macvtap nlmon tap team tun veth virtio_net vrf vxlan
    wireguard virtio_console virtio_scsi virtio_gpu virtio_input sd_mod sr_mod
"""
"""Modules from elsewhere, where the kernel has them as modules."""


def wanted(path: str) -> bool:
    """Whether a module, by its path below the release, goes onto a disk.

    >>> wanted("kernel/fs/ext4/ext4.ko.xz"), wanted("kernel/fs/afs/kafs.ko.xz")
    (True, False)
    >>> wanted("kernel/drivers/net/tun.ko.xz"), wanted("kernel/drivers/net/fjes/fjes.ko.xz")
    (True, False)
    """
    place = path.removeprefix("kernel/")
    return modules.canonical(path) in SINGLE.split() or (
        _is_below(place, FOLDERS) and not _is_below(place, LEFT_OUT)
    )


def build(release: str, packaged: Mapping[str, bytes]) -> bytes:
    """The archive of ``/usr/lib/modules/<release>``."""
    names = [modules.canonical(path) for path in packaged if wanted(path)]
    closure = modules.Closure(names, modules.loader(packaged))
    files = {path: data for path, data in packaged.items() if path.startswith("modules.")}
    files |= {module.path: symbols.slim(module.data) for module in closure.modules.values()}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path, data in sorted(files.items()):
            entry = tarfile.TarInfo(f"usr/lib/modules/{release}/{path}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def _is_below(place: str, folders: tuple[str, ...]) -> bool:
    return any(place.startswith(f"{folder}/") for folder in folders)
