"""A Debian that was built as a user's file says, from its first boot on; and a disk whose modules
are of another kernel than the one that starts it."""

from __future__ import annotations

from pathlib import Path

import pytest

from boot import debian_disk
from boot.debian_disk import PATIENCE, Guest
from cli.run import rvvm
from host_tools import lacks
from rvvm.py import disk_builder
from rvvm.py.errors import UserError
from rvvm.py.images.recipe import Recipe

pytestmark = [
    pytest.mark.long,
    pytest.mark.xdist_group("debian"),
    pytest.mark.skipif(bool(lacks("passt")), reason=lacks("passt")),
]
USER_DATA = """#cloud-config
hostname: buildbox
users:
  - default
  - {name: ada, groups: [sudo], sudo: "ALL=(ALL) NOPASSWD:ALL", plain_text_passwd: engine}
write_files:
  - path: /usr/local/bin/note
    content: "#!/bin/sh\\necho $* >> /var/notes\\n"
    permissions: "0755"
runcmd:
  - [note, two words, as they are]
  - ip route | grep -c ^default | xargs note routes
  - getent hosts $(hostname) | xargs note host
  - id -un | xargs note by
  - "false"
"""
NOTES = ["two words as they are", "routes 1", "host 127.0.1.1 buildbox", "by root"]


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        disk_builder.packages(Recipe(), progress=False)
    except UserError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("disk")
    (folder / "user-data").write_text(USER_DATA)
    words = ["images", "build", "debian", "--user-data", "user-data", "--output", "made.img"]
    done = rvvm(*words, cwd=folder, timeout=3600)
    assert (done.returncode, done.stdout) == (0, b"made.img\n"), done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["made.img", "user-data"]
    return folder / "made.img"


def reboot(guest: Guest) -> None:
    guest.machine.console.send("sudo reboot\n")
    guest.machine.console.expect("login: ", PATIENCE)
    guest.log_in()


def notes(guest: Guest) -> list[str]:
    """What the first boot has noted, once it is over; the last command failed."""
    guest.shell("while systemctl is-active rvvm-first-boot | grep -q ing; do sleep 1; done")
    text = guest.shell("cat /var/notes").replace("\x1b[?2004l", "")  # of the shell's line editor
    return [line for line in text.splitlines() if line and "cat " not in line and "=" not in line]


def test_the_first_boot_is_as_the_user_says(disk: Path) -> None:
    guest = Guest(drive=str(disk), netdev="user", memory="512M")
    guest.log_in()
    assert notes(guest) == NOTES
    assert "ada" in guest.shell("id ada") and "buildbox" in guest.shell("hostname")
    assert "rvvm-first-boot" in guest.shell("systemctl --failed --no-pager")
    reboot(guest)
    assert notes(guest) == NOTES, "it was the first boot once"
    text = guest.shell("systemctl is-system-running --wait || systemctl --failed --no-pager")
    assert "running" in text and "degraded" not in text


def test_a_disk_with_the_modules_of_another_kernel() -> None:
    guest = Guest(drive=str(debian_disk.base()), netdev="user", memory="512M")
    guest.log_in()
    guest.shell("sudo mv /lib/modules/$(uname -r) /lib/modules/5.10.0-1-riscv64")
    reboot(guest)
    guest.shell("test -d /lib/modules/5.10.0-1-riscv64")
    guest.shell("sudo modprobe squashfs && lsmod | grep squashfs")
    guest.shell("until ip route | grep -q default; do sleep 1; done")
    text = guest.shell("systemctl is-system-running --wait || systemctl --failed --no-pager")
    assert "running" in text and "degraded" not in text
