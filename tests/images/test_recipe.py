"""What a recipe makes of a disk, in the words of the shell and in files."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from rvvm.py.errors import UserError
from rvvm.py.images.disk_archive import proxy_settings
from rvvm.py.images.recipe import Recipe, User, WrittenFile


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        (Recipe(size=1 << 20), "--size"),
        (Recipe(hostname="a b"), "hostname 'a b'"),
        (Recipe(hostname="-a"), "hostname"),
        (Recipe(packages=("--purge",)), "package '--purge'"),
        (Recipe(packages=("a=1; rm",)), "package"),
        (Recipe(users=(User("Root"),)), "user 'Root'"),
        (Recipe(users=(User("a b"),)), "user"),
        (Recipe(users=(User("ada", "x\ny"),)), "user ada: a value has more than one line"),
        (Recipe(users=(User("ada", keys=("k\nk",)),)), "more than one line"),
        (Recipe(files=(WrittenFile("etc/motd", b""),)), "not an absolute path"),
        (Recipe(files=(WrittenFile("/a/../b", b""),)), "not an absolute path"),
    ],
)
def test_what_could_not_work(recipe: Recipe, says: str) -> None:
    with pytest.raises(UserError, match=says):
        recipe.check()


def run(steps: str) -> str:
    """What a shell would do: commands are printed, but for those that only print."""
    names = ("useradd", "passwd", "install", "chown", "chmod", "getent", "cut")
    fakes = "".join(f"{name}() {{ printf '%s\\n' \"{name} $*\"; }}\n" for name in names)
    fakes += "chpasswd() { printf '%s\\n' \"chpasswd: $(cat)\"; }\n"
    done = subprocess.run(
        ["sh", "-eu"],
        input=fakes + steps.replace("> $", "# $"),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_users_are_made_whatever_their_passwords_are() -> None:
    odd = r"""it's $HOME "and" \back"""
    recipe = Recipe(users=(User("ada", odd, gecos="Ada $L", groups=("sudo", "adm")), User("bob")))
    recipe.check()
    lines = run(recipe.steps()).splitlines()
    assert lines == [
        "useradd -m -s /bin/bash -c Ada $L -G sudo,adm ada",
        f"chpasswd: ada:{odd}",
        "useradd -m -s /bin/bash -c  bob",
        "passwd -q -d bob",
    ]


def test_a_user_with_a_key_only() -> None:
    recipe = Recipe(users=(User("ada", None, ("ssh-ed25519 A 'k'",)),))
    lines = run(recipe.steps())
    assert "passwd" not in lines and "ssh-ed25519 A 'k'" in lines


def test_files() -> None:
    recipe = Recipe(hostname="box", commands=("echo a", "echo b"))
    texts = {path: (text, mode) for path, text, mode in recipe.texts()}
    assert texts["etc/hostname"] == ("box\n", 0o644)
    assert texts["var/lib/rvvm/first-boot"] == ("#!/bin/sh\necho a\necho b\n", 0o700)
    assert texts["etc/sudoers.d/90-debian"] == ("debian ALL=(ALL) NOPASSWD:ALL\n", 0o440)
    wanted = "etc/systemd/system/multi-user.target.wants/rvvm-first-boot.service"
    assert wanted in dict(recipe.links())
    quiet = replace(recipe, commands=(), users=(User("ada", sudo=()),))
    paths = {path for path, _, _ in quiet.texts()}
    assert wanted not in dict(quiet.links())
    assert not any("first-boot" in path or "sudoers" in path for path in paths)


def test_the_guests_proxies_are_the_hosts() -> None:
    host = 'Acquire::http::Proxy "http://127.0.0.1:3142/";\nAcquire::Retries "3";\n'
    assert proxy_settings(host, "http://other:1") == (
        'Acquire::http::Proxy "http://10.0.2.2:3142/";\n'
    )
    assert proxy_settings("", "http://a.example:1") == (
        'Acquire::http::Proxy "http://a.example:1";\n'
    )
    assert proxy_settings("") == ""
