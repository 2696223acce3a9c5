"""A Debian on a disk, for tests: built once, kept in rvvm's cache, and only ever read."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import rvvm
from rvvm.py import disk_builder
from rvvm.py.errors import UserError
from rvvm.py.images import cache
from rvvm.py.images.recipe import Recipe, User

PROMPT = re.compile(r"\$ $")
PATIENCE = 600
SOURCES = Path(disk_builder.__file__).parent / "images"
SHAPE = ("configure_disk.sh", "unpack_disk.sh", "disk_files.py", "disk_modules.py", "recipe.py")
"""What of ours a disk is made from."""


def key() -> Path:
    """A key pair of the tests' own; `key.pub` is on the disk."""
    path = cache.folder("test-disks") / "key"
    if not path.exists():
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


def base() -> Path:
    """The disk: anew when a package, the recipe or what makes it has changed. Skips the test where
    the packages cannot be had."""
    with cache.lock("test-disks"):
        public = key().with_suffix(".pub").read_text().strip()
        user = User("debian", "", (public,), groups=("sudo",))
        recipe = Recipe(users=(user,), packages=("gcc", "libc6-dev"))
        try:
            debs = disk_builder.packages(recipe, progress=False)
        except UserError as error:
            pytest.skip(str(error))
        parts = [repr(recipe), *(deb.filename for deb in debs)]
        parts += [(SOURCES / name).read_text() for name in SHAPE]
        name = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
        disk = cache.folder("test-disks") / f"{name}.img"
        if not disk.exists():
            for old in disk.parent.glob("*.img"):
                old.unlink()
            disk_builder.build(recipe, disk, progress=False)
        return disk


class Guest:
    """A Debian that was started from the disk, and the user who is logged in at its console."""

    def __init__(self, **options: object) -> None:
        self.machine = rvvm.Machine(**options)
        self.machine.console.expect("login: ", PATIENCE)
        self.to_login = self.machine.instret

    def log_in(self) -> None:
        self.machine.console.send("debian\n")
        self.machine.console.expect(PROMPT, PATIENCE)

    def shell(self, command: str) -> str:
        """What a command prints; it must succeed."""
        self.machine.console.send(f"{command}; echo sta''tus=$?\n")
        text = self.machine.console.expect(re.compile(r"status=(\d+)\r?\n"), PATIENCE)
        self.machine.console.expect(PROMPT, PATIENCE)
        assert text.rstrip().endswith("status=0"), text
        return text

    def while_it_runs(self, busy: Callable[[], bool]) -> None:
        """Let the guest run as long as the host is busy with it."""
        while busy():
            self.machine.run(until=rvvm.seconds(0.1))

    def ssh(self, port: int, command: str) -> str:
        """What a command prints that the host runs there by ssh; it must succeed."""
        fast = ["UserKnownHostsFile=/dev/null", "StrictHostKeyChecking=no", "LogLevel=ERROR"]
        options = [word for option in fast for word in ("-o", option)]
        where = ["-p", str(port), "-i", str(key()), "debian@127.0.0.1", command]
        with subprocess.Popen(
            ["ssh", *options, *where],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            self.while_it_runs(lambda: process.poll() is None)
            assert process.stdout is not None
            text = process.stdout.read()
        assert process.returncode == 0, text
        return text
