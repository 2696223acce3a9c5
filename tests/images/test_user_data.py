"""--user-data: what of cloud-config is understood, and that everything else is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from rvvm.py.errors import UserError
from rvvm.py.images import user_data
from rvvm.py.images.recipe import Recipe, User, WrittenFile

WHOLE = """#cloud-config
hostname: buildbox
packages: [git, make]
ssh_authorized_keys:
  - ssh-ed25519 AAAA one@host
users:
  - default
  - name: ada
    gecos: Ada L.
    groups: sudo, adm
    shell: /bin/sh
    sudo: ALL=(ALL) NOPASSWD:ALL
    plain_text_passwd: engine
    ssh_authorized_keys: [ssh-ed25519 BBBB ada]
  - name: bob
write_files:
  - path: /etc/motd
    content: |
      Welcome
  - path: /srv/run
    content: "#!/bin/sh"
    owner: ada:ada
    permissions: '0755'
  - path: /srv/plain
    permissions: 0600
runcmd:
  - echo one > /root/one
  - [touch, a file]
"""


def applied(tmp_path: Path, text: str, recipe: Recipe | None = None) -> Recipe:
    path = tmp_path / "user-data"
    path.write_text(text)
    return user_data.apply(recipe or Recipe(packages=("less",)), path)


def test_the_whole_of_it(tmp_path: Path) -> None:
    recipe = applied(tmp_path, WHOLE)
    assert recipe.hostname == "buildbox"
    assert recipe.packages == ("less", "git", "make")
    default, ada, bob = recipe.users
    assert default == User("debian", keys=("ssh-ed25519 AAAA one@host",))
    everything = ("ALL=(ALL) NOPASSWD:ALL",)
    assert ada == User(
        "ada", "engine", ("ssh-ed25519 BBBB ada",), "Ada L.", ("sudo", "adm"), "/bin/sh", everything
    )
    assert bob == User("bob", None, sudo=())
    assert recipe.files == (
        WrittenFile("/etc/motd", b"Welcome\n"),
        WrittenFile("/srv/run", b"#!/bin/sh", 0o755, "ada:ada"),
        WrittenFile("/srv/plain", b"", 0o600),
    )
    assert recipe.commands == ("echo one > /root/one", "touch 'a file'")
    recipe.check()


def test_without_default_only_the_named_are_made(tmp_path: Path) -> None:
    recipe = applied(tmp_path, "users: [{name: eve, lock_passwd: false}]")
    assert recipe.users == (User("eve", "", sudo=()),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("bootcmd: [ls]", "bootcmd: not supported here; what is: hostname, packages"),
        ("users: [{name: a, uid: 5}]", "users.uid: not supported here; what is: name, gecos"),
        ("write_files: [{path: /a, encoding: b64}]", "write_files.encoding: not supported"),
        ("write_files: [{content: x}]", "write_files.path: is missing"),
        ("write_files: [{path: /a, permissions: rwx}]", "write_files.permissions: 'rwx' is no"),
        ("users: [{gecos: nobody}]", "users.name: is missing"),
        ("users: []", "users: nobody could log in"),
        ("packages: git", "packages: expected a list"),
        ("hostname: [a]", "hostname: expected a text"),
        ("- a", "the file: expected keys and values"),
        ("a: b: c", "not YAML: mapping values are not allowed here"),
        ("", "the file: expected keys and values"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UserError, match=f"--user-data: .*: {says}") as raised:
        applied(tmp_path, text)
    assert "\n" not in str(raised.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--user-data: .*none: No such file or directory"):
        user_data.apply(Recipe(), tmp_path / "none")
