"""Virtio devices as users ask for them: ``--drive file=disk.img,readonly=on``, as QEMU's do."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rvvm.py.disk import Disk, Overlay, open_disk
from rvvm.py.errors import UserError
from rvvm.py.host import Card
from rvvm.py.images import cache
from rvvm.py.throttle import Throttle

if TYPE_CHECKING:
    from rvvm.py.net.link import Link

FilePath = str | os.PathLike[str]
BUSES = ("pci", "mmio")
_DRIVE_WORDS = (
    "format if readonly snapshot bus queues serial id backing limit"
    " throttling.iops-total throttling.bps-total"
)
_FORMATS = ("raw", "qcow2")
_SWITCH = {"on": True, "off": False}
_MAX_QUEUES = 64
_LONGEST_TAG = 31  # QEMU's limit
_REPEATED = ("hostfwd",)


def parse_words(option: str, text: str, first: str, known: Sequence[str]) -> dict[str, str]:
    """``a=1,b=2`` as a dict; a word without a name is the ``first``; ``,,`` stands for a comma.

    >>> parse_words("--drive", "a,,b.img,readonly=on", "file", ["readonly"])
    {'file': 'a,b.img', 'readonly': 'on'}
    """
    found: dict[str, str] = {}
    for number, word in enumerate(text.replace(",,", "\0").split(",")):
        name, equals, value = word.replace("\0", ",").partition("=")
        if not equals and number == 0:
            name, value = first, name
        if name not in (first, *known):
            raise UserError(f"{option} {text}: {name} is none of {', '.join((first, *known))}")
        if name in found and name not in _REPEATED:
            raise UserError(f"{option} {text}: {name} is there twice")
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


@dataclass(frozen=True)
class Drive:
    """A disk image as a block device. Without ``commit`` what the guest writes is gone at the
    end, and the file stays as it is."""

    file: FilePath
    commit: bool = False
    read_only: bool = False
    bus: str | None = None
    queues: int = 1
    serial: str = ""
    format: str | None = None
    """``raw`` or ``qcow2``; else by the file's name, never by what is in the file: a guest can
    write a header into a raw image, and would be given the files that it names."""
    backing: FilePath | None = None
    limit: int | None = None
    """Bytes that the guest may change of an image that is not committed to."""
    iops: int | None = None
    bps: int | None = None

    @classmethod
    def parse(cls, what: FilePath | Drive, commit: bool = False) -> Drive:
        """``file=...,format=raw,if=virtio,readonly=off,snapshot=on,bus=pci,queues=1,serial=``,
        ``backing=,limit=1G,throttling.iops-total=,throttling.bps-total=``."""
        if isinstance(what, Drive):
            return what
        if not isinstance(what, str):
            return cls(what, commit=commit)
        words = _Words("--drive", what, "file", _DRIVE_WORDS)
        words.choose("if", "virtio", ("virtio", "none"))
        return cls(
            file=words.need("file"),
            format=words.choose("format", "", ("", *_FORMATS)) or None,
            backing=words.get("backing", "") or None,
            limit=words.amount("limit"),
            iops=words.amount("throttling.iops-total"),
            bps=words.amount("throttling.bps-total"),
            commit=not words.switch("snapshot", not commit),
            read_only=words.switch("readonly", False),
            bus=words.bus(),
            queues=words.number("queues", 1, _MAX_QUEUES),
            serial=words.get("serial", ""),
        )

    def card(self) -> Card:
        """Open it."""
        from rvvm.py.devices.virtio.block import Block

        throttle = Throttle(self.iops, self.bps) if self.iops or self.bps else None
        return Card(Block(self._disk(), self.queues, self.serial, throttle), self.bus)

    def _disk(self) -> Disk:
        path, overlays = Path(self.file), cache.folder("overlays")
        kept = self.commit and not self.read_only
        if self.limit is not None and (kept or self.read_only):
            raise UserError(f"--drive: {path}: limit= is of what the guest writes and is not kept")
        if (self.format or _by_name(path)) == "qcow2":
            if kept:
                raise UserError(
                    f"--drive: {path}: qcow2 images are only read: to write into one, "
                    f"{_CONVERT} {path.name} disk.img"
                )
            from rvvm.py.qcow2 import open_image

            image = open_image(path, Path(self.backing) if self.backing is not None else None)
            return image if self.read_only else Overlay(image, overlays, self.limit)
        if self.backing is not None:
            raise UserError(f"--drive: {path}: backing= is of qcow2 images")
        if self.format is None:
            _refuse_other_formats(path)
        how = {"commit": self.commit, "read_only": self.read_only}
        return open_disk(path, **how, overlays=overlays, limit=self.limit)


def _by_name(path: Path) -> str:
    return "qcow2" if path.suffix == ".qcow2" else "raw"


_CONVERT = "qemu-img convert -O raw"
_OTHER_FORMATS = {b"QFI\xfb": "qcow2", b"KDMV": "vmdk", b"conectix": "vpc", b"<<< ": "vdi"}


def _refuse_other_formats(path: Path) -> None:
    """A disk whose first sector is some format's header would look empty or broken to the guest."""
    try:
        if not (path.is_file() or path.is_block_device()):
            return  # opening it as a disk says what is wrong
        with path.open("rb") as file:
            head = file.read(8)
    except OSError:
        return
    for magic, name in _OTHER_FORMATS.items():
        if head.startswith(magic):
            raise UserError(
                f"--drive: {path}: is {name}, not raw: "
                + (
                    "say format=qcow2, or format=raw if it is raw"
                    if name in _FORMATS
                    else f"{_CONVERT} {path.name} disk.img"
                )
            )


