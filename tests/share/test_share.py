"""A shared folder: everything a guest does with files, and everything it must not be able to."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import stat
import struct
import threading
import tracemalloc
from pathlib import Path

import pytest

from devices.virtio.driver import INDIRECT, Bench, Placed
from rvvm.py.devices.virtio.shared_folder import SharedFolder
from rvvm.py.errors import UserError
from rvvm.py.ninep import MESSAGES, Malformed, Server
from rvvm.py.share import open_folder
from share.client import Client, Refused, text

RDONLY, WRONLY, RDWR, CREAT, EXCL, TRUNC = 0, 1, 2, 0o100, 0o200, 0o1000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The shared one; beside it is what must stay a secret."""
    (tmp_path / "secret").write_text("secret")
    path = tmp_path / "shared"
    path.mkdir()
    (path / "hello").write_text("hello from the host")
    (path / "sub").mkdir()
    (path / "sub/deep").write_bytes(bytes(range(256)) * 40)
    return path


@pytest.fixture
def client(folder: Path) -> Client:
    return Client(Server(open_folder(folder, read_only=False)))


def refused(number: int) -> pytest.RaisesExc[Refused]:
    return pytest.raises(Refused, match=rf"^{number}$")


# What a guest does


def test_read(client: Client) -> None:
    fid = client.open("hello")
    assert client.read(fid) == b"hello from the host"
    assert client.read(fid, 6, 4) == b"from" and client.read(fid, 1000) == b""
    assert client.read(client.open("sub", "deep"), 255, 3) == b"\xff\0\1"


def test_write_and_create(client: Client, folder: Path) -> None:
    fid = client.create("new", RDWR | CREAT | EXCL, 0o640)
    assert client.write(fid, 0, b"first") == 5 and client.write(fid, 3, b"end of it") == 9
    assert client.read(fid) == b"firend of it"
    client.call("fsync", struct.pack("<II", fid, 0))
    assert (folder / "new").read_bytes() == b"firend of it"
    assert stat.S_IMODE((folder / "new").stat().st_mode) == 0o640 & ~_umask()
    with refused(errno.EEXIST):
        client.create("new", RDWR | CREAT | EXCL)
    client.read(client.create("new", RDWR | CREAT))
    client.create("new", WRONLY | CREAT | TRUNC)
    assert (folder / "new").read_bytes() == b""


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_folders(client: Client, folder: Path) -> None:
    client.mkdir("made")
    made = client.walk("made")
    for number in range(100):
        client.create(f"file {number}", start=made)
    (folder / "made/\udcff").touch()
    listed = client.list(client.open("made"), 1000)
    names = [name for name, _, _ in listed]
    wanted = {f"file {n}".encode() for n in range(100)} | {b"\xff", b".", b".."}
    assert set(names) == wanted and len(names) == len(wanted)
    assert client.walk("made", b"\xff")
    kinds = {name: (kind, d_type) for name, kind, d_type in client.list(client.open())}
    assert kinds[b"made"] == (0x80, 4) and kinds[b"hello"] == (0, 8)
    with refused(errno.ENOTEMPTY):
        client.unlink("made", folder=True)
    with refused(errno.EISDIR):
        client.unlink("made")
    for path in (folder / "made").iterdir():
        client.unlink(os.fsencode(path.name), start=made)  # type: ignore[arg-type]
    client.unlink("made", folder=True)
    assert not (folder / "made").exists()


def test_a_large_folder_is_not_kept(client: Client, folder: Path) -> None:
    """However many names it has, and through however many fids it is looked at."""
    names = {f"{number:04} {'x' * 200}" for number in range(3000)}
    for name in names:
        (folder / "sub" / name).touch()
    fids = [client.open("sub") for _ in range(20)]
    client.list(fids[0])
    tracemalloc.start()
    for fid in fids:
        client.call("readdir", struct.pack("<IQI", fid, 0, 4096))
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 64 << 10 and peak < 1 << 20
    found = [os.fsdecode(name) for name, _, _ in client.list(fids[-1])]
    assert len(found) == len(set(found)) and names < set(found)


def test_a_folder_is_listed_from_anywhere(client: Client) -> None:
    """Whatever a guest takes for an offset."""
    fid = client.open()
    for offset in (1, 77, 1 << 31, (1 << 63) - 1, 1 << 63, (1 << 64) - 1):
        with contextlib.suppress(Refused):
            client.call("readdir", struct.pack("<IQI", fid, offset, 4096))
    assert {b"hello", b"sub"} <= {name for name, _, _ in client.list(fid)}


