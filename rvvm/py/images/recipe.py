"""What a disk is to be: the options of ``rvvm images build debian``, and what files that makes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from shlex import join, quote

from rvvm.py.errors import UserError
from rvvm.py.images.disk_files import LINKS, TEXTS, UNITS

PACKAGES = (
    "apt",
    "dbus",
    "e2fsprogs",
    "iproute2",
    "iputils-ping",
    "kmod",
    "less",
    "libpam-systemd",
    "login",
    "nano",
    "netbase",
    "openssh-server",
    "procps",
    "sudo",
    "systemd-sysv",
    "udev",
)
"""What every disk has besides Debian's essential packages; others depend on nothing more."""

_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,62}[A-Za-z0-9])?(\.[A-Za-z0-9-]+)*")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(:\w+)?")


@dataclass(frozen=True)
class User:
    """Somebody who can log in. An empty password is one for the console only: ssh refuses it."""

    name: str
    password: str | None = ""
    """None: no password at all, so only keys let this user in."""
    keys: tuple[str, ...] = ()
    gecos: str = ""
    groups: tuple[str, ...] = ()
    shell: str = "/bin/bash"
    sudo: tuple[str, ...] = ("ALL=(ALL) NOPASSWD:ALL",)

    def check(self) -> None:
        """UserError for what adduser would refuse, or what would end a line of a file."""
        if not _NAME.fullmatch(self.name):
            raise UserError(f"user {self.name!r}: a name is of a-z, 0-9, - and _")
        words = (self.gecos, self.shell, self.password or "", *self.groups, *self.keys, *self.sudo)
        if any("\n" in word for word in words):
            raise UserError(f"user {self.name}: a value has more than one line")

    def commands(self) -> Iterator[str]:
        """What makes the user, in the guest."""
        add = ["useradd", "-m", "-s", self.shell, "-c", self.gecos]
        yield join([*add, *(["-G", ",".join(self.groups)] if self.groups else []), self.name])
        if self.password:
            yield f"printf '%s\\n' {quote(f'{self.name}:{self.password}')} | chpasswd"
        elif self.password is not None:
            yield join(["passwd", "-q", "-d", self.name])
        if self.keys:
            home = f"$(getent passwd {self.name} | cut -d: -f6)"
            lines = join(["printf", r"%s\n", *self.keys])
            yield f"install -d -m 700 -o {self.name} -g {self.name} {home}/.ssh"
            yield f"{lines} > {home}/.ssh/authorized_keys"
            yield f"chown {self.name}: {home}/.ssh/authorized_keys"
            yield f"chmod 600 {home}/.ssh/authorized_keys"


@dataclass(frozen=True)
class WrittenFile:
    """A file of the user's own."""

    path: str
    content: bytes
    mode: int = 0o644
    owner: str = "root:root"


@dataclass(frozen=True)
class Recipe:
    """A Debian root disk."""

    size: int = 4 << 30
    hostname: str = "debian"
    users: tuple[User, ...] = (User("debian"),)
    packages: tuple[str, ...] = ()
    files: tuple[WrittenFile, ...] = ()
    commands: tuple[str, ...] = ()
    """Of the shell's, for the first boot."""

    def check(self) -> None:
        """UserError for what could not work."""
        if self.size < 1 << 30:
            raise UserError("--size: a Debian needs at least 1G")
        if not _HOSTNAME.fullmatch(self.hostname):
            raise UserError(f"hostname {self.hostname!r}: letters, digits and - only")
        for name in self.packages:
            if not _PACKAGE.fullmatch(name):
                raise UserError(f"package {name!r}: not a package's name")
        for user in self.users:
            user.check()
        for file in self.files:
            if not file.path.startswith("/") or ".." in file.path.split("/"):
                raise UserError(f"write_files: {file.path}: not an absolute path")

    def texts(self) -> Iterator[tuple[str, str, int]]:
        """Path, content and mode of the files that make it a machine of this name and network."""
        yield "etc/hostname", f"{self.hostname}\n", 0o644
        yield "etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {self.hostname}\n::1 localhost\n", 0o644
        yield from ((path, text, 0o644) for path, text in TEXTS.items())
        for user in self.users:
            if user.sudo:
                rules = "".join(f"{user.name} {rule}\n" for rule in user.sudo)
                yield f"etc/sudoers.d/90-{user.name}", rules, 0o440
        if self.commands:
            script = "".join(f"{command}\n" for command in self.commands)
            yield "var/lib/rvvm/first-boot", f"#!/bin/sh\n{script}", 0o700
            yield f"{UNITS}/{_FIRST_BOOT_UNIT}", _FIRST_BOOT, 0o644

    def links(self) -> Iterator[tuple[str, str]]:
        """Path and target of links: what systemd is to start, and what not."""
        yield from LINKS.items()
        if self.commands:
            yield (
                f"{UNITS}/multi-user.target.wants/{_FIRST_BOOT_UNIT}",
                f"/{UNITS}/{_FIRST_BOOT_UNIT}",
            )

    def steps(self) -> str:
        """The part of the configuration that is this recipe's, as lines of shell."""
        lines = [command for user in self.users for command in user.commands()]
        for file in self.files:
            lines.append(join(["chown", file.owner, file.path]))
        return "".join(f"{line}\n" for line in lines)


_FIRST_BOOT_UNIT = "rvvm-first-boot.service"
_FIRST_BOOT = """# Once, whatever becomes of it. The network comes some time after the prompt.
[Unit]
Description=Commands for the first boot
After=network.target
ConditionPathExists=/var/lib/rvvm/first-boot

[Service]
Type=oneshot
ExecStartPre=-/bin/sh -c 'ls /sys/class/net | grep -qv ^lo$$ && \\
    exec /usr/lib/systemd/systemd-networkd-wait-online --any --timeout=60'
ExecStart=/bin/sh -c 'mv /var/lib/rvvm/first-boot /run/first-boot; exec /bin/sh /run/first-boot'
StandardOutput=journal+console
RemainAfterExit=yes

[Install]
WantedBy=multi-user.target
"""