_SHARE_WORDS = "readonly bus"


def share_card(text: str) -> Card:
    """``--share folder:tag[,readonly=on]``."""
    from rvvm.py.devices.virtio.shared_folder import SharedFolder
    from rvvm.py.ninep import Server
    from rvvm.py.share import open_folder

    words = _Words("--share", text, "folder", _SHARE_WORDS)
    path, _, tag = words.need("folder").rpartition(":")
    if not (path or words.detached) or not 0 < len(tag.encode()) <= _LONGEST_TAG:
        raise words.error(f"expected folder:tag, a tag of 1 to {_LONGEST_TAG} bytes")
    read_only = words.switch("readonly", False)
    root = None if words.detached else open_folder(Path(path), read_only)
    return Card(SharedFolder(Server(root), tag), words.bus())


_FORWARD = re.compile(r"(tcp|udp):([^:]*):(\d+)-([^:]*):(\d+)")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", re.I)
_FIRST_MAC = bytes.fromhex("525400123456")  # as QEMU's


_NET_WORDS = "id mac bus hostfwd path udp localaddr ifname script rate"


def net_card(text: str, number: int) -> Card:
    """``--netdev user,hostfwd=tcp::2222-:22``, ``socket,path=FILE`` or ``socket,udp=,localaddr=``,
    ``switch,path=FOLDER``, ``tap,ifname=NAME`` or ``none``: the ``number``-th of the machine."""
    from rvvm.py.devices.virtio.network import Network

    words = _Words("--netdev", text, "kind", _NET_WORDS)
    kind = words.choose("kind", "", tuple(_LINKS))
    mac = _mac(words, number, kind)
    link, rate = _LINKS[kind](words, mac), words.amount("rate", unit=1000)
    if rate:
        from rvvm.py.net.slow import SlowLink

        link = SlowLink(link, rate)
    device = Network(link, mac)
    device.connected = kind != "none"
    return Card(device, words.bus())


def _user_link(words: _Words, mac: bytes) -> Link:
    from rvvm.py.net import passt

    forwards = []
    for forward in words.several("hostfwd"):
        match = _FORWARD.fullmatch(forward)
        if match is None or match[4] not in ("", passt.ADDRESS):
            raise words.error(f"hostfwd={forward}: expected tcp:[address]:port-:port")
        passt.check_free(match[1], match[2], int(match[3]))
        host = f"{match[2]}/" if match[2] else ""
        forwards += ["-t" if match[1] == "tcp" else "-u", f"{host}{match[3]}:{match[5]}"]
    return passt.PasstLink(mac, forwards)