def test_the_folder_above_is_not_to_be_known(client: Client) -> None:
    fid = client.open()
    data = client.call("readdir", struct.pack("<IQI", fid, 0, 4096))[4:]
    paths = {}
    while data:
        _, _, path, _, _, size = struct.unpack_from("<BIQQBH", data)
        paths[data[24 : 24 + size]] = path
        data = data[24 + size :]
    assert paths[b".."] == paths[b"."] == client.getattr(client.walk())["path"]


def test_links(client: Client, folder: Path) -> None:
    client.symlink("soft", "sub/deep")
    assert client.readlink("soft") == b"sub/deep" == os.fsencode(os.readlink(folder / "soft"))
    assert client.getattr(client.walk("soft"))["kind"] == 2
    client.link(client.walk("hello"), "hard")
    assert (folder / "hard").samefile(folder / "hello")
    assert client.getattr(client.walk("hard"))["nlink"] == 2
    with refused(errno.EINVAL):
        client.readlink("hello")


def test_names_change(client: Client, folder: Path) -> None:
    fid, sub = client.open("hello"), client.walk("sub")
    client.rename("hello", "elsewhere", to=sub)
    assert (folder / "sub/elsewhere").read_text() == "hello from the host"
    assert client.read(fid, 0, 5) == b"hello", "who has it open still has"
    client.unlink("elsewhere", start=sub)
    assert client.read(fid, 0, 5) == b"hello" and client.getattr(fid)["nlink"] == 0


def test_attributes(client: Client, folder: Path) -> None:
    fid, path = client.walk("hello"), folder / "hello"
    client.setattr(fid, 1 | 8, mode=0o600, size=5)
    assert path.read_text() == "hello" and stat.S_IMODE(path.stat().st_mode) == 0o600
    client.setattr(fid, 32 | 256, mtime=1000, mtime_ns=7)
    assert path.stat().st_mtime_ns == 1000 * 10**9 + 7
    found = client.getattr(fid)
    assert (found["size"], found["mtime"], found["mtime_ns"]) == (5, 1000, 7)
    assert found["mode"] == path.stat().st_mode and found["valid"] == 0x7FF
    before = path.stat().st_atime_ns
    client.setattr(fid, 32)
    assert path.stat().st_mtime_ns > 10**18 and path.stat().st_atime_ns == before
    client.setattr(fid, 32 | 256, mtime=-5 & (1 << 64) - 1, mtime_ns=1)
    assert path.stat().st_mtime_ns == -5 * 10**9 + 1, "before 1970"
    assert client.getattr(fid)["mtime"] == -5 & (1 << 64) - 1
    with refused(errno.EINVAL):
        client.symlink("soft", "a\0b")
    client.setattr(fid, 2 | 4, uid=os.getuid(), gid=os.getgid())


def test_walks(client: Client) -> None:
    assert client.getattr(client.walk())["path"] == client.getattr(0)["path"]
    with refused(errno.ENOENT):
        client.walk("nosuch")
    with refused(errno.ENOENT):
        client.walk("sub", "nosuch")
    with refused(errno.EBADF):
        client.getattr(client.next - 1)
    fid = client.walk("sub")
    client.call("walk", struct.pack("<IIH", fid, fid, 1) + text("deep"))
    assert client.getattr(fid)["size"] == 256 * 40, "a fid can walk itself"
    client.call("clunk", struct.pack("<I", fid))
    with refused(errno.EBADF):
        client.getattr(fid)


def test_what_is_not_there(client: Client) -> None:
    fid = client.walk("hello")
    with refused(errno.EOPNOTSUPP):
        client.call("xattrwalk", struct.pack("<II", fid, 99) + text(""))
    with refused(errno.EOPNOTSUPP):
        client.call("rename", struct.pack("<II", fid, 0) + text("x"))
    with refused(errno.EOPNOTSUPP):
        client.call("remove", struct.pack("<I", fid))
    with refused(errno.EBADF):
        client.read(client.walk("hello"))
    head = client.call("version", struct.pack("<I", 4096) + text("9P2000"))
    assert head[4:] == text("unknown")


def test_locks_and_file_system(client: Client) -> None:
    fid = client.open("hello")
    assert client.call("lock", struct.pack("<IBIQQI", fid, 1, 0, 0, 0, 1) + text("me")) == b"\0"
    answer = client.call("getlock", struct.pack("<IBQQI", fid, 1, 0, 0, 1) + text("me"))
    assert answer[0] == 2
    size = struct.unpack_from("<IIQ", client.call("statfs", struct.pack("<I", fid)))
    assert size[1] > 0 and size[2] > 0
    assert client.call("flush", struct.pack("<H", 3)) == b""


# What it must not


