"""qcow2 images as QEMU's tools make them are read as they read them; broken ones are told."""

from __future__ import annotations

import random
import shutil
import struct
from contextlib import suppress
from pathlib import Path

import pytest

from disk.qemu_tools import tool
from rvvm.py.disk import Overlay
from rvvm.py.errors import UserError
from rvvm.py.qcow2 import Qcow2, open_image

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="qemu-img is not installed")
SIZE = 3 << 20


def raw(path: Path, seed: int = 1) -> Path:
    """Runs of noise, of text that compresses, and of nothing."""
    rng = random.Random(seed)
    data = bytearray()
    while len(data) < SIZE:
        size = rng.choice((512, 5000, 70_000, 300_000))
        kind = rng.randrange(3)
        data += (
            rng.randbytes(size)
            if kind == 0
            else (b"abc" * size)[:size]
            if kind == 1
            else bytes(size)
        )
    path.write_bytes(data[:SIZE])
    return path


def everything(disk: Qcow2 | Overlay) -> bytes:
    data = bytearray(disk.size)
    disk.read([memoryview(data)], 0)
    return bytes(data)


def same(image: Path, wanted: bytes, backing: Path | None = None) -> None:
    """Whole, and in pieces that begin and end anywhere, over several views."""
    disk = open_image(image, backing)
    assert disk.size == len(wanted) and everything(disk) == wanted
    rng = random.Random(5)
    for _ in range(200):
        start, size = rng.randrange(len(wanted)), rng.randrange(1, 200_000)
        size = min(size, len(wanted) - start)
        data = bytearray(size)
        at = rng.randrange(size + 1)
        disk.read([memoryview(data)[:at], memoryview(data)[at:]], start)
        assert data == wanted[start : start + size]
    disk.close()


@pytest.mark.parametrize(
    "how",
    [
        ("compat=0.10",),
        ("compat=1.1",),
        ("cluster_size=512",),
        ("cluster_size=2M",),
        ("compat=0.10,cluster_size=4k", "-c"),
        ("cluster_size=64k", "-c"),
        ("compression_type=zstd", "-c"),
        ("compression_type=zstd,cluster_size=1k", "-c"),
        ("preallocation=metadata",),
        ("lazy_refcounts=on,refcount_bits=1",),
    ],
    ids=" ".join,
)
def test_what_qemu_writes(tmp_path: Path, how: tuple[str, ...]) -> None:
    source, image = raw(tmp_path / "raw"), tmp_path / "image.qcow2"
    tool("qemu-img", "convert", "-O", "qcow2", *how[1:], "-o", how[0], source, image)
    same(image, source.read_bytes())


def test_zero_clusters_hide_what_is_below(tmp_path: Path) -> None:
    base, image = raw(tmp_path / "base.img"), tmp_path / "image.qcow2"
    tool("qemu-img", "create", "-f", "qcow2", "-b", "base.img", "-F", "raw", image, "4M")
    for command in ("write -z 64k 256k", "write -P 7 512k 4k", "write -z -u 1M 64k"):
        tool("qemu-io", "-c", command, image)
    wanted = bytearray(base.read_bytes() + bytes(1 << 20))
    wanted[64 << 10 : 320 << 10] = bytes(256 << 10)
    wanted[512 << 10 : 516 << 10] = b"\7" * 4096
    wanted[1 << 20 : (1 << 20) + (64 << 10)] = bytes(64 << 10)
    same(image, bytes(wanted))


def test_a_chain_of_images(tmp_path: Path) -> None:
    base, middle, top = (
        raw(tmp_path / "base.img"),
        tmp_path / "middle.qcow2",
        tmp_path / "top.qcow2",
    )
    tool("qemu-img", "create", "-f", "qcow2", "-b", "base.img", "-F", "raw", middle)
    tool("qemu-io", "-c", "write -P 1 0 1M", middle)
    tool("qemu-img", "create", "-f", "qcow2", "-b", "middle.qcow2", "-F", "qcow2", top)
    tool("qemu-io", "-c", "write -P 2 512k 1M", top)
    wanted = bytearray(base.read_bytes())
    wanted[: 1 << 20] = b"\1" * (1 << 20)
    wanted[512 << 10 : (512 << 10) + (1 << 20)] = b"\2" * (1 << 20)
    same(top, bytes(wanted))


def test_a_backing_file_elsewhere_is_the_user_s_to_name(tmp_path: Path) -> None:
    """An image from somebody else must not make the guest's disk out of any file of the host's."""
    (tmp_path / "other").mkdir()
    base, image = raw(tmp_path / "other" / "base.img"), tmp_path / "image.qcow2"
    for name in (str(base), "other/base.img", "../" + tmp_path.name + "/other/base.img"):
        tool("qemu-img", "create", "-f", "qcow2", "-u", "-b", name, "-F", "raw", image, str(SIZE))
        with pytest.raises(UserError, match="its backing file is elsewhere: say backing="):
            open_image(image)
        same(image, base.read_bytes(), backing=base)


def test_a_link_beside_it_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    base, image = raw(tmp_path / "other" / "base.img"), tmp_path / "image.qcow2"
    (tmp_path / "base.img").symlink_to(base)
    tool("qemu-img", "create", "-f", "qcow2", "-u", "-b", "base.img", "-F", "raw", image, str(SIZE))
    with pytest.raises(UserError, match="its backing file is elsewhere: say backing="):
        open_image(image)
    same(image, base.read_bytes(), backing=tmp_path / "base.img")


