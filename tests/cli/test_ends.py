"""How the command ends when the host is not kind: signals, readers that do not read, full disks."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cli.run import COMMAND, ENVIRONMENT, rvvm
from machine import elves
from machine.test_interrupts import SECTOR, SECTORS, WRITER

PRINTER = "li s0, UART; li a0, 0x79\nnext: sb a0, 0(s0); j next"
FULL = Path("/dev/full")
TALKS = (
    "    sb      t1, 0(t0)\n    j       again\n",
    """
    li      t2, 1000
more:
    sb      t1, 0(t0)
    addi    t2, t2, -1
    bnez    t2, more
    j       again
""",
)
"""In place of a byte a request of the disk."""
LINE = "li s0, UART; li a0, 0x79; sb a0, 0(s0)\n" + elves.END


def start(*arguments: object, folder: Path, **options: Any) -> subprocess.Popen[bytes]:
    """The command, with signals as a shell's foreground has them."""

    def usual_signals() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        if options.get("controlling") is not None:
            fcntl.ioctl(options["controlling"], termios.TIOCSCTTY, 0)

    given = {name: value for name, value in options.items() if name != "controlling"}
    given.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=folder,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        preexec_fn=usual_signals,
        **given,
    )


def end(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Its status and what it had to say; killed when it does not end."""
    try:
        status = process.wait(60)
    finally:
        process.kill()
    assert process.stderr is not None
    return status, process.stderr.read().decode()


def wait_until_full(pipe: int) -> None:
    """Until its writer has to wait: most of it is used, and no more comes for a while.

    Not until every byte is used: a write that does not fit into the rest of a page begins another.
    """
    room, used, since = fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ), 0, time.monotonic()
    while used < room // 2 or time.monotonic() - since < 2:
        before = used
        used = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]
        if used != before:
            since = time.monotonic()
        time.sleep(0.01)


@pytest.mark.parametrize("harts", [1, 4])
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_a_signal_while_nobody_reads(
    tmp_path: Path, harts: int, number: signal.Signals, status: int
) -> None:
    """The process ends, with what the guest has written on the disk."""
    (tmp_path / "disk.img").write_bytes(bytes(SECTOR * SECTORS))
    source = WRITER.replace(*TALKS)
    assert source != WRITER
    elves.write(tmp_path / "guest.elf", f"csrr t0, mhartid; stop: bnez t0, stop\n{source}")
    options = ["--harts", harts, "--commit", "--drive", "disk.img,bus=mmio", "guest.elf"]
    process = start(*options, folder=tmp_path, stdout=subprocess.PIPE)
    assert process.stdout is not None
    wait_until_full(process.stdout.fileno())
    process.send_signal(number)
    ended, said = end(process)
    assert ended == status and said.strip() == ""
    image = (tmp_path / "disk.img").read_bytes()
    written = sorted(struct.unpack_from("<Q", image, at)[0] for at in range(0, len(image), SECTOR))
    assert written == list(range(written[0], written[0] + SECTORS)) and written[0] > 0


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ends = pty.openpty()
    yield ends
    for file in ends:
        with contextlib.suppress(OSError):  # the test may have
            os.close(file)


def on_terminal(slave: int, *arguments: object, folder: Path, controls: bool) -> Any:
    return start(
        *arguments,
        folder=folder,
        stdin=slave,
        stdout=slave,
        start_new_session=True,
        controlling=slave if controls else None,
    )


def wait_for_bytes(file: int) -> None:
    assert select.select([file], [], [], 60)[0]


def test_keys_reach_it_while_the_terminal_shows_nothing(
    tmp_path: Path, terminal: tuple[int, int]
) -> None:
    master, slave = terminal
    elves.write(tmp_path / "guest.elf", PRINTER)
    process = on_terminal(slave, "guest.elf", folder=tmp_path, controls=True)
    wait_for_bytes(master)
    time.sleep(1)  # all buffers fill
    os.write(master, b"\x01x")
    assert end(process) == (0, "")


@pytest.mark.parametrize("controls", [True, False])
@pytest.mark.parametrize("arguments", [[], ["--harts", "4"]])
def test_a_closed_terminal(
    tmp_path: Path, terminal: tuple[int, int], controls: bool, arguments: Sequence[str]
) -> None:
    """SIGHUP tells the session it controls; others hear it when they print."""
    master, slave = terminal
    elves.write(tmp_path / "guest.elf", PRINTER)
    process = on_terminal(slave, *arguments, "guest.elf", folder=tmp_path, controls=controls)
    os.close(slave)
    wait_for_bytes(master)
    os.close(master)
    assert end(process) == (129, "")


def test_a_terminal_closed_under_the_monitor(tmp_path: Path, terminal: tuple[int, int]) -> None:
    master, slave = terminal
    elves.write(tmp_path / "guest.elf", PRINTER)
    process = on_terminal(slave, "--monitor", "guest.elf", folder=tmp_path, controls=True)
    os.close(slave)
    wait_for_bytes(master)
    time.sleep(0.5)
    os.close(master)
    status, said = end(process)
    assert status == 129 and "Traceback" not in said


def test_nohup_keeps_it(tmp_path: Path) -> None:
    elves.write(tmp_path / "guest.elf", "li s0, UART; li a0, 0x79; sb a0, 0(s0)\nstay: j stay")
    command = ["nohup", *COMMAND, "guest.elf"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.read(1) == b"y"
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143


AT_IMPORT = """
import os, signal, sys
left = int(sys.argv.pop(1))

def count(event, arguments):
    global left
    if event == "import" and "rvvm.start" in sys.modules:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGINT)

