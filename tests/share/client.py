"""A 9P2000.L client, typed from the protocol's description; answers are checked for their form."""

from __future__ import annotations

import struct

from rvvm.py.ninep import Server

NAMES = {
    "statfs": 8, "lopen": 12, "lcreate": 14, "symlink": 16, "mknod": 18, "rename": 20,
    "readlink": 22, "getattr": 24, "setattr": 26, "xattrwalk": 30, "readdir": 40, "fsync": 50,
    "lock": 52, "getlock": 54, "link": 70, "mkdir": 72, "renameat": 74, "unlinkat": 76,
    "version": 100, "attach": 104, "flush": 108, "walk": 110, "read": 116, "write": 118,
    "clunk": 120, "remove": 122,
}  # fmt: skip


class Refused(Exception):
    """Rlerror."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def text(words: str | bytes) -> bytes:
    data = words.encode() if isinstance(words, str) else words
    return struct.pack("<H", len(data)) + data


class Client:
    """Fid 0 is the shared folder."""

    def __init__(self, server: Server, room: int = 1 << 16) -> None:
        self.server, self.room = server, room
        self.next = 1
        self.call("version", struct.pack("<I", 1 << 20) + text("9P2000.L"))
        self.call("attach", struct.pack("<II", 0, 0xFFFF_FFFF) + text("") * 2 + bytes(4))

    def call(self, name: str, body: bytes) -> bytes:
        kind = NAMES[name]
        message = struct.pack("<IBH", 7 + len(body), kind, 5) + body
        place = bytearray(self.room)
        count = self.server.handle([memoryview(message)], [memoryview(place)])
        size, answered, tag = struct.unpack_from("<IBH", place)
        assert size == count <= self.room and tag == 5
        if answered == 7:
            raise Refused(struct.unpack_from("<I", place, 7)[0])
        assert answered == kind + 1
        return bytes(place[7:count])

    def walk(self, *names: str | bytes, start: int = 0) -> int:
        """A new fid; Refused(ENOENT) when it does not go all the way."""
        new, self.next = self.next, self.next + 1
        head = struct.pack("<IIH", start, new, len(names))
        answer = self.call("walk", head + b"".join(text(name) for name in names))
        if struct.unpack_from("<H", answer)[0] < len(names):
            raise Refused(2)
        return new

    def open(self, *names: str | bytes, flags: int = 0) -> int:
        fid = self.walk(*names)
        self.call("lopen", struct.pack("<II", fid, flags))
        return fid

    def create(self, name: str, flags: int = 0o2, mode: int = 0o644, start: int = 0) -> int:
        fid = self.walk(start=start)
        self.call(
            "lcreate", struct.pack("<I", fid) + text(name) + struct.pack("<III", flags, mode, 0)
        )
        return fid

    def read(self, fid: int, offset: int = 0, count: int = 8192) -> bytes:
        answer = self.call("read", struct.pack("<IQI", fid, offset, count))
        assert struct.unpack_from("<I", answer)[0] == len(answer) - 4
        return answer[4:]

    def write(self, fid: int, offset: int, data: bytes) -> int:
        answer = self.call("write", struct.pack("<IQI", fid, offset, len(data)) + data)
        return int(struct.unpack("<I", answer)[0])

    def mkdir(self, name: str, start: int = 0, mode: int = 0o755) -> None:
        self.call("mkdir", struct.pack("<I", start) + text(name) + struct.pack("<II", mode, 0))

    def symlink(self, name: str, target: str, start: int = 0) -> None:
        self.call("symlink", struct.pack("<I", start) + text(name) + text(target) + bytes(4))

    def mknod(self, name: str, mode: int, start: int = 0) -> None:
        self.call(
            "mknod", struct.pack("<I", start) + text(name) + struct.pack("<IIII", mode, 1, 3, 0)
        )

    def rename(self, name: str, new: str, start: int = 0, to: int = 0) -> None:
        head = struct.pack("<I", start) + text(name) + struct.pack("<I", to)
        self.call("renameat", head + text(new))

    def unlink(self, name: str, start: int = 0, folder: bool = False) -> None:
        self.call(
            "unlinkat", struct.pack("<I", start) + text(name) + struct.pack("<I", 0x200 * folder)
        )

    def link(self, fid: int, name: str, folder: int = 0) -> None:
        self.call("link", struct.pack("<II", folder, fid) + text(name))

    def readlink(self, *names: str) -> bytes:
        return self.call("readlink", struct.pack("<I", self.walk(*names)))[2:]

    def setattr(self, fid: int, valid: int, **values: int) -> None:
        names = ("mode", "uid", "gid", "size", "atime", "atime_ns", "mtime", "mtime_ns")
        numbers = [values.get(name, 0) for name in names]
        self.call("setattr", struct.pack("<IIIII5Q", fid, valid, *numbers))

    def getattr(self, fid: int) -> dict[str, int]:
        answer = struct.unpack("<QBIQIII15Q", self.call("getattr", struct.pack("<IQ", fid, 0x7FF)))
        names = ("valid", "kind", "version", "path", "mode", "uid", "gid", "nlink", "rdev", "size")
        return dict(zip(names, answer, strict=False)) | {
            "mtime": answer[14],
            "mtime_ns": answer[15],
        }

    def list(self, fid: int, count: int = 4096) -> list[tuple[bytes, int, int]]:
        """Name, kind of the qid and d_type of every entry, in as many calls as it takes."""
        found, offset = [], 0
        while True:
            data = self.call("readdir", struct.pack("<IQI", fid, offset, count))
            assert len(data) - 4 == struct.unpack_from("<I", data)[0] <= count
            data = data[4:]
            if not data:
                return found
            while data:
                kind, _, _, offset, d_type, size = struct.unpack_from("<BIQQBH", data)
                found.append((data[24 : 24 + size], kind, d_type))
                data = data[24 + size :]