def test_an_overlay_lies_over_it(tmp_path: Path) -> None:
    source, image = raw(tmp_path / "raw"), tmp_path / "image.qcow2"
    tool("qemu-img", "convert", "-O", "qcow2", "-c", source, image)
    before = image.read_bytes()
    disk = Overlay(open_image(image))
    disk.write([memoryview(b"x" * 1000)], 70_000)
    wanted = bytearray(source.read_bytes())
    wanted[70_000:71_000] = b"x" * 1000
    assert everything(disk) == wanted and image.read_bytes() == before


def made(folder: Path, *options: str) -> Path:
    image = folder / "image.qcow2"
    tool("qemu-img", "create", "-f", "qcow2", *options, image, "1M")
    return image


def patched(image: Path, offset: int, form: str, value: int) -> Path:
    data = bytearray(image.read_bytes())
    struct.pack_into(form, data, offset, value)
    image.write_bytes(data)
    return image


@pytest.mark.parametrize(
    ("offset", "form", "value", "says"),
    [
        (0, ">I", 0, "is no qcow2 image"),
        (4, ">I", 1, "is qcow2 of version 1; 2 and 3 are known"),
        (20, ">I", 8, r"has clusters of 2\*\*8 bytes"),
        (20, ">I", 22, r"has clusters of 2\*\*22 bytes"),
        (24, ">Q", 0, "and a size of 0"),
        (24, ">Q", 1 << 62, "its L1 table of 1 entries"),
        (32, ">I", 1, "is encrypted"),
        (32, ">I", 2, "is encrypted"),
        (36, ">I", 0, "its L1 table of 0 entries"),
        (40, ">Q", 0x1234, "its L1 table of 1 entries at 0x1234 cannot be"),
        (40, ">Q", 1 << 40, "its L1 table is cut short"),
        (72, ">Q", 1 << 1, "marked corrupt: qemu-img check -r all"),
        (72, ">Q", 1 << 2, "its data is in another file"),
        (72, ">Q", 1 << 4, "it has extended L2 entries"),
        (72, ">Q", 1 << 9, "needs features 0x200 that are not known here"),
    ],
)
def test_headers_that_cannot_be(
    tmp_path: Path, offset: int, form: str, value: int, says: str
) -> None:
    image = patched(made(tmp_path), offset, form, value)
    with pytest.raises(UserError, match=says) as caught:
        open_image(image)
    assert "\n" not in str(caught.value) and str(image) in str(caught.value)


def test_what_qemu_makes_and_is_refused(tmp_path: Path) -> None:
    extended = made(tmp_path, "-o", "extended_l2=on,cluster_size=64k")
    with pytest.raises(UserError, match="it has extended L2 entries; qemu-img convert"):
        open_image(extended)


def test_backing_files_that_cannot_be(tmp_path: Path) -> None:
    tool("qemu-img", "create", "-f", "raw", tmp_path / "base.img", "1M")
    loop = made(tmp_path, "-u", "-b", "image.qcow2", "-F", "qcow2")
    with pytest.raises(UserError, match="leads to more and more images"):
        open_image(loop)
    gone = made(tmp_path, "-u", "-b", "gone.img", "-F", "raw")
    with pytest.raises(UserError, match="gone.img: No such file"):
        open_image(gone)
    other = made(tmp_path, "-u", "-b", "base.img", "-F", "vmdk")
    with pytest.raises(UserError, match="its backing file is 'vmdk'"):
        open_image(other)
    none = made(tmp_path)
    with pytest.raises(UserError, match="it is based on no other image"):
        open_image(none, tmp_path / "base.img")


def test_a_table_that_leads_nowhere_is_an_error_of_its_sectors(tmp_path: Path) -> None:
    image = made(tmp_path)
    tool("qemu-io", "-c", "write -P 5 0 1M", image)
    (l1,) = struct.unpack_from(">Q", image.read_bytes(), 40)
    for entry in (1 << 56 - 1, (1 << 63) | 0x1_0200, 0x7F << 56):
        disk = open_image(patched(image, l1, ">Q", entry))
        with pytest.raises(OSError, match="leads nowhere"):
            everything(disk)


@pytest.mark.parametrize("rounds", [300, pytest.param(20_000, marks=pytest.mark.long)])
def test_any_bytes_end_in_one_of_two_errors(tmp_path: Path, rounds: int) -> None:
    """Headers and tables with wrong bits: a mistake of the user's, or an error of some sectors."""
    rng = random.Random(rounds)
    images = []
    for how in (("-c", "cluster_size=4k"), ("-c", "compression_type=zstd"), ("-p", "compat=0.10")):
        source, image = raw(tmp_path / "raw"), tmp_path / "good.qcow2"
        tool("qemu-img", "convert", "-O", "qcow2", how[0], "-o", how[1], source, image)
        images.append(image.read_bytes())
    broken = tmp_path / "broken.qcow2"
    view = [memoryview(bytearray(200_000))]
    for _ in range(rounds):
        data = bytearray(rng.choice(images))
        (l1,) = struct.unpack_from(">Q", data, 40)
        for _ in range(rng.randrange(1, 6)):
            at = rng.choice(
                (rng.randrange(4, 112), l1 + rng.randrange(64), rng.randrange(len(data)))
            )
            data[at % len(data)] = rng.choice((0, 0xFF, rng.randrange(256)))
        broken.write_bytes(data[: rng.choice((len(data), rng.randrange(len(data))))])
        try:
            disk = open_image(broken)
        except UserError:
            continue
        for start in (0, rng.randrange(max(disk.size - 200_000, 1))):
            with suppress(OSError):
                disk.read([view[0][: min(200_000, disk.size - start)]], start)
        disk.close()
