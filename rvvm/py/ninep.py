"""9P2000.L, the server's side: what Linux's 9p file system asks of a shared folder.

The messages are those of the diod project's protocol description and of Linux's net/9p: a header,
``size[4] type[1] tag[2]``, and what ``MESSAGES`` says. An answer has the next type, or is Rlerror.
"""

from __future__ import annotations

import errno
import os
import resource
import stat
import struct
from collections.abc import Callable, Sequence
from typing import Any

from rvvm.py.disk import cut
from rvvm.py.share import Entry, File

Views = Sequence[memoryview]

HEADER = struct.Struct("<IBH")
RLERROR, TVERSION, TREAD, TWRITE = 7, 100, 116, 118
NO_TAG = 0xFFFF
MSIZE = 1 << 19  # Linux asks for at most 512,000 over virtio
SMALL = 1 << 16  # a message without data is shorter: names and a header
WRITE_HEAD = HEADER.size + 16  # fid, offset, count
READ_HEAD = HEADER.size + 4  # count

# Type -> name and fields: the digits are bytes of a number, s is a string, * names after a count
MESSAGES = {
    8: ("statfs", "4"),
    12: ("lopen", "44"),
    14: ("lcreate", "4s444"),
    16: ("symlink", "4ss4"),
    18: ("mknod", "4s4444"),
    22: ("readlink", "4"),
    24: ("getattr", "48"),
    26: ("setattr", "4444488888"),
    40: ("readdir", "484"),
    50: ("fsync", "44"),
    52: ("lock", "414884s"),
    54: ("getlock", "41884s"),
    70: ("link", "44s"),
    72: ("mkdir", "4s44"),
    74: ("renameat", "4s4s"),
    76: ("unlinkat", "4s4"),
    TVERSION: ("version", "4s"),
    104: ("attach", "44ss4"),
    108: ("flush", "2"),
    110: ("walk", "44*"),
    120: ("clunk", "4"),
    122: ("remove", "4"),
}

_QID = struct.Struct("<BIQ")
_ENTRY = struct.Struct("<BIQQBH")  # qid, offset, type, length of the name
_ATTRIBUTES = struct.Struct("<QBIQIII15Q")
_BASIC = 0x7FF  # the attributes up to blocks are there
_DIRECTORY, _SYMLINK = 0x80, 0x02  # types of a qid
_SET_MODE, _SET_UID, _SET_GID, _SET_SIZE, _SET_ATIME, _SET_MTIME = 1, 2, 4, 8, 16, 32
_ATIME_GIVEN, _MTIME_GIVEN = 128, 256
_REMOVE_FOLDER = 0x200
_UNLOCKED = 2
_MOST_NAMES = 16  # of a walk
_MOST_FIDS = 1 << 16
_NANO = 10**9


class Malformed(Exception):
    """No message of the protocol."""


