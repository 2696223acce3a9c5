"""The console elsewhere, machines in the background, and a share of the processor."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from cli.run import COMMAND, ENVIRONMENT, rvvm
from machine import elves


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    for name in ("GREETING", "ECHO", "SPIN"):
        elves.write(tmp_path / f"{name.lower()}.elf", getattr(elves, name))
    return tmp_path


@contextlib.contextmanager
def running(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    words = [*COMMAND, *arguments]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, cwd=folder, env=ENVIRONMENT, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


def until(there: object, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not there():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def conversation(end: socket.socket) -> None:
    """With a guest that echoes."""
    end.settimeout(30)
    end.sendall(b"hello\n")
    heard = b""
    while not heard.endswith(b"hello\n"):
        heard += end.recv(100)
    end.sendall(b"q")


def test_nowhere_and_into_a_file(programs: Path) -> None:
    done = rvvm("--serial", "null", "greeting.elf", cwd=programs)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    done = rvvm("--serial", "file:log", "greeting.elf", cwd=programs)
    assert (done.returncode, done.stdout) == (0, b"")
    assert (programs / "log").read_bytes() == b"Hello, world\n"
    assert rvvm("--serial", "stdio", "greeting.elf", cwd=programs).stdout == b"Hello, world\n"


def test_a_path_to_connect_to(programs: Path) -> None:
    with running(programs, "--serial", "unix:con,server,wait=off", "echo.elf") as machine:
        until(lambda: (programs / "con").is_socket())
        with socket.socket(socket.AF_UNIX) as end:
            end.connect(str(programs / "con"))
            conversation(end)
            assert machine.wait(30) == 0
    assert not (programs / "con").exists()


@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET])
def test_it_connects_to_whoever_waits(programs: Path, family: socket.AddressFamily) -> None:
    with socket.socket(family) as listener:
        listener.bind(str(programs / "here") if family == socket.AF_UNIX else ("127.0.0.1", 0))
        listener.listen()
        name = listener.getsockname()
        where = "unix:here" if family == socket.AF_UNIX else f"tcp:127.0.0.1:{name[1]}"
        with running(programs, "--serial", where, "echo.elf") as machine:
            listener.settimeout(30)
            end, _ = listener.accept()
            with end:
                conversation(end)
                assert machine.wait(30) == 0


def test_a_port_to_connect_to(programs: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with running(programs, "--serial", f"tcp::{port},server=on", "echo.elf") as machine:

        def connected() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as end:
                conversation(end)
                return True
            return False

        until(connected)
        assert machine.wait(30) == 0


def test_a_pseudoterminal(programs: Path) -> None:
    with running(programs, "--serial", "pty", "echo.elf") as machine:
        assert machine.stdout
        line = machine.stdout.readline().decode()
        assert line.startswith("rvvm: --serial pty: /dev/pts/")
        terminal = os.open(line.split()[-1], os.O_RDWR | os.O_NOCTTY)
        os.write(terminal, b"hello\nq")
        heard = b""
        while b"hello\n" not in heard:
            heard += os.read(terminal, 100)
        assert machine.wait(30) == 0
        os.close(terminal)


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("com1", "--serial com1: expected one of stdio, null, pty, file:PATH,"),
        ("file:", "--serial file:: expected one of"),
        ("null:x", "--serial null:x: expected one of"),
        ("file:/nosuch/log", "--serial file:/nosuch/log: No such file or directory"),
        ("unix:/nosuch/con,server", "--serial unix: /nosuch/con: No such file or directory"),
        ("unix:con", "--serial unix:con: No such file or directory"),
        ("unix:con,waiter", "waiter is none of server, wait=off"),
        ("tcp:host", "--serial tcp:host: expected tcp:HOST:PORT"),
        ("tcp:127.0.0.1:1", "--serial tcp:127.0.0.1:1: Connection refused"),
    ],
)
def test_consoles_that_cannot_be(programs: Path, where: str, says: str) -> None:
    done = rvvm("--serial", where, "greeting.elf", cwd=programs)
    assert done.returncode == 2 and done.stdout == b""
    assert says in done.stderr.decode() and done.stderr.count(b"\n") == 1


def test_in_the_background(programs: Path) -> None:
    """It comes back when the machine is made; SIGTERM ends that, and its file is gone then."""
    words = ("--daemonize", "--pidfile", "pid", "--serial", "unix:con,server", "spin.elf")
    done = rvvm(*words, cwd=programs)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    number = int((programs / "pid").read_text())
    try:
        assert os.getsid(number) == number, "in a session of its own"
        again = rvvm(*words, cwd=programs)
        assert again.returncode == 2 and b"con: somebody listens there" in again.stderr
        again = rvvm(*words[:3], "spin.elf", cwd=programs)
        assert again.returncode == 2 and b"pid: another machine has it" in again.stderr
    finally:
        os.kill(number, signal.SIGTERM)
    until(lambda: not (programs / "pid").exists() and not (programs / "con").exists())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nosuch.elf",), "nosuch.elf: no such file"),
        (("--drive", "nosuch.img", "spin.elf"), "--drive: nosuch.img: No such file"),
        (("--pidfile", "/nosuch/pid", "spin.elf"), "--pidfile: /nosuch/pid: No such file"),
        (("--serial", "stdio", "spin.elf"), "there is no terminal for --serial stdio"),
        (("--monitor", "spin.elf"), "there is no terminal for --monitor"),
    ],
)
def test_errors_come_before_the_background(
    programs: Path, words: tuple[str, ...], says: str
) -> None:
    done = rvvm("--daemonize", *words, cwd=programs)
    assert done.returncode == 2
    assert says in done.stderr.decode() and done.stderr.count(b"\n") == 1


def on_a_full_disk(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Where no file may grow, as on a full disk."""
    command = [*COMMAND, *arguments]
    setrlimit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (0, 0))
    return subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, timeout=60, preexec_fn=setrlimit
    )


