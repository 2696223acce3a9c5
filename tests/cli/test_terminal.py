"""The terminal: raw while the machine runs, and put back on every way out."""

from __future__ import annotations

import os
import signal
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from cli.run import ENVIRONMENT
from machine import elves
from rvvm.py.terminal import Keys


class Guest:
    """A machine in a pseudo-terminal."""

    def __init__(self, program: Path, *arguments: str) -> None:
        self.child = pexpect.spawn(
            sys.executable,
            ["-m", "rvvm", *arguments, str(program)],
            timeout=120,
            echo=True,
            env=ENVIRONMENT,
        )
        self.before = self.mode()

    def mode(self) -> list[object]:
        return termios.tcgetattr(self.child.child_fd)

    def is_raw(self) -> bool:
        local = self.mode()[3]
        assert isinstance(local, int)
        return not local & (termios.ECHO | termios.ICANON | termios.ISIG)

    def wait_until_raw(self) -> None:
        while not self.is_raw():
            self.child.expect(pexpect.TIMEOUT, timeout=0.05)

    def end(self) -> int:
        """The exit status (128 + signal); the terminal must be as it was."""
        self.child.expect(pexpect.EOF)
        self.child.wait()
        status = self.child.exitstatus
        return status if status is not None else 128 + (self.child.signalstatus or 0)


@pytest.fixture
def spin(tmp_path: Path) -> Iterator[Guest]:
    guest = Guest(elves.write(tmp_path / "spin.elf", elves.SPIN))
    guest.wait_until_raw()
    yield guest
    guest.child.close(force=True)


def test_ctrl_a_x_quits(spin: Guest) -> None:
    spin.child.send("\x01x")
    assert spin.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals(spin: Guest, number: signal.Signals) -> None:
    os.kill(spin.child.pid, number)
    assert spin.end() == 128 + number


class Shell:
    """An interactive shell that runs a machine in the foreground of its terminal."""

    def __init__(self, folder: Path) -> None:
        self.child = pexpect.spawn("/bin/sh", cwd=str(folder), timeout=30, env=ENVIRONMENT)
        self.child.sendline("echo rea''dy")
        self.child.expect("ready")
        self.before = termios.tcgetattr(self.child.child_fd)

    def restored(self) -> bool:
        return termios.tcgetattr(self.child.child_fd) == self.before

    def start(self, program: Path) -> None:
        self.child.sendline(f"{sys.executable} -m rvvm {program}; echo st''atus $?")

    def status(self) -> int:
        self.child.expect(r"status (\d+)")
        assert self.restored()
        return int(self.child.match[1])

    def machine(self) -> int:
        """The process of the machine, once it has taken the terminal."""
        wait_for(lambda: not self.restored())
        children = Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children").read_text()
        return int(children.split()[-1])


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    yield shell
    shell.child.close(force=True)


def test_put_back_after_power_off(shell: Shell, tmp_path: Path) -> None:
    shell.start(elves.write(tmp_path / "greeting.elf", elves.GREETING))
    assert shell.status() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_put_back_after_a_signal(shell: Shell, tmp_path: Path, number: signal.Signals) -> None:
    shell.start(elves.write(tmp_path / "spin.elf", elves.SPIN))
    os.kill(shell.machine(), number)
    assert shell.status() == 128 + number


def test_put_back_after_ctrl_a_x(shell: Shell, tmp_path: Path) -> None:
    shell.start(elves.write(tmp_path / "spin.elf", elves.SPIN))
    shell.machine()
    shell.child.send("\x01x")
    assert shell.status() == 0


def test_put_back_after_an_exception(shell: Shell, tmp_path: Path) -> None:
    """Not even a mistake of ours leaves a terminal without echo."""
    program = elves.write(tmp_path / "greeting.elf", elves.GREETING)
    script = tmp_path / "broken.py"
    script.write_text(
        "import sys\n"
        "from rvvm.py import cli, console\n"
        "def broken(self, data): raise RuntimeError('broken')\n"
        "console.Console.put = broken\n"
        f"sys.exit(cli.main([{str(program)!r}]))\n"
    )
    shell.child.sendline(f"{sys.executable} {script}; echo st''atus $?")
    shell.child.expect(r"RuntimeError\S*: \S*broken")  # from Python 3.13 on, in colours
    assert shell.status() == 1


def test_monitor(spin: Guest) -> None:
    child = spin.child
    child.send("\x01c")
    child.expect_exact("(rvvm) ")
    assert not spin.is_raw()
    for line, answer in [
        ("info registers", r"hart 0  mode M  pc 0x0000000080000"),
        ("info csr mstatus", r"mstatus \(0x300\)"),
        ("step 2", r"> [0-9a-f]+ +start"),
        ("translate 0x80000000", r"load 0x80000000 -> 0x80000000"),
        ("x/2w start", r"80000000: +00150513 "),
        ("disassemble 1 start", r"addi a0, a0, 1"),
        ("info harts", r"> 0 "),
        ("info stats", r"instructions +[1-9]"),
        ("info hot", r"share +address +symbol"),
        ("nonsense", r"no such command"),
        ("help", r"translate ADDRESS"),
    ]:
        child.sendline(line)
        child.expect(answer)
        child.expect_exact("(rvvm) ")
    child.sendline("continue")
    spin.wait_until_raw()
    child.send("\x01c")
    child.expect_exact("(rvvm) ")
    child.sendline("quit")
    assert spin.end() == 0


def test_typed_keys_reach_the_guest(tmp_path: Path) -> None:
    guest = Guest(elves.write(tmp_path / "echo.elf", elves.ECHO))
    guest.wait_until_raw()
    guest.child.send("ab\x03\x01\x01")  # Ctrl-C is the guest's
    guest.child.expect_exact("ab\x03\x01")
    guest.child.send("\x01h")
    guest.child.expect_exact("Ctrl-A x")
    guest.child.send("q")
    assert guest.end() == 0


def test_keys_reach_a_guest_that_prints_between_its_looks(tmp_path: Path) -> None:
    """A spinner that turns until a key is pressed."""
    guest = Guest(elves.write(tmp_path / "spinner.elf", elves.SPINNER))
    guest.wait_until_raw()
    guest.child.expect_exact("....")
    for key in ("a", "b", "q"):
        guest.child.send(key)
        guest.child.expect_exact(f"<{key}")
    assert guest.end() == 0


def test_keys_across_reads() -> None:
    commands: list[str] = []
    keys = Keys(commands.append)
    assert keys.feed(b"a\x01") == b"a" and keys.feed(b"ab") == b"\x01b" and not commands
    assert keys.feed(b"\x01cz") == b"z" and commands == ["c"]


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come")