@pytest.mark.parametrize(
    "name", ["..", ".", "", "/", "/etc", "sub/deep", "../secret", "sub/../../secret", "a\0b"]
)
def test_names_that_are_paths(client: Client, name: str) -> None:
    for act in (
        lambda: client.walk(name),
        lambda: client.create(name),
        lambda: client.mkdir(name),
        lambda: client.symlink(name, "x"),
        lambda: client.mknod(name, stat.S_IFREG | 0o644),
        lambda: client.unlink(name),
        lambda: client.rename(name, "x"),
        lambda: client.rename("hello", name),
        lambda: client.link(client.walk("hello"), name),
    ):
        with refused(errno.EINVAL):
            act()


@pytest.mark.parametrize("target", ["/", "..", "../secret", "/etc/passwd", "/proc/self/root"])
def test_symbolic_links_are_not_followed(client: Client, target: str) -> None:
    client.symlink("way-out", target)
    fid = client.walk("way-out")
    assert client.getattr(fid)["kind"] == 2
    with refused(errno.ENOENT):
        client.walk("way-out", "secret")
    for flags in (RDONLY, RDWR, WRONLY | TRUNC):
        with refused(errno.ENXIO):
            client.call("lopen", struct.pack("<II", fid, flags))
    for flags in (RDWR | CREAT, WRONLY | CREAT | TRUNC):
        with refused(errno.ENXIO):
            client.create("way-out", flags)
    with refused(errno.ENOTDIR):
        client.mkdir("x", start=fid)
    with pytest.raises(Refused):
        client.setattr(fid, 8, size=0)
    with pytest.raises(Refused):
        client.setattr(fid, 1, mode=0o777)
    with refused(errno.EPERM):
        client.link(fid, "hard")


def test_a_folder_that_becomes_a_link_while_it_is_walked(folder: Path) -> None:
    """Somebody swaps a folder and a link to one outside, as fast as he can."""
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "deep").write_text("secret")
    (folder / "link").symlink_to(outside)
    ending = threading.Event()

    def swap() -> None:
        while not ending.is_set():
            for a, b in (("sub", "kept"), ("link", "sub"), ("sub", "link"), ("kept", "sub")):
                os.rename(folder / a, folder / b)

    client = Client(Server(open_folder(folder, read_only=False)))
    swapper = threading.Thread(target=swap)
    swapper.start()
    seen = 0
    try:
        for _ in range(3000):
            try:
                fid = client.open("sub", "deep")
            except Refused:
                continue
            seen += 1
            assert client.read(fid, 0, 6) == bytes(range(6))
            client.call("clunk", struct.pack("<I", fid))
    finally:
        ending.set()
        swapper.join()
    assert seen


