"""What a disk is made from: an archive of all its files, and the initramfs of the guest that
unpacks it."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from rvvm.py.images import apt_tool, cpio, dpkg, sources, unpack
from rvvm.py.images.closure import Deb
from rvvm.py.images.recipe import Recipe

HERE = Path(__file__).parent
HOST_LOOPBACK = "10.0.2.2"
"""Where passt shows a guest the host's own loopback."""

_LIBRARIES = "usr/lib/riscv64-linux-gnu"
_MKE2FS = {
    "e2fsprogs": {"usr/sbin/mke2fs": "mke2fs"},
    "libext2fs2t64": {
        f"{_LIBRARIES}/libext2fs.so.2.*": "lib/libext2fs.so.2",
        f"{_LIBRARIES}/libe2p.so.2.*": "lib/libe2p.so.2",
    },
    "libcom-err2": {f"{_LIBRARIES}/libcom_err.so.2.*": "lib/libcom_err.so.2"},
    "libblkid1": {f"{_LIBRARIES}/libblkid.so.1.*": "lib/libblkid.so.1"},
    "libuuid1": {f"{_LIBRARIES}/libuuid.so.1.*": "lib/libuuid.so.1"},
    "libc6": {
        f"{_LIBRARIES}/libc.so.6": "lib/libc.so.6",
        f"{_LIBRARIES}/ld-linux-*": "lib/ld-linux-riscv64-lp64d.so.1",
    },
}
"""Package -> pattern of a file -> where the guest that makes the file system finds it."""

INIT = "unpack_disk"
"""The first process of the guest that makes the disk."""

_PROXY = re.compile(r'(Acquire::(?:https?::)?(?:[\w.-]+::)?Proxy) "(.*)";')


def write(
    out: IO[bytes],
    recipe: Recipe,
    debs: Sequence[Deb],
    modules: bytes,
    step: Callable[[], None] = lambda: None,
) -> None:
    """The archive of everything on the disk; `modules` is an archive, too. `step` is called for
    each package that is in."""
    archive = dpkg.Archive(out)
    for _ in archive.packages(deb.path for deb in debs):
        step()
    archive.add(modules)
    for path, text, mode in (*recipe.texts(), *_apt_files()):
        archive.file(path, text, mode)
    for path, target in recipe.links():
        archive.symlink(path, target)
    for file in recipe.files:
        archive.file(file.path.lstrip("/"), file.content, file.mode)
    archive.file("var/lib/rvvm/configure", (HERE / "configure_disk.sh").read_bytes())
    archive.file("var/lib/rvvm/steps", recipe.steps(), 0o600)
    archive.finish()


def initramfs(base: bytes, debs: Iterable[Deb]) -> bytes:
    """The busybox initramfs, and behind it what makes the disk; Linux unpacks both."""
    archive = cpio.Archive()
    paths = {deb.name: deb.path for deb in debs}
    for package, files in _MKE2FS.items():
        for pattern, place in files.items():
            archive.file(place, unpack.file(paths[package], pattern), 0o755)
    archive.file(INIT, (HERE / "unpack_disk.sh").read_bytes(), 0o755)
    return base + archive.finish()


def _apt_files() -> Iterator[tuple[str, str, int]]:
    """The guest's apt: the mirror and the proxies that the host's apt is set up with."""
    keyring = "/usr/share/keyrings/debian-archive-keyring.pgp"
    suite = apt_tool.SUITE
    stanzas = [(sources.host_mirror(), f"{suite} {suite}-updates")]
    if security := sources.host_security_mirror():
        stanzas.append((security, f"{suite}-security"))
    yield (
        "etc/apt/sources.list.d/debian.sources",
        "\n".join(
            f"Types: deb\nURIs: {for_guest(uri)}\nSuites: {suites}\nComponents: main\n"
            f"Signed-By: {keyring}\n"
            for uri, suites in stanzas
        ),
        0o644,
    )
    host = subprocess.run(["apt-config", "dump"], capture_output=True, text=True).stdout
    if proxies := proxy_settings(host, os.environ.get("http_proxy", "")):
        yield "etc/apt/apt.conf.d/80rvvm", proxies, 0o644


def proxy_settings(host: str, environment: str = "") -> str:
    """The proxies in ``apt-config dump``'s words, else the environment's, as the guest has them.

    >>> proxy_settings('Acquire::http::Proxy "http://localhost:3142";')
    'Acquire::http::Proxy "http://10.0.2.2:3142";\\n'
    """
    found = _PROXY.findall(host)
    if not found and environment:
        found = [("Acquire::http::Proxy", environment)]
    return "".join(f'{name} "{for_guest(uri)}";\n' for name, uri in found)


def for_guest(uri: str) -> str:
    """The URI of a server, where it is on the host's own loopback, as a guest reaches it.

    >>> for_guest("http://127.0.0.1:8080/debian"), for_guest("http://a.example/debian")
    ('http://10.0.2.2:8080/debian', 'http://a.example/debian')
    """
    parts = urlsplit(uri)
    host = parts.hostname or ""
    if host != "localhost" and not host.startswith("127."):
        return uri
    return parts._replace(netloc=parts.netloc.replace(host, HOST_LOOPBACK)).geturl()
