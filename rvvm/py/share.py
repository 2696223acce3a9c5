"""A folder of the host's, given to a guest, and no way out of it.

Every file is known by a descriptor that was opened by its name in its folder's, never through a
symbolic link and never by ``..``: whatever happens to names meanwhile, it is that file. Links are
the guest's to follow, in its own tree.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple, cast

from rvvm.py.errors import UserError

_HANDLE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_SAFE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NO_SETID = ~(stat.S_ISUID | stat.S_ISGID)  # on the host they would mean somebody else
_OPEN_FLAGS = os.O_ACCMODE | os.O_TRUNC | os.O_DIRECTORY | os.O_SYNC | os.O_DSYNC
"""What a guest may ask for. Not O_APPEND: it says itself where each write goes."""


def _refuse(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class Entry(NamedTuple):
    """Of a folder: inode, the offset behind it, type (DT_DIR, ...), name."""

    inode: int
    offset: int
    type: int
    name: bytes


class File:
    """A file or folder below the shared one. ``handle`` cannot read or write: ``open`` can.

    It is two descriptors at most, and keeps nothing else: a guest may have many.
    """

    def __init__(self, handle: int, read_only: bool) -> None:
        self.handle, self.read_only = handle, read_only
        self.opened: int | None = None

    def close(self) -> None:
        """It is not needed any more."""
        os.close(self.handle)
        if self.opened is not None:
            os.close(self.opened)

    # Names

    def child(self, name: bytes) -> File:
        """A name in this folder; of a symbolic link, the link."""
        return File(os.open(_plain(name), _HANDLE, dir_fd=self.handle), self.read_only)

    def again(self) -> File:
        """Another of the same file."""
        return File(os.dup(self.handle), self.read_only)

    def stat(self) -> os.stat_result:
        """Of the file itself."""
        return os.fstat(self.handle)

    def status_of_file_system(self) -> os.statvfs_result:
        """statfs."""
        return os.fstatvfs(self.handle)

    def link_target(self) -> bytes:
        """What a symbolic link says."""
        if not stat.S_ISLNK(self.stat().st_mode):
            raise _refuse(errno.EINVAL)
        return os.readlink(b"", dir_fd=self.handle)

    @property
    def _path(self) -> str:
        """A name for exactly this file, whatever it is called."""
        return f"/proc/self/fd/{self.handle}"

    # Contents

    def open(self, flags: int) -> None:
        """Ready to read or write. Only files and folders: opening others acts on the host."""
        mode = self.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise _refuse(errno.ENXIO)
        writes = flags & os.O_ACCMODE != os.O_RDONLY or flags & os.O_TRUNC
        if writes:
            self._writable()
        # What /proc names is the file itself, which is no link.
        self._opened(os.open(self._path, flags & _OPEN_FLAGS | _SAFE & ~os.O_NOFOLLOW))

    def create(self, name: bytes, flags: int, mode: int) -> None:
        """Make a file here, open it, and become it. One that is there is opened like any other."""
        self._writable()
        how = flags & _OPEN_FLAGS | os.O_CREAT | os.O_EXCL | _SAFE
        try:
            opened = os.open(_plain(name), how, mode & 0o7777 & _NO_SETID, dir_fd=self.handle)
        except FileExistsError:
            if flags & os.O_EXCL:
                raise
            found = self.child(name)
            try:
                found.open(flags)
            except OSError:
                found.close()
                raise
            os.close(self.handle)
            self.handle = found.handle
            self._opened(found.descriptor())
            return
        os.close(self.handle)
        self.handle = os.open(f"/proc/self/fd/{opened}", os.O_PATH | os.O_CLOEXEC)
        self._opened(opened)

    def _opened(self, descriptor: int) -> None:
        if self.opened is not None:
            os.close(self.opened)
        self.opened = descriptor

    def descriptor(self) -> int:
        """The open file; EBADF when it is not."""
        if self.opened is None:
            raise _refuse(errno.EBADF)
        return self.opened

    def list(self, offset: int, room: int) -> list[Entry]:
        """About ``room`` bytes of what is in the folder, from the beginning (0) or behind an entry;
        empty at the end. The host's kernel knows what its offsets mean, so nothing is kept here."""
        descriptor = self.descriptor()
        os.lseek(descriptor, offset, os.SEEK_SET)
        return [self._typed(entry) for entry in _entries(_read_folder(descriptor, room))]

    def _typed(self, entry: Entry) -> Entry:
        """Some file systems do not say what their entries are."""
        if entry.type:
            return entry
        with contextlib.suppress(OSError):
            mode = os.lstat(entry.name, dir_fd=self.handle).st_mode
            return entry._replace(type=stat.S_IFMT(mode) >> 12)
        return entry

    # Changes

    def _writable(self) -> None:
        if self.read_only:
            raise _refuse(errno.EROFS)

    def make_folder(self, name: bytes, mode: int) -> None:
        """mkdir."""
        self._writable()
        os.mkdir(_plain(name), mode & 0o7777 & _NO_SETID, dir_fd=self.handle)

    def make_link(self, name: bytes, target: bytes) -> None:
        """symlink; where it leads is the guest's matter."""
        self._writable()
        os.symlink(target, _plain(name), dir_fd=self.handle)

    def make_node(self, name: bytes, mode: int) -> None:
        """A file or a pipe; no devices."""
        self._writable()
        permissions = mode & 0o7777 & _NO_SETID
        if stat.S_ISREG(mode):
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | _SAFE
            os.close(os.open(_plain(name), flags, permissions, dir_fd=self.handle))
        elif stat.S_ISFIFO(mode):
            os.mkfifo(_plain(name), permissions, dir_fd=self.handle)
        else:
            raise _refuse(errno.EPERM)

    def give_name(self, folder: File, name: bytes) -> None:
        """link: this file gets another name."""
        self._writable()
        if not stat.S_ISREG(self.stat().st_mode):
            raise _refuse(errno.EPERM)
        os.link(self._path, _plain(name), dst_dir_fd=folder.handle, follow_symlinks=True)

    def remove(self, name: bytes, folder: bool) -> None:
        """unlink, or rmdir."""
        self._writable()
        (os.rmdir if folder else os.unlink)(_plain(name), dir_fd=self.handle)

    def move(self, name: bytes, folder: File, new_name: bytes) -> None:
        """rename."""
        self._writable()
        names = (_plain(name), _plain(new_name))
        os.rename(*names, src_dir_fd=self.handle, dst_dir_fd=folder.handle)

    def change(
        self,
        mode: int | None,
        owner: tuple[int, int],
        size: int | None,
        times: tuple[int, int] | None,
    ) -> None:
        """chmod, chown (-1 keeps), truncate, utime (nanoseconds). Who may not give files away keeps
        them: to the guest's root that is no error."""
        self._writable()
        if mode is not None:
            os.chmod(self._path, mode & 0o7777 & _NO_SETID)
        if owner != (-1, -1):
            with contextlib.suppress(PermissionError):
                os.chown(self._path, *owner)
        if size is not None:
            os.truncate(self._path, size)
        if times is not None:
            os.utime(self._path, ns=times)