def test_special_files_are_not_opened(client: Client, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    for act in (lambda: client.open("pipe"), lambda: client.create("pipe", RDWR | CREAT)):
        with refused(errno.ENXIO):
            act()
    for kind in (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK):
        with refused(errno.EPERM):
            client.mknod("device", kind | 0o666)
    client.mknod("plain", stat.S_IFREG | 0o4755)
    client.mknod("pipe 2", stat.S_IFIFO | 0o644)
    assert (folder / "plain").is_file() and (folder / "pipe 2").is_fifo()


def test_nobody_becomes_somebody_else(client: Client, folder: Path) -> None:
    """Set-id bits that a guest's root sets would be the host's."""
    client.create("tool", RDWR | CREAT, 0o6755)
    client.mkdir("tools", mode=0o2755)
    client.setattr(client.walk("tool"), 1, mode=0o6755)
    for name in ("tool", "tools"):
        assert not (folder / name).stat().st_mode & 0o6000


def test_read_only(folder: Path) -> None:
    client = Client(Server(open_folder(folder, read_only=True)))
    fid = client.open("hello")
    assert client.read(fid) == b"hello from the host"
    before = sorted(folder.rglob("*"))
    for act in (
        lambda: client.open("hello", flags=RDWR),
        lambda: client.open("hello", flags=RDONLY | TRUNC),
        lambda: client.create("new"),
        lambda: client.mkdir("new"),
        lambda: client.symlink("new", "x"),
        lambda: client.mknod("new", stat.S_IFREG | 0o644),
        lambda: client.unlink("hello"),
        lambda: client.rename("hello", "new"),
        lambda: client.link(fid, "new"),
        lambda: client.setattr(fid, 8, size=0),
    ):
        with refused(errno.EROFS):
            act()
    with refused(errno.EBADF):
        client.write(fid, 0, b"x")
    assert sorted(folder.rglob("*")) == before


def test_too_many_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rvvm.py.ninep._allow_files", lambda: 20)
    client = Client(Server(open_folder(folder, read_only=False)))
    with refused(errno.ENFILE):
        for _ in range(20):
            client.walk("hello")
    client.call("version", struct.pack("<I", 1 << 16) + text("9P2000.L"))
    assert client.server.fids == {}


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, says in (("nosuch", "No such file"), ("file", "Not a directory")):
        with pytest.raises(UserError, match=f"--share: .*{name}: {says}"):
            open_folder(tmp_path / name, read_only=False)


def test_every_descriptor_is_closed(folder: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    client = Client(Server(open_folder(folder, read_only=False)))
    for _ in range(50):
        client.open("hello")
        client.create("hello")
        client.list(client.open("sub"))
        for act in (
            lambda: client.walk("hello", "x"),
            lambda: client.create("sub"),
            lambda: client.mkdir("sub"),
        ):
            with pytest.raises(Refused):
                act()
    client.server.reset()
    assert len(os.listdir("/proc/self/fd")) == before + 1, "the folder itself"


@pytest.mark.parametrize("seed", range(4))
def test_random_messages(folder: Path, seed: int) -> None:
    """Noise, and messages of the right form with random contents: answers, or no message at all."""
    rng = random.Random(seed)
    server = Server(open_folder(folder, read_only=False))
    client = Client(server)
    words = [b"hello", b"sub", b"deep", b"..", b"/", b"x", b""]
    secret = folder.parent / "secret"
    for _ in range(3000):
        kind = rng.choice((*MESSAGES, 116, 118, rng.randrange(256)))
        fields = MESSAGES.get(kind, ("", "484"))[1] if kind != 100 else ""
        body = b""
        for field in fields:
            if field == "s":
                body += text(rng.choice(words))
            elif field == "*":
                body += struct.pack("<H", 2) + text(rng.choice(words)) + text(rng.choice(words))
            else:
                value = rng.choice((rng.randrange(12), rng.getrandbits(8 * int(field))))
                body += (value & (1 << 8 * int(field)) - 1).to_bytes(int(field), "little")
        body = body[: rng.choice((len(body), len(body), rng.randrange(len(body) + 1)))]
        if kind == 26 and len(body) >= 28:
            body = body[:24] + struct.pack("<Q", rng.randrange(1 << 20)) + body[32:]
        if kind == 118:
            body = body[:4] + struct.pack("<QI", rng.randrange(1 << 20), 3) + b"abc"
        message = struct.pack("<IBH", 7 + len(body), kind, 1) + body
        answer = bytearray(rng.choice((16, 200, 4096)))
        count = server.handle([memoryview(message)], [memoryview(answer)])
        assert 7 <= count <= len(answer)
        assert answer[4] in (7, (kind + 1) % 256)
    for data in (b"", b"\0" * 6):
        with pytest.raises(Malformed):
            server.handle([memoryview(data)], [memoryview(bytearray(100))])
    assert secret.read_text() == "secret" and sorted(folder.parent.iterdir()) == [secret, folder]
    assert client.server is server


# Over the rings


def test_the_device(folder: Path) -> None:
    it = Bench(SharedFolder(Server(open_folder(folder, read_only=False)), "from-host"))
    it.start(1 | INDIRECT)
    assert it.guest.load(0x100, 2) == 9
    assert bytes(it.guest.load(0x102 + k, 1) for k in range(9)) == b"from-host"

    def call(kind: int, body: bytes, *room: int) -> bytes:
        message = struct.pack("<IBH", 7 + len(body), kind, 1) + body
        return it.ask([message[:9], message[9:], *(room or (100,))], indirect=True)

    call(100, struct.pack("<I", 1 << 19) + text("9P2000.L"))
    call(104, struct.pack("<II", 0, 0xFFFF_FFFF) + text("") * 2 + bytes(4))
    call(110, struct.pack("<IIH", 0, 1, 2) + text("sub") + text("deep"))
    call(12, struct.pack("<II", 1, 2))
    answer = call(116, struct.pack("<IQI", 1, 250, 5000), 11, 3000, 4000)
    assert answer[11:] == (bytes(range(256)) * 21)[250:5250], "straight into the guest's buffers"
    assert call(118, struct.pack("<IQI", 1, 0, 4) + b"abcd")[7:] == struct.pack("<I", 4)
    assert (folder / "sub/deep").read_bytes()[:5] == b"abcd\4"
    it.queues[0].add(Placed(it.system, [b"short", 100]))
    it.kick()
    assert it.broken is not None and "a message of 5 bytes" in it.broken
    it.guest.store(0x70, 0)
    assert it.function.server.fids == {}  # type: ignore[attr-defined]
