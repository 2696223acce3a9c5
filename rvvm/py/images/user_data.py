"""``--user-data``: a part of cloud-init's cloud-config, which is YAML, as changes to a recipe.

What is not known here is an error that names it: a key that is silently left out would be a disk
that is not what was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from shlex import join
from typing import Any

from rvvm.py import inputs
from rvvm.py.errors import UserError
from rvvm.py.images import safe_yaml
from rvvm.py.images.recipe import Recipe, User, WrittenFile

_MOST = 1 << 20
"""Bytes of a file: PyYAML takes a second for each 100 kB."""


def apply(recipe: Recipe, path: Path) -> Recipe:
    """The recipe with what the file says; what the recipe's own users are stays before them."""
    try:
        data = safe_yaml.load(inputs.read(path, "--user-data: ", _MOST).decode())
    except (safe_yaml.Wrong, UnicodeDecodeError) as error:
        reason = error if isinstance(error, safe_yaml.Wrong) else f"not YAML: {error}"
        raise UserError(f"--user-data: {path}: {reason}") from None
    try:
        for key, value in _mapping(data, "", _TOP).items():
            recipe = _TOP[key](recipe, value)
    except _Wrong as error:
        raise UserError(f"--user-data: {path}: {error}") from None
    return recipe


class _Wrong(Exception):
    """What is wrong, beginning with the key."""


def _mapping(value: Any, where: str, known: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Wrong(f"{where or 'the file'}: expected keys and values")
    for key in value:
        if key not in known:
            name = f"{where}.{key}" if where else key
            raise _Wrong(f"{name}: not supported here; what is: {', '.join(known)}")
    return value


def _text(value: Any, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise _Wrong(f"{where}: expected a text")
    return str(value)


def _flag(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise _Wrong(f"{where}: expected true or false")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise _Wrong(f"{where}: expected a list")
    return value


def _texts(value: Any, where: str) -> tuple[str, ...]:
    """A list of texts; one alone, or several with commas between them, as cloud-init takes."""
    if isinstance(value, str):
        return tuple(word.strip() for word in value.split(","))
    return tuple(_text(item, where) for item in _list(value, where))


def _hostname(recipe: Recipe, value: Any) -> Recipe:
    return replace(recipe, hostname=_text(value, "hostname"))


def _packages(recipe: Recipe, value: Any) -> Recipe:
    names = tuple(_text(item, "packages") for item in _list(value, "packages"))
    return replace(recipe, packages=(*recipe.packages, *names))


def _keys(recipe: Recipe, value: Any) -> Recipe:
    """For the first user."""
    keys = tuple(_text(item, "ssh_authorized_keys") for item in _list(value, "ssh_authorized_keys"))
    first, *others = recipe.users
    return replace(recipe, users=(replace(first, keys=(*first.keys, *keys)), *others))


def _users(recipe: Recipe, value: Any) -> Recipe:
    """Without ``default`` in the list, cloud-init makes only those that are named."""
    users: list[User] = []
    for item in _list(value, "users"):
        users += [recipe.users[0]] if item == "default" else [_user(item)]
    if not users:
        raise _Wrong("users: nobody could log in")
    return replace(recipe, users=tuple(users))


_USER: Mapping[str, Callable[[Any, str], Any]] = {
    "name": _text,
    "gecos": _text,
    "groups": _texts,
    "shell": _text,
    "sudo": lambda value, where: () if value in (False, None) else _rules(value, where),
    "lock_passwd": _flag,
    "plain_text_passwd": _text,
    "ssh_authorized_keys": lambda value, where: tuple(
        _text(item, where) for item in _list(value, where)
    ),
}


def _rules(value: Any, where: str) -> tuple[str, ...]:
    items = value if isinstance(value, list) else [value]
    return tuple(_text(item, where) for item in items)


def _user(item: Any) -> User:
    said = {
        key: _USER[key](value, f"users.{key}")
        for key, value in _mapping(item, "users", _USER).items()
    }
    if "name" not in said:
        raise _Wrong("users.name: is missing")
    locked = said.pop("lock_passwd", True)
    password = said.pop("plain_text_passwd", None if locked else "")
    keys = said.pop("ssh_authorized_keys", ())
    return User(**{"sudo": (), **said, "password": password, "keys": keys})


def _permissions(value: Any, where: str) -> int:
    """An octal text, or the number itself: YAML reads 0644 without quotes as octal."""
    try:
        mode = value if type(value) is int else int(_text(value, where), 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o7777:
        raise _Wrong(f"{where}: {value!r} is no mode: '0644' is")
    return mode


_FILE: Mapping[str, Callable[[Any, str], Any]] = {
    "path": _text,
    "content": _text,
    "owner": _text,
    "permissions": _permissions,
}


def _write_files(recipe: Recipe, value: Any) -> Recipe:
    files = []
    for item in _list(value, "write_files"):
        said = {
            key: _FILE[key](entry, f"write_files.{key}")
            for key, entry in _mapping(item, "write_files", _FILE).items()
        }
        if "path" not in said:
            raise _Wrong("write_files.path: is missing")
        content = said.get("content", "").encode()
        owner = said.get("owner", "root:root")
        files.append(WrittenFile(said["path"], content, said.get("permissions", 0o644), owner))
    return replace(recipe, files=(*recipe.files, *files))


def _runcmd(recipe: Recipe, value: Any) -> Recipe:
    lines = [
        join(_text(word, "runcmd") for word in item)
        if isinstance(item, list)
        else _text(item, "runcmd")
        for item in _list(value, "runcmd")
    ]
    return replace(recipe, commands=(*recipe.commands, *lines))


_TOP: Mapping[str, Callable[[Recipe, Any], Recipe]] = {
    "hostname": _hostname,
    "packages": _packages,
    "ssh_authorized_keys": _keys,
    "users": _users,
    "write_files": _write_files,
    "runcmd": _runcmd,
}
"""Key -> what it does to a recipe."""