@pytest.mark.parametrize("background", [(), ("--daemonize",)])
def test_a_pidfile_on_a_full_disk(programs: Path, background: tuple[str, ...]) -> None:
    done = on_a_full_disk(programs, *background, "--pidfile", "pid", "greeting.elf")
    assert (done.returncode, done.stderr) == (2, b"rvvm: --pidfile: pid: File too large\n")
    assert not (programs / "pid").exists()


def test_a_console_on_a_full_disk(programs: Path) -> None:
    """The guest goes on to its end; the loss is told at once, and in the status."""
    done = on_a_full_disk(programs, "--serial", "file:log", "greeting.elf")
    line = b"rvvm: --serial file:log: File too large: output of the guest is lost\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, b"", line)
    done = rvvm("--serial", "file:/dev/full", "greeting.elf", cwd=programs)
    assert done.returncode == 2 and b"No space left on device" in done.stderr


def test_a_pidfile_takes_the_place_of_nothing_else(programs: Path) -> None:
    os.mkfifo(programs / "pipe")
    for name in ("pipe", "/dev/null", "."):
        done = rvvm("--pidfile", name, "greeting.elf", cwd=programs)
        assert done.returncode == 2 and done.stderr.count(b"\n") == 1, done.stderr
    assert (programs / "pipe").is_fifo() and Path("/dev/null").is_char_device()


def test_a_pidfile_of_somebody_else_stays(programs: Path) -> None:
    (programs / "link").symlink_to("pid")
    with running(programs, "--pidfile", "link", "--serial", "null", "spin.elf") as machine:
        until(lambda: (programs / "pid").exists() and (programs / "pid").read_text())
        assert int((programs / "pid").read_text()) == machine.pid
        (programs / "other").write_text("other")
        (programs / "other").rename(programs / "pid")
        machine.send_signal(signal.SIGTERM)
        machine.wait(30)
    assert (programs / "pid").read_text() == "other" and (programs / "link").is_symlink()


def cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_share_of_the_processor(programs: Path) -> None:
    """A guest that spins gets no more than its share, however busy the host is. That it gets all of
    it is for tests/engines/test_limited.py: a busy host has less to give."""
    elves.write(programs / "busy.elf", elves.GREETING.replace(elves.END, elves.SPIN))
    with running(programs, "--limit-cpu", "20%", "--serial", "file:log", "busy.elf") as machine:
        log = programs / "log"
        until(lambda: log.exists() and log.read_text() == "Hello, world\n")
        before, begun = cpu_seconds(machine.pid), time.monotonic()
        time.sleep(2)
        share = (cpu_seconds(machine.pid) - before) / (time.monotonic() - begun)
        assert share < 0.27
        machine.send_signal(signal.SIGTERM)
        assert machine.wait(30) == 128 + signal.SIGTERM


@pytest.mark.parametrize("share", ["0%", "150%", "half", "-1"])
def test_shares_that_cannot_be(programs: Path, share: str) -> None:
    done = rvvm(f"--limit-cpu={share}", "spin.elf", cwd=programs)
    assert done.returncode == 2 and b"expected a share such as 50%" in done.stderr


def test_many_machines_do_not_disturb_each_other(programs: Path) -> None:
    """One spins, one is killed, one is broken; the others answer."""
    with contextlib.ExitStack() as stack:
        for words in (("spin.elf",), ("spin.elf", "--limit-cpu", "10%")):
            stack.enter_context(running(programs, "--serial", "null", *words))
        victim = stack.enter_context(running(programs, "--serial", "null", "spin.elf"))
        victim.kill()
        done = [rvvm("greeting.elf", cwd=programs) for _ in range(3)]
        assert [it.stdout for it in done] == [b"Hello, world\n"] * 3


def test_one_that_fails_leaves_the_others_of_its_process(programs: Path) -> None:
    """Machines in one process: an error of one's device, a spinner that is stopped, and one that
    goes on as if alone."""
    program = f"""
import threading, rvvm
spin = rvvm.Machine(kernel={str(programs / "spin.elf")!r}, bios="none")
bad = rvvm.Machine(kernel={str(programs / "greeting.elf")!r}, bios="none")
good = rvvm.Machine(kernel={str(programs / "greeting.elf")!r}, bios="none")
thread = threading.Thread(target=spin.run)
thread.start()
bad.console.listeners.append(lambda data: 1 / 0)
try:
    bad.run()
except ZeroDivisionError:
    print("told")
print(good.run(), good.console.text.strip())
spin.pause()
thread.join()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, timeout=60
    )
    assert done.stdout.decode().split("\n")[:2] == ["told", "halt 0x0 on hart 0 Hello, world"]
    assert done.returncode == 0, done.stderr


def test_memory_is_its_ram_and_what_engines_keep(tmp_path: Path) -> None:
    """A guest that writes all of its RAM takes that, and less than 256 MB besides; one that does
    not takes hardly any of it."""
    whole = (
        """
        li t0, 0x80100000
        li t1, 0x88000000
        li t2, 4096
    again:
        sd t0, 0(t0)
        add t0, t0, t2
        bltu t0, t1, again
    """
        + elves.GREETING
    )
    for source, ram in ((whole, 127 << 20), (elves.GREETING, 0)):
        program = elves.write(tmp_path / "program.elf", source)
        code = (
            f"import rvvm; m = rvvm.Machine(kernel={str(program)!r}, bios='none', memory='128M');"
            " m.run(timeout=60); print(m.console.text);"
            " print(open('/proc/self/statm').read().split()[1])"
        )
        done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True)
        resident = int(done.stdout.split()[-1]) * os.sysconf("SC_PAGE_SIZE")
        assert ram <= resident < ram + (256 << 20), done.stderr
        assert b"Hello, world" in done.stdout
