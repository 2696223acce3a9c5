"""A Debian system as dpkg leaves it after ``--unpack``, written as one archive.

No root and no dpkg is needed here: owners and modes are words in the archive's headers, and the
guest that unpacks it is root. What is left to do there is each package's configuration.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from rvvm.py.errors import UserError
from rvvm.py.images import deb822, unpack

DATABASE = "var/lib/dpkg"
_STATE = "install ok unpacked"


@dataclass(frozen=True)
class Control:
    """What a package's ``control.tar`` says: its fields, and its other files with their modes."""

    fields: Mapping[str, str]
    files: Mapping[str, tuple[int, bytes]]

    @property
    def name(self) -> str:
        return self.fields["Package"]

    @property
    def conffiles(self) -> list[str]:
        """Paths that dpkg asks about before it changes them; without the leading slash."""
        lines = self.text("conffiles").splitlines()
        return [line.strip().lstrip("/") for line in lines if line.startswith("/")]

    @property
    def stem(self) -> str:
        """How the package's files in the database begin."""
        same = self.fields.get("Multi-Arch") == "same"
        return f"{self.name}:{self.fields['Architecture']}" if same else self.name

    def text(self, name: str) -> str:
        """One of the other files, or nothing."""
        return self.files.get(name, (0, b""))[1].decode()

    def status(self) -> str:
        """The package's paragraph of the status file."""
        lines = [f"Package: {self.name}", f"Status: {_STATE}"]
        fields = {name: value.replace("\n", "\n ") for name, value in self.fields.items()}
        lines += [f"{name}: {value}" for name, value in fields.items() if name != "Package"]
        if conffiles := self.conffiles:
            lines += ["Conffiles:", *(f" /{path} newconffile" for path in conffiles)]
        return "\n".join(lines) + "\n\n"

    def interests(self) -> Iterator[tuple[str, str]]:
        """The triggers it waits for, and how the database names the one who does."""
        for line in self.text("triggers").splitlines():
            kind, *names = line.partition("#")[0].split() or [""]
            if kind.startswith("interest"):
                yield names[0], self.name + ("/noawait" if kind.endswith("-noawait") else "")


def control(deb: Path) -> Control:
    """Read a package's control archive."""
    files = {}
    with _member(deb, "control.tar") as tar:
        for member in tar:
            if member.isreg() and (content := tar.extractfile(member)):
                files[member.name.removeprefix("./")] = (member.mode, content.read())
    _, text = files.pop("control")
    (fields,) = deb822.paragraphs(text.decode())
    return Control(fields, files)


def _member(deb: Path, prefix: str) -> tarfile.TarFile:
    try:
        with open(deb, "rb") as archive:
            data = unpack.ar_member(archive, prefix)
        return tarfile.open(fileobj=io.BytesIO(data), mode="r|*")
    except (OSError, ValueError, tarfile.TarError, EOFError) as error:
        raise UserError(f"{deb.name}: not a whole Debian package: {error}") from error


@dataclass
class Archive:
    """An archive under construction: packages first, then what is put over them."""

    out: IO[bytes]
    _status: list[str] = field(default_factory=list)
    _triggers: dict[str, list[str]] = field(default_factory=dict)
    _folders: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._tar = tarfile.TarFile(fileobj=self.out, mode="w", format=tarfile.GNU_FORMAT)

    def packages(self, debs: Iterable[Path]) -> Iterator[str]:
        """Add packages, one after the other; gives the name of each that is in.

        base-files, whose links /bin and /lib all others need, comes first.
        """
        for deb in sorted(debs, key=lambda path: not path.name.startswith("base-files_")):
            about = control(deb)
            self._data(deb, about)
            self._status.append(about.status())
            for name, who in about.interests():
                self._triggers.setdefault(name, []).append(who)
            yield about.name

    def add(self, archive: bytes) -> None:
        """Add what is in another archive."""
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
            for member in tar:
                self._folder(member.name)
                self._tar.addfile(member, tar.extractfile(member))

    def file(self, path: str, data: bytes | str, mode: int = 0o644) -> None:
        """Add a regular file of root's."""
        content = data.encode() if isinstance(data, str) else data
        entry = tarfile.TarInfo(path)
        entry.size, entry.mode = len(content), mode
        self._folder(path)
        self._tar.addfile(entry, io.BytesIO(content))

    def symlink(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        entry = tarfile.TarInfo(path)
        entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, target, 0o777
        self._folder(path)
        self._tar.addfile(entry)

    def finish(self) -> None:
        """Add dpkg's database, and the archive's end."""
        self.file(f"{DATABASE}/status", "".join(self._status))
        self.file(f"{DATABASE}/info/format", "1\n")
        paths = [name for name in self._triggers if name.startswith("/")]
        lines = (f"{name} {who}\n" for name in paths for who in self._triggers.pop(name))
        self.file(f"{DATABASE}/triggers/File", "".join(lines))
        for name, waiting in self._triggers.items():
            self.file(f"{DATABASE}/triggers/{name}", "".join(f"{who}\n" for who in waiting))
        self._tar.close()

    def _folder(self, path: str) -> None:
        """The folders above, which no package may have."""
        above = path.rpartition("/")[0]
        if above and above not in self._folders:
            self._folder(above)
            self._folders.add(above)
            entry = tarfile.TarInfo(above)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            self._tar.addfile(entry)

    def _data(self, deb: Path, about: Control) -> None:
        """A package's files, and what the database keeps of it."""
        conffiles, listed = set(about.conffiles), ["/."]
        with _member(deb, "data.tar") as tar:
            for member in tar:
                path = member.name.removeprefix("./").rstrip("/")
                if path in ("", "."):
                    continue
                listed.append(f"/{path}")
                if member.isdir():
                    if path in self._folders:
                        continue
                    self._folders.add(path)
                member.name = f"{path}.dpkg-new" if path in conffiles else path
                member.linkname = member.linkname.removeprefix("./")
                self._tar.addfile(member, tar.extractfile(member) if member.isreg() else None)
        base = f"{DATABASE}/info/{about.stem}"
        self.file(f"{base}.list", "".join(f"{path}\n" for path in listed))
        for name, (mode, data) in about.files.items():
            self.file(f"{base}.{name}", data, mode)