def _plain(name: bytes) -> bytes:
    """A name of one folder, and of no other."""
    if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
        raise _refuse(errno.EINVAL)
    return name


_RECORD = struct.Struct("<QqHB")  # getdents(2): struct linux_dirent64, before the name
_LEAST_LISTED, _MOST_LISTED = 1 << 9, 1 << 15  # bytes; a name is one record at least


@cache
def _getdents() -> Callable[[int, bytearray, int], int]:
    """The C library's: Python's os lists a folder as a whole only."""
    import ctypes  # slow to import, and seldom needed

    function = ctypes.CDLL(None, use_errno=True).getdents64
    function.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
    function.restype = ctypes.c_ssize_t

    def call(folder: int, buffer: bytearray, size: int) -> int:
        found = function(folder, (ctypes.c_char * size).from_buffer(buffer), size)
        if found < 0:
            raise _refuse(ctypes.get_errno())
        return cast("int", found)

    return call


def _read_folder(descriptor: int, room: int) -> bytes:
    buffer = bytearray(min(max(room, _LEAST_LISTED), _MOST_LISTED))
    count = _getdents()(descriptor, buffer, len(buffer))
    return bytes(buffer[:count])


def _entries(data: bytes) -> Iterator[Entry]:
    at = 0
    while at < len(data):
        inode, offset, size, kind = _RECORD.unpack_from(data, at)
        name = data[at + _RECORD.size : at + size].partition(b"\0")[0]
        yield Entry(inode, offset, kind, name)
        at += size


def open_folder(path: Path, read_only: bool) -> File:
    """The folder to share. The host's own links to it are followed."""
    try:
        return File(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), read_only)
    except OSError as error:
        raise UserError(f"--share: {path}: {error.strerror}") from None