def _socket_link(words: _Words, mac: bytes) -> Link:
    from rvvm.py.net.link import udp_link, unix_link

    if path := words.get("path", ""):
        return unix_link(Path(path))
    return udp_link(words.place("localaddr"), words.place("udp"))


def _tap_link(words: _Words, mac: bytes) -> Link:
    from rvvm.py.net import tap

    words.choose("script", "no", ("no",))
    name = words.need("ifname")
    if not 0 < len(name.encode()) <= tap.LONGEST_NAME:
        raise words.error(f"ifname has 1 to {tap.LONGEST_NAME} bytes")
    return tap.TapLink(name)


def _switch_link(words: _Words, mac: bytes) -> Link:
    from rvvm.py.net.switch import SwitchLink

    return SwitchLink(Path(words.need("path")))


def _no_link(words: _Words, mac: bytes) -> Link:
    from rvvm.py.net.link import Unplugged

    return Unplugged()


_LINKS: Mapping[str, Callable[[_Words, bytes], Link]] = {
    "user": _user_link,
    "socket": _socket_link,
    "switch": _switch_link,
    "tap": _tap_link,
    "none": _no_link,
}


def _mac(words: _Words, number: int, kind: str) -> bytes:
    """As asked for; else QEMU's for a net of its own, and one nobody has where others are."""
    said = words.get("mac", "")
    if said:
        if not _MAC.fullmatch(said) or int(said[1], 16) & 1:
            raise words.error("mac is six bytes of a single station, such as 52:54:00:12:34:56")
        return bytes.fromhex(said.replace(":", ""))
    if kind == "user":
        return (int.from_bytes(_FIRST_MAC, "big") + number).to_bytes(6, "big")
    return _FIRST_MAC[:3] + os.urandom(3)


def _random_source(counted: bool) -> Callable[[int], bytes]:
    """The host's random bytes; the same ones each time where time counts instructions."""
    from rvvm.py.devices.virtio.entropy import Repeatable

    return Repeatable() if counted else os.urandom


def _entropy(words: _Words, counted: bool) -> Card:
    from rvvm.py.devices.virtio.entropy import Entropy

    return Card(Entropy(_random_source(counted)))


def _console(words: _Words, counted: bool) -> Card:
    from rvvm.py.devices.virtio.console import Console, Port
    from rvvm.py.stream import MemoryStream, SocketStream

    path = words.get("path", "")
    stream = SocketStream(Path(path)) if path else MemoryStream()
    return Card(Console([Port(stream, words.get("name", ""))]))


def _balloon(words: _Words, counted: bool) -> Card:
    from rvvm.py.devices.virtio.balloon import Balloon

    reports = words.switch("free-page-reporting", False)
    return Card(Balloon(reports, words.switch("deflate-on-oom", False)))


def _vsock(words: _Words, counted: bool) -> Card:
    from rvvm.py.devices.virtio.vsock import Vsock
    from rvvm.py.net.gate import ClosedGate, Gate

    cid = words.number("guest-cid", _FIRST_CID, _LAST_CID)
    if cid < _FIRST_CID:
        raise words.error(f"guest-cid is {_FIRST_CID} or more: 2 is the host")
    gate = ClosedGate() if words.detached else Gate(Path(words.need("path")))
    return Card(Vsock(gate, cid))


_FIRST_CID, _LAST_CID = 3, 0xFFFF_FFFE

DEVICES: Mapping[str, tuple[str, Callable[[_Words, bool], Card]]] = {
    "virtio-rng": ("", _entropy),
    "virtio-console": ("path name", _console),
    "virtio-balloon": ("free-page-reporting deflate-on-oom", _balloon),
    "virtio-vsock": ("guest-cid path", _vsock),
}
_ENDINGS = {"-pci": "pci", "-device": "mmio"}


def device_card(text: str, counted: bool) -> Card:
    """``--device virtio-rng``, ``virtio-rng-pci``, ``virtio-rng-device`` or ``virtio-rng,bus=``;
    other devices have words of their own: ``virtio-console,path=SOCKET,name=``."""
    words, make, place = _device_words(text)
    return make(words, counted)._replace(bus=words.bus() or place)


