"""What is started when something is named, and when nothing is: every option of the command line
takes its own words and no others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from machine import elves
from rvvm.py import cli, help
from rvvm.py import options as known
from rvvm.py.resources import resource

PROGRAM = "hi.elf"
NAMED = ("kernel", "bios", "load")
"""Options that say what to start."""


class Asked(Exception):
    """What the machine was to be."""


class Recorder:
    def __init__(self, **options: Any) -> None:
        raise Asked(options)

    @staticmethod
    def load(path: str, **changes: Any) -> None:
        raise Asked({"load": path, **changes})


@pytest.fixture(autouse=True)
def recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elves.write(tmp_path / PROGRAM, elves.SPIN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "Machine", Recorder)
    monkeypatch.setattr(cli.daemon, "daemonize", lambda: lambda: None)
    monkeypatch.setenv(cli.DEFAULT_KERNEL, "debian")


def asked(*words: str) -> dict[str, Any]:
    with pytest.raises(Asked) as asked:
        cli._run(words)
    (options,) = asked.value.args
    assert isinstance(options, dict)
    return options


def spellings() -> Iterator[tuple[click.Option, tuple[str, ...]]]:
    """Every option in every way to write it, with a value where it takes one."""
    for option in cli.machine_command.params:
        if not isinstance(option, click.Option) or option.name == "version":
            continue
        for name in (*option.opts, *option.secondary_opts):
            if option.is_flag:
                yield option, (name,)
                continue
            chosen = option.type.choices[0] if isinstance(option.type, click.Choice) else "4"
            yield option, (name, chosen)
            yield option, (f"{name}={chosen}" if name.startswith("--") else f"{name}{chosen}",)


EVERY = pytest.mark.parametrize(
    ("option", "words"), [pytest.param(*it, id=" ".join(it[1])) for it in spellings()]
)


@EVERY
def test_an_option_leaves_the_program(option: click.Option, words: tuple[str, ...]) -> None:
    if option.name in ("kernel", "load"):
        with pytest.raises(cli.UserError, match=f"{PROGRAM}: .*already"):
            cli._run([*words, PROGRAM])
        return
    for line in ((*words, PROGRAM), (PROGRAM, *words)):
        options = asked(*line)
        assert Path(options["kernel"]).name == PROGRAM
        assert options["bios"] == ("4" if option.name == "bios" else "none")


@EVERY
def test_debian_unless_something_is_named(option: click.Option, words: tuple[str, ...]) -> None:
    expected = {"kernel": "4", "bios": None, "load": None}.get(str(option.name), "debian")
    assert asked(*words).get("kernel") == expected


def test_options_of_a_saved_machine_are_those_that_were_said() -> None:
    assert asked("--load", "it.rvvm", "--commit") == {"load": "it.rvvm", "commit": True}


@pytest.mark.parametrize("named", NAMED)
def test_two_of_a_kind(named: str) -> None:
    options = asked("--monitor", "--commit", f"--{named}", "debian.img", "--no-threads")
    assert options[named] == "debian.img"


def test_without_run_it_is_the_greeting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cli.DEFAULT_KERNEL)
    options = asked("--commit")
    assert (options["kernel"], options["bios"]) == (None, None)


@pytest.mark.parametrize(
    ("program", "kernel", "bios"),
    [
        ("debian", "debian", None),
        ("linux", "linux", None),
        ("u-boot", "u-boot", None),
        ("opensbi", None, "opensbi"),
        ("hypervisor", resource("firmware/hypervisor.elf"), "none"),
        ("hello", resource("firmware/hello.elf"), "none"),
    ],
)
def test_a_name_is_a_program(program: str, kernel: object, bios: str | None) -> None:
    options = asked("--memory", "1G", program)
    assert (options["kernel"], options["bios"]) == (kernel, bios)


def test_a_file_comes_before_a_name() -> None:
    for name in ("hypervisor", "opensbi"):
        elves.write(Path(name), elves.SPIN)
    Path("debian").mkdir()
    assert asked("hypervisor")["kernel"] == Path("hypervisor")
    for program in ("opensbi", "./opensbi"):
        options = asked(program)
        assert known.find(options["kernel"], "--kernel") == Path("opensbi").absolute()
    assert asked("debian")["kernel"] == "debian"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nosuch",), "nosuch: no such file and no program of that name (debian, .*hypervisor)"),
        (("./debian",), "debian: no such file"),
        (("busybox",), "busybox: initramfs.*, not a program; --initrd takes it"),
        (("modules",), "modules: .*, not a program$"),
        (("debian", "--kernel", "x"), "debian: there is a --kernel already .x."),
        (("opensbi", "--bios", "x"), "opensbi: there is a --bios already .x."),
        (("disk.img",), "disk.img: not an ELF; --kernel takes raw images, --drive disks"),
    ],
)
def test_what_is_no_program(words: tuple[str, ...], says: str) -> None:
    Path("disk.img").write_bytes(bytes(4096))
    with pytest.raises(cli.UserError) as error:
        cli._run(words)
    assert re.search(says.replace("(", r"\(").replace(")", r"\)"), str(error.value)), error.value


def test_help_has_every_option_in_one_group() -> None:
    grouped = [name for names in help.GROUPS.values() for name in names]
    options = [it.name for it in cli.machine_command.params if isinstance(it, click.Option)]
    assert sorted(grouped) == sorted(name for name in options if name and name != "version")


@pytest.mark.parametrize(("line", "meaning"), help.EXAMPLES)
def test_examples_of_help(line: str, meaning: str) -> None:
    program, *words = line.split()
    assert program == "rvvm" and asked(*words)
    assert len(line) < 78 and line in CliRunner().invoke(cli.machine_command, ["--help"]).output
