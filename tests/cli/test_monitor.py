"""The monitor: its line editor, its commands, and plain words for whatever is typed wrong."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pexpect
import pytest

import rvvm
from cli.run import ENVIRONMENT
from cli.run import rvvm as run_rvvm
from machine import elves
from rvvm.py.monitor import Monitor, Next

PROGRAM = """
start:
    li      a0, 7
loop:
    addi    a0, a0, 1
    j       loop
text:
    .word   0x00006968, 0x00216f79
"""
PYTHON_WORDS = re.compile(
    r"invalid literal|base 0|Error|Traceback|positional|argument|index out of|NoneType|object"
    r"|attribute|unsupported|_core|No closing|do_"
)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> rvvm.Machine:
    program = elves.write(tmp_path_factory.mktemp("monitor") / "program.elf", PROGRAM)
    return rvvm.Machine(kernel=program, bios="none", memory="16M", harts=2)


def answer(machine: rvvm.Machine, *lines: str) -> str:
    said: list[str] = []
    monitor = Monitor(machine, say=said.append)
    for line in lines:
        monitor.execute(line)
    return "\n".join(said)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("nonsense", "no such command; help lists them"),
        ("infoo", "no such command; did you mean info"),
        ("s t", "N is a whole number such as 10 or 0x10, not t"),
        ("step -1", "N is a whole number"),
        ("step 1 2", r"usage: step \[N\]"),
        ("hart 5", "no hart 5; there are harts 0 to 1"),
        ("hart -1", "hart is a whole number"),
        ("hart x", "hart is a whole number such as 10 or 0x10, not x"),
        ("info nosuch", "no subject nosuch; there are: registers"),
        ("info h", "could be harts, hot"),
        ("info csr nosuch", "no CSR nosuch"),
        ("info csr mstatu", "did you mean mstatus"),
        ("info symbols nosuch", "no symbol has nosuch in it"),
        ("translate", "usage: translate ADDRESS"),
        ("translate nosuch", "no symbol 'nosuch'"),
        ("translate lop", "did you mean loop"),
        ("translate loop lod", "no access lod; did you mean load"),
        ("translate $a9", "no register a9"),
        ("disassemble x", "N is a whole number"),
        ("disassemble 8 0", "0x0: not RAM"),
        ("disassemble 9999999999", "N is at most 4096"),
        ("x", "80000000: +0"),
        ("x/10q", "x/ takes a count, then b, h, w or g .* as in x/10i, not '10q'"),
        ("x/bw loop", "x/ takes a count"),
        ("x/99999999999 loop", "the count is at most 4096"),
        ("x/4w 0", "0x0: not RAM"),
        ("x/4w", "80000000:"),
        ("x/4w loop loop", "usage: x/NF ADDRESS"),
        ("x/4w -5", "address: -5 is not between"),
        ("x/4w 99999999999999999999999", "is not between 0 and 0xffffffffffffffff"),
        ("help nosuch", "no such command"),
        ("save", "usage: save FILE"),
        ("save /nosuch/folder/file", "/nosuch/folder"),
        ("continue now", "usage: continue"),
        ('save "x', "a quotation mark has no partner"),
    ],
)
def test_what_is_wrong_is_said_in_plain_words(machine: rvvm.Machine, line: str, words: str) -> None:
    said = answer(machine, line)
    assert re.search(words, said), said
    assert not PYTHON_WORDS.search(said), said


@pytest.mark.parametrize(
    ("line", "pattern"),
    [
        ("x/10i", r"> 8000000[0-9a-f] (.*\n){9}.*unimp|(.*\n){3}"),
        ("x/2i loop", r"80000004 +loop .*addi a0, a0, 1\n"),
        ("x/s text", r"80000[0-9a-f]+: +'hi'$"),
        ("x/2s text", r"'hi'\n.*: +''$"),
        ("x/2xw loop", r"80000004: +00150513 "),
        ("x/2gx start", r"^80000000: +[0-9a-f]{16} [0-9a-f]{16}$"),
        ("x/2b loop+1", r"^80000005: +05 15$"),
        ("x/1w $pc", r"^8000"),
        ("translate $mtvec+0x10", r"load 0x10 -> 0x10"),
        ("translate pc fetch", r"fetch 0x8000"),
        ("hart", "hart 0 of 0 to 1"),
        ("help x", r"x/NF ADDRESS"),
        ("info symbols loop", r"0x0000000080000004 +loop"),
        ("disas 1 loop", "addi a0, a0, 1"),
    ],
)
def test_commands(machine: rvvm.Machine, line: str, pattern: str) -> None:
    said = answer(machine, line)
    assert re.search(pattern, said), said


def test_a_chosen_hart_stays_chosen(machine: rvvm.Machine) -> None:
    said = answer(machine, "hart 1", "hart", "info registers", "hart 7", "hart")
    assert said.startswith("hart 1 of 0 to 1\nhart 1  mode M") and said.endswith("hart 1 of 0 to 1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("in", {"info"}),
        ("s", {"save", "step"}),
        ("info sy", {"symbols"}),
        ("i csr mst", {"mstatus", "mstateen0", "mstateen1", "mstateen2", "mstateen3"}),
        ("info symbols lo", {"loop"}),
        ("x/4i lo", {"loop"}),
        ("x/4i $s1", {"$s1", "$s10", "$s11"}),
        ("translate $mepc", {"$mepc"}),
        ("translate loop f", {"fetch"}),
        ("disassemble 8 l", {"loop"}),
        ("hart ", {"0", "1"}),
        ("help tr", {"translate"}),
        ("nosuch x", set()),
        ("continue x", set()),
    ],
)
def test_completions(machine: rvvm.Machine, text: str, words: set[str]) -> None:
    assert set(Monitor(machine).completions(text)) == words


def test_files_are_completed(machine: rvvm.Machine, tmp_path: Path) -> None:
    (tmp_path / "one[1]").touch()
    (tmp_path / "two").mkdir()
    assert Monitor(machine).completions(f"save {tmp_path}/o") == [f"{tmp_path}/one[1]"]
    assert Monitor(machine).completions(f"save {tmp_path}/t") == [f"{tmp_path}/two/"]


def test_pasted_lines_are_commands_each(machine: rvvm.Machine) -> None:
    said: list[str] = []
    lines = iter(["hart 1\nhart\n", "c\nhart"])
    assert Monitor(machine, lambda prompt: next(lines), said.append).loop() is Next.CONTINUE
    assert said == ["hart 1 of 0 to 1"]


def test_without_a_terminal_lines_are_read_plainly(tmp_path: Path) -> None:
    program = elves.write(tmp_path / "spin.elf", elves.SPIN)
    done = run_rvvm("--monitor", program, stdin=b"hart\nquit\n")
    assert done.returncode == 0 and b"(rvvm) hart 0 of 0 to 0\n(rvvm) " in done.stdout
    assert b"\x1b" not in done.stdout


def test_a_machine_does_not_import_the_line_editor() -> None:
    code = "import sys, rvvm; rvvm.Machine(); import rvvm.py.cli; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=True
    )
    assert "rvvm.py.monitor" in done.stdout and "prompt_toolkit" not in done.stdout


class AtTerminal:
    """A machine whose monitor is open, in a pseudoterminal."""

    def __init__(self, folder: Path, source: str = elves.SPIN) -> None:
        program = elves.write(folder / "program.elf", source)
        self.child = pexpect.spawn(
            sys.executable,
            ["-m", "rvvm", "--monitor", str(program)],
            timeout=60,
            env={**ENVIRONMENT, "RVVM_CACHE": str(folder), "TERM": "xterm"},
        )
        self.child.expect_exact("(rvvm) ")

    def is_raw(self) -> bool:
        local = termios.tcgetattr(self.child.child_fd)[3]
        return not local & (termios.ECHO | termios.ICANON | termios.ISIG)

    def ask(self, keys: str, answer: str) -> None:
        self.child.send(keys)
        self.child.expect(answer)
        self.child.expect_exact("(rvvm) ")

    def end(self) -> int:
        self.child.expect(pexpect.EOF)
        self.child.close()
        status = self.child.exitstatus
        return status if status is not None else 128 + (self.child.signalstatus or 0)


def test_lines_are_edited_completed_and_remembered(tmp_path: Path) -> None:
    at = AtTerminal(tmp_path)
    at.ask("hrt\x1b[D\x1b[Da\r", "hart 0 of 0 to 0")  # two to the left, and the letter
    at.ask("inf\tsymb\tsta\t\r", r"0x0000000080000000 +start")
    at.ask("\x1b[A\x1b[A\r", "hart 0 of 0 to 0")
    at.ask("nonsense\x03", r"\r\n")  # Ctrl-C gives the line up
    at.child.send("\x1b[A\x1b[A\r")
    at.child.expect(r"0x0000000080000000 +start")
    at.child.expect_exact("(rvvm) ")
    at.child.sendline("quit")
    assert at.end() == 0
    assert (tmp_path / "monitor-history").read_text().splitlines()[:2] == [
        "hart",
        "info symbols start",
    ]
    again = AtTerminal(tmp_path)
    again.ask("\x1b[A\x1b[A\r", r"0x0000000080000000 +start")
    again.child.sendline("quit")
    assert again.end() == 0


def test_the_terminal_is_not_asked_where_its_cursor_is(tmp_path: Path) -> None:
    at = AtTerminal(tmp_path)
    at.child.sendline("quit")
    assert at.end() == 0
    assert "\x1b[6n" not in str(at.child.before)


def test_keys_behind_continue_are_the_guest_s(tmp_path: Path) -> None:
    at = AtTerminal(tmp_path, elves.ECHO)
    at.child.send("continue\rabcq")  # q ends it
    assert at.end() == 0
    assert "abcq" in str(at.child.before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_puts_the_terminal_back(tmp_path: Path, number: signal.Signals) -> None:
    at = AtTerminal(tmp_path)
    at.child.kill(number)
    assert at.end() == 128 + number


def test_end_of_input_goes_on_and_the_keyboard_is_raw_again(tmp_path: Path) -> None:
    at = AtTerminal(tmp_path)
    assert not at.is_raw()
    at.child.send("\x04")
    for _ in range(600):
        if at.is_raw():
            break
        time.sleep(0.05)
    at.child.send("\x01x")
    assert at.end() == 0