def _device_words(text: str) -> tuple[_Words, Callable[[_Words, bool], Card], str | None]:
    """The words of a device, what makes it, and the bus that is in its name."""
    name, place = text.partition(",")[0].removeprefix("driver="), None
    for ending, bus in _ENDINGS.items():
        if name.endswith(ending):
            name, place = name.removesuffix(ending), bus
    if name not in DEVICES:
        raise UserError(f"--device {text}: expected one of {', '.join(DEVICES)}")
    known, make = DEVICES[name]
    return _Words("--device", text, "driver", f"bus id {known}"), make, place


class Detached(str):
    """A device's option of a machine that was loaded: there is nothing of the host behind it."""


def without_host(option: str, text: str) -> Detached:
    """The option of the same device, with nothing in it that names something of the host."""
    return Detached(_WITHOUT_HOST[option](text))


def _net_alone(text: str) -> str:
    return _Words("--netdev", text, "kind", _NET_WORDS).said("kind", ("mac", "bus"), "none")


def _share_alone(text: str) -> str:
    words = _Words("--share", text, "folder", _SHARE_WORDS)
    tag = words.need("folder").rpartition(":")[2]
    return words.said("folder", ("bus",), f":{tag}")


def _device_alone(text: str) -> str:
    words, _, _ = _device_words(text)
    kept = ("bus", "name", "guest-cid", "free-page-reporting", "deflate-on-oom")
    return words.said("driver", kept, words.get("driver", ""))


_WITHOUT_HOST: Mapping[str, Callable[[str], str]] = {
    "netdev": _net_alone,
    "share": _share_alone,
    "device": _device_alone,
}


class _Words:
    """The words of one option, and complaints that quote it."""

    def __init__(self, option: str, text: str, first: str, known: str) -> None:
        self._said = f"{option} {text}"
        self.detached = isinstance(text, Detached)
        self._words = parse_words(option, text, first, known.split())

    def error(self, problem: str) -> UserError:
        return UserError(f"{self._said}: {problem}")

    def get(self, name: str, default: str) -> str:
        return self._words.get(name, default)

    def said(self, first: str, names: Sequence[str], value: str) -> str:
        """The option with these of its words, and another value of the first."""
        kept = {first: value} | {name: self._words[name] for name in names if name in self._words}
        words = (f"{name}={text}".replace(",", ",,") for name, text in kept.items())
        return ",".join(words)

    def several(self, name: str) -> list[str]:
        return self._words[name].split(",") if name in self._words else []

    def place(self, name: str) -> tuple[str, int]:
        """``host:port``."""
        host, _, port = self.need(name).rpartition(":")
        if not port.isdecimal() or int(port) > 0xFFFF:
            raise self.error(f"{name} is host:port")
        return host or "127.0.0.1", int(port)

    def need(self, name: str) -> str:
        if not (value := self._words.get(name, "")):
            raise UserError(f"{self._said}: names no {name}")
        return value

    def choose(self, name: str, default: str, choices: Sequence[str]) -> str:
        value = self._words.get(name, default)
        if value not in choices:
            raise UserError(f"{self._said}: {name} is one of {', '.join(choices)}")
        return value

    def switch(self, name: str, default: bool) -> bool:
        return _SWITCH[self.choose(name, "on" if default else "off", tuple(_SWITCH))]

    def bus(self) -> str | None:
        """A bus, or a slot's node by its name."""
        return self._words.get("bus")

    def amount(self, name: str, unit: int = 1024) -> int | None:
        """A number such as 4096 or 10M; None when it is not said."""
        value = self._words.get(name)
        if value is None:
            return None
        match = re.fullmatch(r"(\d{1,18})([KMGT]?)", value, re.I)
        if match is None or not int(match[1]):
            raise self.error(f"{name} is an amount such as 4096 or 10M")
        return int(match[1]) * int(unit ** " KMGT".index(match[2].upper() or " "))

    def number(self, name: str, default: int, most: int) -> int:
        value = self._words.get(name, str(default))
        if not value.isdecimal() or not 1 <= int(value) <= most:
            raise UserError(f"{self._said}: {name} is a number from 1 to {most}")
        return int(value)
