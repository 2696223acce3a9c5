"""The options of a saved machine. It may be somebody else's file, so that what it says is checked,
and counts as far as it is about the machine alone.

What names something of the host (files, folders, sockets, ports, interfaces) is left out when a
machine is saved, and again when it is loaded: the device is there, with nothing behind it, until
the user says the option once more. A disk's base is known by its bytes; a file of its name must lie
beside the saved machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from rvvm.py.cards import Drive, without_host
from rvvm.py.errors import UserError
from rvvm.py.options import CLOCKS, NONE, Options, SavedName, image_name

_SHAPE = ("dtb", "memory", "harts", "clock")
"""Options that a saved machine has once and for all."""
_FILES = ("dtb", "kernel", "bios", "initrd")
_DEVICES = ("netdev", "share", "device")
_LEFT_OUT = {"serial": None, "perf_map": False, "commit": False, "terminal": None}
_LONGEST = 1 << 16  # characters of a text
_LONGEST_WORD = 300
_LONGEST_NAME = 255  # Linux' NAME_MAX
_MOST = 1 << 10  # devices of one kind


def plain(options: Options) -> dict[str, Any]:
    """The options as plain data, without what names something of the host."""
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    drives = [Drive.parse(drive, options.commit) for drive in options.drives]
    values["drive"] = [_plain_drive(drive) for drive in drives]
    return _without_host(values)


def _plain_drive(drive: Drive) -> dict[str, Any]:
    names = {"file": drive.file, "backing": drive.backing}
    known = {name: Path(path).name for name, path in names.items() if path is not None}
    return {**asdict(drive), "commit": False, **known}


def _without_host(values: dict[str, Any]) -> dict[str, Any]:
    """Also of what a file says, which may not have been written by ``plain``."""
    for name in _FILES:
        if values[name] is not None:
            values[name] = _file_name(values[name])
    for name in _DEVICES:
        texts = values[name]
        texts = [texts] if isinstance(texts, str) else list(texts)
        values[name] = [without_host(name, text) for text in texts]
    return values | _LEFT_OUT


def _file_name(what: Any) -> str:
    """An image's name as it is; of a path the last part, which is no image's name then."""
    if what == NONE or image_name(what):
        return str(what)
    return f"./{Path(os.fspath(what)).name}"


def read(values: Any, changes: Mapping[str, Any], beside: Path) -> Options:
    """The options of a machine that is loaded, with what the user says; ValueError for values that
    no saved machine has."""
    for name in _SHAPE:
        if name in changes:
            raise UserError(f"--{name}: a loaded machine has that of the saved one")
    _check(values, _OPTIONS, "options")
    found = _without_host(dict(values))
    for name in _FILES:
        if found[name] is not None and found[name] != NONE and not image_name(found[name]):
            found[name] = SavedName(found[name])
    if "drive" not in changes:
        for drive in values["drive"]:
            _check(drive, _DRIVE, "a drive")
        found["drive"] = [Drive(**_found(drive, beside)) for drive in values["drive"]]
    options = Options(**{**found, **changes})
    options.check()
    return options


def detached(options: Options, changes: Mapping[str, Any]) -> list[str]:
    """What of a loaded machine has nothing behind it, and how to say what is to be there."""
    lines = []
    if "netdev" not in changes and options.netdev:
        lines.append("its network is not connected: --netdev connects it")
    if "share" not in changes:
        for text in options.share:
            tag = text.partition(",")[0].removeprefix("folder=:")
            lines.append(f"nothing is shared: --share FOLDER:{tag} shares a folder")
    if "device" not in changes and any("virtio-vsock" in text for text in options.device):
        lines.append("its vsock leads nowhere: --device virtio-vsock,path=SOCKET connects it")
    return lines


def _found(drive: dict[str, Any], beside: Path) -> dict[str, Any]:
    names = {name: drive[name] for name in ("file", "backing") if drive[name] is not None}
    return {**drive, **{name: str(_beside(file, beside)) for name, file in names.items()}}


def _beside(name: str, folder: Path) -> Path:
    """A base in the folder of the saved machine. A link out of it could lead to any file."""
    path = folder / name
    if not path.is_file() or path.resolve().parent != folder.resolve():
        raise UserError(
            f"--drive: {path}: No such file beside the saved machine: --drive says where it is"
        )
    return path


# What the values of a file have to be

Check = Callable[[Any], bool]


def _check(values: Any, known: Mapping[str, Check], what: str) -> None:
    if not isinstance(values, dict) or values.keys() != known.keys():
        raise ValueError(f"{what}: other names than those of this version")
    for name, check in known.items():
        if not check(values[name]):
            raise ValueError(f"{what}: {name} is {values[name]!r:.40}")


def _text(value: Any) -> bool:
    """One that can be written in UTF-8, which half of a surrogate pair cannot."""
    if not isinstance(value, str) or len(value) > _LONGEST or "\0" in value:
        return False
    return value.encode(errors="ignore").decode() == value


def _word(value: Any) -> bool:
    """One that a complaint may quote."""
    return _text(value) and len(value) <= _LONGEST_WORD


def _plain_name(value: Any) -> bool:
    fits = _text(value) and value not in ("", ".", "..") and "/" not in value
    return fits and len(value.encode()) <= _LONGEST_NAME


def _number(least: int, most: int) -> Check:
    return lambda value: type(value) is int and least <= value <= most


def _share(value: Any) -> bool:
    return _word(value) or type(value) in (int, float) and 0 < value <= 1


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _maybe(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _either(*checks: Check) -> Check:
    return lambda value: any(check(value) for check in checks)


def _several(check: Check) -> Check:
    return lambda value: (
        isinstance(value, list) and len(value) <= _MOST and all(check(item) for item in value)
    )


_SIZE = _number(1, 1 << 63)
_OPTIONS: Mapping[str, Check] = {
    **dict.fromkeys(_FILES, _maybe(_word)),
    **dict.fromkeys(_DEVICES, _several(_word)),
    "append": _maybe(_text),
    "memory": _maybe(_either(_word, _SIZE)),
    "harts": _maybe(_number(1, 1 << 16)),
    "clock": lambda value: value in CLOCKS,
    "accel": _word,
    "drive": _several(lambda value: isinstance(value, dict)),
    "commit": _flag,
    "threads": _maybe(_flag),
    "perf_map": _flag,
    "serial": _maybe(_word),
    "limit_cpu": _maybe(_share),
    "terminal": _maybe(_word),
}
_DRIVE: Mapping[str, Check] = {
    "file": _plain_name,
    "commit": lambda value: value is False,
    "read_only": _flag,
    "bus": _maybe(_word),
    "queues": _number(1, 64),
    "serial": _word,
    "format": lambda value: value in (None, "raw", "qcow2"),
    "backing": _maybe(_plain_name),
    "limit": _maybe(_SIZE),
    "iops": _maybe(_SIZE),
    "bps": _maybe(_SIZE),
}
