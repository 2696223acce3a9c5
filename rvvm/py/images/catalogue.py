"""The images rvvm knows by name: what each is and what it is made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from rvvm.py.errors import UserError
from rvvm.py.images import cache
from rvvm.py.images.packages import Package
from rvvm.py.resources import PACKAGE

KERNEL_PACKAGE = "linux-image-riscv64"
OPENSBI = "usr/lib/riscv64-linux-gnu/opensbi/generic"
GUEST_PROGRAMS = ("kvm_smoke",)
"""Programs of ours that go into the initramfs when they are built."""

Packages = Mapping[str, Package]


@dataclass(frozen=True)
class Image:
    """A named image: one file made out of Debian packages."""

    name: str
    what: str
    filename: str
    packages: tuple[str, ...]
    make: Callable[[Packages, bool], bytes]
    inputs: Callable[[], Mapping[str, bytes]] = dict
    """What besides packages the image is made from: when it changes, the image is stale."""
    option: str = ""
    """The option of the command line that takes it."""

    @property
    def path(self) -> Path:
        """Where it lies, or will lie, in the cache."""
        return cache.root() / "images" / self.name / self.filename


def _member(pattern: str) -> Callable[[Packages, bool], bytes]:
    """An image that is one file of one package."""

    def make(packages: Packages, progress: bool) -> bytes:
        from rvvm.py.images import apt, unpack

        (package,) = packages.values()
        return unpack.file(apt.fetch(package, progress), pattern)

    return make


def _initramfs(packages: Packages, progress: bool) -> bytes:
    from rvvm.py.images import apt, initramfs, unpack

    busybox = unpack.file(apt.fetch(packages["busybox-static"], progress), "usr/bin/busybox")
    release, modules = _packaged_modules(packages, progress)
    return initramfs.build(busybox, release, modules, guest_programs())


def _disk_modules(packages: Packages, progress: bool) -> bytes:
    from rvvm.py.images import disk_modules

    release, modules = _packaged_modules(packages, progress)
    return disk_modules.build(release, modules)


def _packaged_modules(packages: Packages, progress: bool) -> tuple[str, dict[str, bytes]]:
    """The kernel's release, and path below ``/lib/modules/<release>`` -> bytes of its modules and
    the lists of them."""
    from rvvm.py.images import apt, unpack

    kernel = packages[KERNEL_PACKAGE]
    release = kernel.name.removeprefix("linux-image-")
    base = f"usr/lib/modules/{release}/"
    found = unpack.files(
        apt.fetch(kernel, progress),
        lambda path: fnmatch(path, f"{base}kernel/*.ko*") or fnmatch(path, f"{base}modules.*"),
    )
    return release, {path.removeprefix(base): data for path, data in found}


def guest_programs() -> dict[str, bytes]:
    """Those of GUEST_PROGRAMS that this installation has."""
    found = {name: PACKAGE / "firmware" / name for name in GUEST_PROGRAMS}
    return {name: file.read_bytes() for name, file in found.items() if file.is_file()}


def _own_parts() -> dict[str, bytes]:
    """Everything of ours that shapes the initramfs: programs and this folder's sources."""
    names = ("cpio.py", "init.sh", "initramfs.py", "modules.py", "symbols.py", "udhcpc.sh")
    return _sources(*names) | guest_programs()


def _sources(*names: str) -> dict[str, bytes]:
    return {name: (Path(__file__).parent / name).read_bytes() for name in names}


IMAGES = (
    Image(
        "debian",
        "Debian's kernel",
        "Image",
        (KERNEL_PACKAGE,),
        _member("boot/vmlinu?-*"),
        option="kernel",
    ),
    Image(
        "opensbi",
        "OpenSBI, fw_dynamic",
        "fw_dynamic.bin",
        ("opensbi",),
        _member(f"{OPENSBI}/fw_dynamic.bin"),
        option="bios",
    ),
    Image(
        "opensbi-jump",
        "OpenSBI, fw_jump",
        "fw_jump.bin",
        ("opensbi",),
        _member(f"{OPENSBI}/fw_jump.bin"),
        option="bios",
    ),
    Image(
        "u-boot",
        "U-Boot for S-mode",
        "u-boot.bin",
        ("u-boot-qemu",),
        _member("usr/lib/u-boot/qemu-riscv64_smode/u-boot.bin"),
        option="kernel",
    ),
    Image(
        "busybox",
        "initramfs: a shell, modules",
        "initramfs.cpio",
        ("busybox-static", KERNEL_PACKAGE),
        _initramfs,
        _own_parts,
        "initrd",
    ),
    Image(
        "modules",
        "the kernel's modules, for disks",
        "modules.tar",
        (KERNEL_PACKAGE,),
        _disk_modules,
        lambda: _sources("disk_modules.py", "modules.py", "symbols.py"),
    ),
)

ALIASES = {"initramfs": "busybox", "linux": "debian", "uboot": "u-boot"}


def find(name: str) -> Image | None:
    """The image of that name, if there is one."""
    wanted = ALIASES.get(name, name)
    return next((image for image in IMAGES if image.name == wanted), None)


def get(name: str) -> Image:
    """The image of that name."""
    if image := find(name):
        return image
    raise UserError(f"no image {name}: known are {', '.join(image.name for image in IMAGES)}")
