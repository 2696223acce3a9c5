"""Debian on rvvm and on QEMU: the same kernel, firmware, initramfs and command line."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import qemu
from rvvm.py import images
from rvvm.py.errors import UserError

APPEND = "console=ttyS0 earlycon=sbi"
MEMORY = "1G"
PROMPT = re.compile(rb"# (?:\x1b\[6n)?$")
"""The shell asks the terminal where the cursor is; nobody answers."""


@dataclass(frozen=True)
class Software:
    """What both machines start."""

    kernel: Path
    bios: Path
    initrd: Path

    @classmethod
    def debian(cls, initrd: Path | None = None) -> Software:
        """The images rvvm knows, fetched when they are not here; or another initramfs."""
        return cls(images.path("debian"), images.path("opensbi"), initrd or images.path("busybox"))

    def options(self) -> list[str]:
        """Of rvvm's command line; QEMU's start with one dash."""
        return [
            *("--kernel", str(self.kernel), "--bios", str(self.bios)),
            *("--initrd", str(self.initrd), "--append", APPEND),
        ]


def rvvm_command(software: Software, extra: Sequence[str] = ()) -> list[str]:
    """As a user starts it."""
    return [sys.executable, "-m", "rvvm.py.cli", "-m", MEMORY, *software.options(), *extra]


def qemu_command(software: Software, extra: Sequence[str] = ()) -> list[str]:
    """Debian's QEMU, one hart, its default CPU."""
    options = [
        word.replace("--", "-", 1) if word[:2] == "--" else word for word in software.options()
    ]
    machine = ["-M", "virt", "-smp", "1", "-m", MEMORY, "-nodefaults"]
    console = ["-display", "none", "-monitor", "none", "-serial", "stdio"]
    return [*qemu.find().command, *machine, *console, *options, *extra]


def commands(software: Software) -> dict[str, list[str]]:
    """The contestants by name."""
    return {"rvvm": rvvm_command(software), "QEMU": qemu_command(software)}


class Guest(AbstractContextManager["Guest"]):
    """A running machine at the other end of two pipes."""

    def __init__(self, command: Sequence[str], timeout: float = 300) -> None:
        self.timeout = timeout
        self.started = time.perf_counter()
        self.first_byte: float | None = None
        self._seen = bytearray()
        # As installed: Python's modules are compiled once, whatever holds here.
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
        )

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self.started

    @property
    def cpu_seconds(self) -> float:
        """What its threads, and programs it has started, have had of the host's processors."""
        return _cpu_seconds(self._process.pid)

    def expect(self, pattern: re.Pattern[bytes]) -> re.Match[bytes]:
        """Read until ``pattern`` appears, and forget what was read up to there."""
        deadline = time.monotonic() + self.timeout
        while not (found := pattern.search(self._seen)):
            self._read(deadline - time.monotonic())
        match = pattern.search(bytes(self._seen))
        assert match
        del self._seen[: found.end()]
        return match

    def shell(self, command: str, answer: re.Pattern[bytes]) -> re.Match[bytes]:
        """Type a command, find its answer, and wait for the prompt."""
        assert self._process.stdin
        self._process.stdin.write(command.encode() + b"\n")
        self._process.stdin.flush()
        match = self.expect(answer)
        self.expect(PROMPT)
        return match

    def _read(self, patience: float) -> None:
        assert self._process.stdout
        source = self._process.stdout.fileno()
        ready, _, _ = select.select([source], [], [], max(0.0, patience))
        piece = os.read(source, 65536) if ready else b""
        if not piece:
            what = "ended" if ready else "said nothing more"
            raise UserError(f"the guest {what}; its last words: {bytes(self._seen[-300:])!r}")
        if self.first_byte is None:
            self.first_byte = self.seconds
        self._seen += piece

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def _cpu_seconds(process: int) -> float:
    """Of a process and its children (proc(5): schedstat, children)."""
    tasks = list(Path(f"/proc/{process}/task").iterdir())
    own = sum(int(word) for task in tasks for word in _words(task / "schedstat")[:1]) / 1e9
    children = (child for task in tasks for child in _words(task / "children"))
    return own + sum(_cpu_seconds(int(child)) for child in children)


def _words(file: Path) -> list[str]:
    """None of a thread that has ended meanwhile."""
    try:
        return file.read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def boot(command: Sequence[str], prompt: re.Pattern[bytes] = PROMPT) -> tuple[float, float]:
    """Seconds to the first console byte and to the shell's prompt."""
    with Guest(command) as guest:
        guest.expect(prompt)
        assert guest.first_byte is not None
        return guest.first_byte, guest.seconds


def booter(
    command: Sequence[str], prompt: re.Pattern[bytes] = PROMPT
) -> Callable[[], tuple[float, float]]:
    """A contestant whose run is one boot."""
    return lambda: boot(command, prompt)