class Server:
    """One mount. ``fids`` are the client's names for files."""

    def __init__(self, root: File | None) -> None:
        """Without a root there is nothing to mount."""
        self.root = root
        self.fids: dict[int, File] = {}
        self.msize = SMALL
        self._most_fids = _allow_files()

    def reset(self) -> None:
        """The client is gone, and all it had open."""
        for file in self.fids.values():
            file.close()
        self.fids.clear()

    def close(self) -> None:
        """The folder is not shared any more."""
        self.reset()
        if self.root is not None:
            self.root.close()

    def handle(self, request: Views, answer: Views) -> int:
        """Handle a message; how many bytes the answer has. Malformed when it is none."""
        total, room = _total(request), _total(answer)
        head = b"".join(cut(request, 0, min(total, WRITE_HEAD)))
        if len(head) < HEADER.size or room < HEADER.size + 4:
            raise Malformed(f"a message of {total} bytes, with room for {room}")
        _, kind, tag = HEADER.unpack_from(head)
        try:
            if kind == TWRITE:
                body = self._write(head, request, total)
            elif kind == TREAD:
                body, data = self._read(head, answer, min(room, self.msize))
                return _reply(answer, kind + 1, tag, body, data)
            else:
                body = self._small(kind, b"".join(cut(request, 0, min(total, SMALL))), room)
            if HEADER.size + len(body) > room:
                raise OSError(errno.EMSGSIZE, "")
        except OSError as error:
            return _reply(answer, RLERROR, tag, struct.pack("<I", error.errno or errno.EIO))
        except (OverflowError, ValueError):  # a number or a name that the host cannot have
            return _reply(answer, RLERROR, tag, struct.pack("<I", errno.EINVAL))
        return _reply(answer, kind + 1, tag, body)

    def _small(self, kind: int, message: bytes, room: int) -> bytes:
        if kind not in MESSAGES:
            raise OSError(errno.EOPNOTSUPP, "")
        name, fields = MESSAGES[kind]
        values = unpack(fields, message)
        self._room = min(room, self.msize) - READ_HEAD
        handler: Callable[..., bytes] = getattr(self, f"on_{name}")
        return handler(*values)

    # Fids

    def _file(self, fid: int) -> File:
        if fid not in self.fids:
            raise OSError(errno.EBADF, "")
        return self.fids[fid]

    def _new(self, fid: int, make: Callable[[], File]) -> File:
        if fid in self.fids:
            raise OSError(errno.EBADF, "")
        if len(self.fids) >= self._most_fids:
            raise OSError(errno.ENFILE, "")
        self.fids[fid] = make()
        return self.fids[fid]

    def on_version(self, msize: int, version: bytes) -> bytes:
        self.reset()
        self.msize = max(SMALL // 16, min(msize, MSIZE))
        known = version == b"9P2000.L"
        return struct.pack("<I", self.msize) + _string(version if known else b"unknown")

    def on_attach(self, fid: int, _auth: int, _user: bytes, _name: bytes, _uid: int) -> bytes:
        if self.root is None:
            raise OSError(errno.ENODEV, "")
        return _qid(self._new(fid, self.root.again).stat())

    def on_walk(self, fid: int, new: int, names: list[bytes]) -> bytes:
        """As far as it goes; only a walk to its end makes the new fid."""
        start = self._file(fid)
        if len(names) > _MOST_NAMES:
            raise OSError(errno.EINVAL, "")
        if new in self.fids and new != fid:
            raise OSError(errno.EBADF, "")
        here, qids = start.again(), []
        try:
            for name in names:
                following = here.child(name)
                here.close()
                here = following
                qids.append(_qid(here.stat()))
        except OSError:
            here.close()
            if not qids:
                raise
            return struct.pack("<H", len(qids)) + b"".join(qids)
        if new == fid:
            self.fids.pop(fid).close()
        made = here
        self._new(new, lambda: made)
        return struct.pack("<H", len(qids)) + b"".join(qids)

    def on_clunk(self, fid: int) -> bytes:
        self._file(fid)
        self.fids.pop(fid).close()
        return b""

    def on_remove(self, fid: int) -> bytes:
        """By its name, which a file does not have: clients use unlinkat then."""
        self.on_clunk(fid)
        raise OSError(errno.EOPNOTSUPP, "")

    def on_flush(self, _tag: int) -> bytes:
        """Everything that was asked before has its answer."""
        return b""

    # Files

    def on_lopen(self, fid: int, flags: int) -> bytes:
        file = self._file(fid)
        file.open(flags)
        return _qid(file.stat()) + bytes(4)

    def on_lcreate(self, fid: int, name: bytes, flags: int, mode: int, _group: int) -> bytes:
        file = self._file(fid)
        file.create(name, flags, mode)
        return _qid(file.stat()) + bytes(4)

    def _read(self, head: bytes, answer: Views, room: int) -> tuple[bytes, int]:
        fid, offset, count = unpack("484", head)
        count = min(count, room - READ_HEAD)
        places = cut(answer, READ_HEAD, READ_HEAD + count)
        descriptor = self._file(fid).descriptor()
        done = os.preadv(descriptor, places, _within(offset)) if places else 0
        return struct.pack("<I", done), done

    def _write(self, head: bytes, request: Views, total: int) -> bytes:
        fid, offset, count = unpack("484", head)
        if WRITE_HEAD + count > min(total, self.msize):
            raise OSError(errno.EINVAL, "")
        data = cut(request, WRITE_HEAD, WRITE_HEAD + count)
        descriptor = self._file(fid).descriptor()
        done = os.pwritev(descriptor, data, _within(offset)) if data else 0
        return struct.pack("<I", done)

    def on_fsync(self, fid: int, data_only: int) -> bytes:
        (os.fdatasync if data_only else os.fsync)(self._file(fid).descriptor())
        return b""

    def on_lock(self, fid: int, *_: Any) -> bytes:
        """Locks are the guest's own: granted here."""
        self._file(fid)
        return b"\0"

    def on_getlock(
        self, fid: int, _kind: int, start: int, length: int, process: int, client: bytes
    ) -> bytes:
        self._file(fid)
        return struct.pack("<BQQI", _UNLOCKED, start, length, process) + _string(client)

    # Attributes

    def on_getattr(self, fid: int, _mask: int) -> bytes:
        found = self._file(fid).stat()
        times = _seconds(found.st_atime_ns) + _seconds(found.st_mtime_ns)
        times += _seconds(found.st_ctime_ns)
        return _ATTRIBUTES.pack(
            _BASIC, *_qid_fields(found), found.st_mode, found.st_uid, found.st_gid,
            found.st_nlink, found.st_rdev, found.st_size, found.st_blksize, found.st_blocks,
            *times, 0, 0, 0, 0,
        )  # fmt: skip

    def on_setattr(self, fid: int, valid: int, mode: int, *rest: int) -> bytes:
        file = self._file(fid)
        user, group, size, *times = rest
        file.change(
            mode if valid & _SET_MODE else None,
            (user if valid & _SET_UID else -1, group if valid & _SET_GID else -1),
            _within(size) if valid & _SET_SIZE else None,
            _times(file.stat(), valid, times),
        )
        return b""

    def on_statfs(self, fid: int) -> bytes:
        found = self._file(fid).status_of_file_system()
        return struct.pack(
            "<IIQQQQQQI", 0x01021997, found.f_bsize, found.f_blocks, found.f_bfree, found.f_bavail,
            found.f_files, found.f_ffree, found.f_fsid & (1 << 64) - 1, found.f_namemax,
        )  # fmt: skip

    def on_readlink(self, fid: int) -> bytes:
        return _string(self._file(fid).link_target())

    # Folders

    def on_readdir(self, fid: int, offset: int, count: int) -> bytes:
        """Offsets are the host's. The folder above is not to be known: it is this one."""
        file, data = self._file(fid), bytearray()
        here = file.stat()
        room = min(count, self._room)
        for entry in file.list(_within(offset), room):
            name = entry.name
            if len(data) + _ENTRY.size + len(name) > room:
                break
            above = name in (b".", b"..")
            qid = _qid_fields(here) if above else _entry_qid(entry, here.st_dev)
            behind = entry.offset & (1 << 64) - 1
            data += _ENTRY.pack(*qid, behind, entry.type, len(name)) + name
        return struct.pack("<I", len(data)) + data

    def on_mkdir(self, fid: int, name: bytes, mode: int, _group: int) -> bytes:
        folder = self._file(fid)
        folder.make_folder(name, mode)
        return _qid_of(folder, name)

    def on_symlink(self, fid: int, name: bytes, target: bytes, _group: int) -> bytes:
        folder = self._file(fid)
        folder.make_link(name, target)
        return _qid_of(folder, name)

    def on_mknod(self, fid: int, name: bytes, mode: int, *_: int) -> bytes:
        folder = self._file(fid)
        folder.make_node(name, mode)
        return _qid_of(folder, name)

    def on_link(self, folder: int, fid: int, name: bytes) -> bytes:
        self._file(fid).give_name(self._file(folder), name)
        return b""

    def on_renameat(self, old: int, name: bytes, new: int, new_name: bytes) -> bytes:
        self._file(old).move(name, self._file(new), new_name)
        return b""

    def on_unlinkat(self, fid: int, name: bytes, flags: int) -> bytes:
        self._file(fid).remove(name, bool(flags & _REMOVE_FOLDER))
        return b""


def unpack(fields: str, message: bytes) -> list[Any]:
    """The fields behind the header; OSError when they are not all there.

    >>> unpack("4s", HEADER.pack(0, 0, 0) + b"\\1\\0\\0\\0\\2\\0hi")
    [1, b'hi']
    """
    values: list[Any] = []
    at = HEADER.size

    def number(size: int) -> int:
        nonlocal at
        if at + size > len(message):
            raise OSError(errno.EINVAL, "")
        at += size
        return int.from_bytes(message[at - size : at], "little")

    def text() -> bytes:
        nonlocal at
        size = number(2)
        if at + size > len(message):
            raise OSError(errno.EINVAL, "")
        at += size
        return message[at - size : at]

    for field in fields:
        if field == "s":
            values.append(text())
        elif field == "*":
            values.append([text() for _ in range(number(2))])
        else:
            values.append(number(int(field)))
    return values


def _reply(answer: Views, kind: int, tag: int, body: bytes, data: int = 0) -> int:
    """Write the header and the body; ``data`` bytes are there already, behind it."""
    size = HEADER.size + len(body)
    text = memoryview(HEADER.pack(size + data, kind, tag) + body)
    for place in cut(answer, 0, size):
        place[:] = text[: len(place)]
        text = text[len(place) :]
    return size + data


def _string(text: bytes) -> bytes:
    return struct.pack("<H", len(text)) + text


def _total(views: Views) -> int:
    return sum([len(view) for view in views])


def _within(offset: int) -> int:
    if offset >> 63:
        raise OSError(errno.EINVAL, "")
    return offset


def _kind(mode: int) -> int:
    return _DIRECTORY if stat.S_ISDIR(mode) else _SYMLINK if stat.S_ISLNK(mode) else 0


def _path(inode: int, device: int) -> int:
    """Of one file only, also where other file systems are mounted below the folder."""
    return (inode ^ device << 48) & (1 << 64) - 1


def _qid_fields(found: os.stat_result) -> tuple[int, int, int]:
    version = (found.st_mtime_ns ^ found.st_size << 8) & 0xFFFF_FFFF
    return _kind(found.st_mode), version, _path(found.st_ino, found.st_dev)


def _qid(found: os.stat_result) -> bytes:
    return _QID.pack(*_qid_fields(found))


def _qid_of(folder: File, name: bytes) -> bytes:
    made = folder.child(name)
    try:
        return _qid(made.stat())
    finally:
        made.close()


def _entry_qid(entry: Entry, device: int) -> tuple[int, int, int]:
    """What a folder itself knows of an entry."""
    return _kind(entry.type << 12), 0, _path(entry.inode, device)


def _seconds(time: int) -> list[int]:
    """Nanoseconds as seconds and the rest; seconds before 1970 are a negative number's bits."""
    seconds, rest = divmod(time, _NANO)
    return [seconds & (1 << 64) - 1, rest]


def _times(now: os.stat_result, valid: int, given: Sequence[int]) -> tuple[int, int] | None:
    """Access and modification time to set, in nanoseconds; those not set stay."""
    if not valid & (_SET_ATIME | _SET_MTIME):
        return None
    import time

    def choose(which: int, is_given: int, seconds: int, nano: int, old: int) -> int:
        if not valid & which:
            return old
        signed = seconds - (seconds >> 63 << 64)  # before 1970
        return signed * _NANO + nano if valid & is_given else time.time_ns()

    access = choose(_SET_ATIME, _ATIME_GIVEN, given[0], given[1], now.st_atime_ns)
    changed = choose(_SET_MTIME, _MTIME_GIVEN, given[2], given[3], now.st_mtime_ns)
    return access, changed


def _allow_files() -> int:
    """Every fid is a descriptor, an open one two: as many as may be within reason, and some for
    ourselves."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    most = 4 * _MOST_FIDS if hard == resource.RLIM_INFINITY else hard
    return max(16, min(most // 4, _MOST_FIDS))
