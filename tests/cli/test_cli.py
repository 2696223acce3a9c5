"""The command line when nothing is wrong."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli.run import COMMAND, ENVIRONMENT, rvvm
from machine import elves
from rvvm.py.machine import Machine
from rvvm.py.monitor import Monitor
from rvvm.py.until import text


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    for name in ("GREETING", "ECHO", "FAIL", "TOHOST", "SIGNATURE", "SPIN"):
        elves.write(tmp_path / f"{name.lower()}.elf", getattr(elves, name))
    return tmp_path


def test_program_prints_and_powers_off(programs: Path) -> None:
    done = rvvm("greeting.elf", cwd=programs)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"Hello, world\n", b"")


def test_kernel_without_firmware_is_the_same(programs: Path) -> None:
    done = rvvm("--bios", "none", "--kernel", "greeting.elf", cwd=programs)
    assert (done.returncode, done.stdout) == (0, b"Hello, world\n")


def test_failure_is_the_exit_status(programs: Path) -> None:
    assert rvvm("fail.elf", cwd=programs).returncode == 7


def test_tohost_is_the_exit_status(programs: Path) -> None:
    assert rvvm("tohost.elf", cwd=programs).returncode == 3


def test_signature(programs: Path) -> None:
    done = rvvm("--signature", "out", "--signature-granularity", 4, "signature.elf", cwd=programs)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (programs / "out").read_text().split() == ["11223344", *["deadbeef"] * 3]


def test_piped_input_is_fed_as_the_guest_reads_it(programs: Path) -> None:
    lines = b"".join(b"line %d\n" % number for number in range(300)) + b"q"
    done = rvvm("echo.elf", stdin=lines, cwd=programs)
    assert (done.returncode, done.stdout) == (0, lines)


def test_end_of_input_does_not_end_the_machine(programs: Path) -> None:
    done = rvvm("greeting.elf", stdin=b"", cwd=programs)
    assert done.stdout == b"Hello, world\n"


def test_max_instructions(programs: Path) -> None:
    done = rvvm("--max-instructions", 1000, "spin.elf", cwd=programs)
    assert (done.returncode, done.stdout) == (124, b"")


def test_log_commits(programs: Path) -> None:
    """Spike's format: core, privilege, pc, bits, what was written."""
    done = rvvm("--log-commits", "log", "--max-instructions", 4, "spin.elf", cwd=programs)
    assert done.returncode == 124
    lines = (programs / "log").read_text().splitlines()
    assert len(lines) == 4
    addi = r"core +0: 3 0x0{8}80000000 \(0x00150513\) x10 +0x0{15}1"
    assert re.fullmatch(addi, lines[0].strip()), lines[0]


def test_unicorn_runs_bare_metal(programs: Path) -> None:
    done = rvvm("--accel", "unicorn", "greeting.elf", cwd=programs)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"Hello, world\n", b"")


def test_nothing_named_shows_something() -> None:
    done = rvvm()
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"hello" in done.stdout.lower()


def test_version_and_help() -> None:
    assert re.fullmatch(rb"rvvm, version [\d.]+\n", rvvm("--version").stdout)
    assert b"--kernel" in rvvm("--help").stdout


def test_images_are_listed() -> None:
    done = rvvm("images")
    assert done.returncode == 0 and b"opensbi" in done.stdout


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_end_it(programs: Path, number: signal.Signals, status: int) -> None:
    elves.write(programs / "here.elf", "li s0, UART; li a0, 0x79; sb a0, 0(s0)\nspin: j spin")
    process = subprocess.Popen(
        [*COMMAND, "here.elf"],
        cwd=programs,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
        # What a shell puts into the background starts with SIGINT ignored, and that is inherited.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    with process:
        assert process.stdout and process.stdout.read(1) == b"y", "it runs"
        process.send_signal(number)
        try:
            assert process.wait(60) == status
        finally:
            process.kill()


def test_reader_gone(programs: Path) -> None:
    """`rvvm ... | head` ends."""
    source = "li s0, UART; li a0, 0x79\nnext: sb a0, 0(s0); j next"
    elves.write(programs / "yes.elf", source)
    process = subprocess.Popen(
        [*COMMAND, "yes.elf"],
        cwd=programs,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    assert process.stdout is not None
    assert process.stdout.read(100) == b"y" * 100
    process.stdout.close()
    process.wait(20)


def test_a_boot_imports_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    """Each of these takes longer to import than the packaged board to make."""
    heavy = ("asyncio", "capstone", "elftools", "fdt", "IPython", "pcpp", "rich", "unicorn")
    (tmp_path / "kernel").write_bytes(b"\x13\0\0\0")
    code = (
        "import sys, rvvm.py.cli; rvvm.Machine(kernel='kernel', bios='none');"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=ENVIRONMENT)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_machine_that_was_saved_goes_on(programs: Path) -> None:
    machine = Machine(kernel=programs / "greeting.elf", bios="none", memory="16M")
    machine.run(until=text("Hello"))
    machine.save(programs / "saved")
    (programs / "greeting.elf").unlink()
    done = rvvm("--load", "saved", "--accel", "interp", cwd=programs)
    assert (done.returncode, done.stdout, done.stderr) == (0, b", world\n", b"")


def test_save_in_the_monitor(programs: Path) -> None:
    said: list[str] = []
    monitor = Monitor(Machine(kernel=programs / "greeting.elf", bios="none"), say=said.append)
    monitor.execute(f"save {programs}/saved")
    assert not said
    assert rvvm("--load", "saved", cwd=programs).stdout == b"Hello, world\n"
    monitor.execute("save /nowhere/saved")
    assert said == ["save /nowhere/saved: /nowhere/saved: No such file or directory"]