sys.addaudithook(count)
from rvvm.start import main
sys.exit(main())
"""


@pytest.mark.parametrize("imported", [1, 5, 10, 20, 50, 100])
def test_ctrl_c_while_modules_load(tmp_path: Path, imported: int) -> None:
    elves.write(tmp_path / "guest.elf", elves.END)
    done = subprocess.run(
        [sys.executable, "-c", AT_IMPORT, str(imported), "guest.elf"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert done.returncode in (130, -signal.SIGINT) and done.stderr == b""


def to_full(*arguments: object, folder: Path) -> tuple[int, str]:
    with FULL.open("wb") as full:
        return end(start(*arguments, folder=folder, stdout=full))


@pytest.mark.parametrize("program", [LINE, PRINTER, f"csrr t0, mhartid; {LINE}"])
@pytest.mark.parametrize("arguments", [[], ["--harts", "4"]])
def test_stdout_on_a_full_disk(tmp_path: Path, program: str, arguments: Sequence[str]) -> None:
    elves.write(tmp_path / "guest.elf", program)
    status, said = to_full(*arguments, "guest.elf", folder=tmp_path)
    assert said == ("rvvm: standard output: No space left on device: output of the guest is lost\n")
    assert status == 2


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["images"], ["images", "list"]])
def test_answers_on_a_full_disk(tmp_path: Path, arguments: Sequence[str]) -> None:
    said = to_full(*arguments, folder=tmp_path)
    assert said == (2, "rvvm: standard output: No space left on device\n")


@pytest.mark.parametrize("budget", [[], ["--max-instructions", "5"]])
def test_a_commit_log_on_a_full_disk(tmp_path: Path, budget: Sequence[str]) -> None:
    """The run ends with the first piece that cannot be written; the last may be the only one."""
    elves.write(tmp_path / "guest.elf", "stay: j stay")
    done = rvvm("--log-commits", FULL, *budget, "guest.elf", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.decode() == (
        "rvvm: --log-commits: /dev/full: No space left on device: the log is cut short\n"
    )


def test_a_signature_on_a_full_disk(tmp_path: Path) -> None:
    source = f"begin_signature: end_signature: {elves.END}".replace(
        "end_signature:", "nop\nend_signature:"
    )
    elves.write(tmp_path / "guest.elf", source)
    done = rvvm("--signature", FULL, "guest.elf", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.decode() == "rvvm: --signature: /dev/full: No space left on device\n"


LIMITED = """
import resource, sys
resource.setrlimit(resource.{limit}, ({value}, {value}))
from rvvm.start import main
sys.exit(main())
"""


def limited(limit: str, value: int, *arguments: str, folder: Path) -> Any:
    script = LIMITED.format(limit=limit, value=value)
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("harts", ["1", "4"])
def test_no_memory_is_a_line(tmp_path: Path, harts: str) -> None:
    """Whatever the host lacks: it works, or one line says why not."""
    elves.write(tmp_path / "guest.elf", f"csrr t0, mhartid; stop: bnez t0, stop\n{elves.GREETING}")
    seen = set()
    for mebibytes in (120, 160, 200, 230, 260, 300, 350, 400, 500, 700, 1000):
        arguments = ["--memory", "64M", "--harts", harts, "guest.elf"]
        done = limited("RLIMIT_AS", mebibytes << 20, *arguments, folder=tmp_path)
        assert done.returncode in (0, 2), (mebibytes, done)
        lines = done.stderr.splitlines()  # that it is slow, and why it ends
        assert all(line.startswith("rvvm: ") for line in lines) and len(lines) <= 2, done.stderr
        assert done.returncode == 2 or "Hello, world" in done.stdout
        seen.add(done.returncode)
    assert 0 in seen


def test_the_interpreter_runs_where_there_is_no_room_for_code(tmp_path: Path) -> None:
    elves.write(tmp_path / "guest.elf", elves.GREETING)
    script = "import resource, sys, rvvm\n" + "\n".join(
        [
            "used = int(open('/proc/self/statm').read().split()[0]) << 12",
            "import rvvm.py.machine",
            "used = int(open('/proc/self/statm').read().split()[0]) << 12",
            "resource.setrlimit(resource.RLIMIT_AS, (used + (60 << 20),) * 2)",
            "given = dict(bios='none', kernel='guest.elf', memory='8M')",
            "machine = rvvm.Machine(**given)",
            "print(machine.system.accel, machine.slow_engine)",
            "machine.run()",
            "print(machine.console.text)",
            "try: rvvm.Machine(accel='jit', **given)",
            "except rvvm.UserError as error: print(error)",
        ]
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == [
        "interp this host has no memory for translated code: the interpreter runs",
        "Hello, world",
        "",
        "--accel jit: memory for translated code: Cannot allocate memory",
    ], done.stderr


REBOOT = """
    li      t0, FINISHER
    li      t1, 0x7777
    li      s0, UART
    li      a0, 0x72
    sb      a0, 0(s0)
    sw      t1, 0(t0)
stay:
    j       stay
"""


@pytest.mark.parametrize("harts", [1, 4])
def test_a_guest_that_reboots_for_ever(
    tmp_path: Path, terminal: tuple[int, int], harts: int
) -> None:
    """Keys and signals get between."""
    master, slave = terminal
    elves.write(tmp_path / "guest.elf", REBOOT)
    process = on_terminal(slave, "--harts", harts, "guest.elf", folder=tmp_path, controls=True)
    wait_for_bytes(master)
    process.send_signal(signal.SIGTERM)
    assert end(process) == (143, "")
    process = on_terminal(slave, "--harts", harts, "guest.elf", folder=tmp_path, controls=True)
    wait_for_bytes(master)
    os.write(master, b"\x01x")
    assert end(process) == (0, "")
