"""What the documents say: files and options exist, and the README's Python examples run."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
import types
from pathlib import Path

import click
import pytest

from cli.run import ENVIRONMENT
from rvvm.py.cli import machine_command
from rvvm.py.devices.device import Device
from rvvm.py.image_commands import group
from style.tree import ROOT, files

DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"\w[\w.-]*(/[\w.-]+)*(/|\.(py|hpp|cpp|inc|dts|md|pyi|ld|ipynb))")
PATH_WITHIN = re.compile(r"(?:rvvm|tests|devicetree|firmware|notebooks|benchmarks)/[\w./-]+")
HOMES = ("", "rvvm/core_cpp/", "rvvm/core_cpp/engine/jit/", "rvvm/py/")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
COMMAND = re.compile(r"^\$ .*?(?:\./run|\brvvm) (.*)$|`rvvm (.*?)`", re.MULTILINE)


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def known_paths() -> set[str]:
    """Every file of the project, and every folder of one."""
    names = [path.relative_to(ROOT) for path in files()]
    return {str(place) for name in names for place in (name, *name.parents)}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_named_paths_exist(name: str) -> None:
    words = CODE.findall(FENCE.sub("", text_of(name)))
    named = [word for word in words if PATH.fullmatch(word) or PATH_WITHIN.fullmatch(word)]
    known = known_paths()
    missing = [
        word for word in named if not any(home + word.rstrip("/") in known for home in HOMES)
    ]
    assert not missing


def options_of(command: click.Command) -> set[str]:
    own = {name for parameter in command.params for name in parameter.opts}
    below = command.commands.values() if isinstance(command, click.Group) else ()
    return own.union({"--help"}, *(options_of(child) for child in below))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_named_options_exist(name: str) -> None:
    known = options_of(machine_command) | options_of(group)
    commands = [first or second for first, second in COMMAND.findall(text_of(name))]
    assert not [word for rest in commands for word in OPTION.findall(rest) if word not in known]


def blocks(name: str, kind: str) -> list[str]:
    """The fenced blocks of one language."""
    return [body for language, body in FENCE.findall(text_of(name)) if language == kind]


@pytest.fixture(autouse=True)
def forget_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices that the examples define are known to them alone."""
    monkeypatch.setattr(Device, "known", dict(Device.known))


def test_readme_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks marked pycon are one session, at the top of the tree."""
    monkeypatch.chdir(ROOT)
    session = "\n".join(blocks("README.md", "pycon"))
    example = doctest.DocTestParser().get_doctest(session, {}, "README.md", None, 0)
    said: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=said.append)
    assert result.attempted and not result.failed, "".join(said)


def test_one_kernel() -> None:
    """The README's examples are of one version of Debian's kernel."""
    assert len(set(re.findall(r"\b6\.\d+\.\d+\b", text_of("README.md")))) == 1


def test_example_program(tmp_path: Path) -> None:
    """hi.S is compiled, runs and logs as README says."""
    (source,) = blocks("README.md", "asm")
    (tmp_path / "hi.S").write_text(source)
    (tmp_path / "firmware").symlink_to(ROOT / "firmware")
    shown = "\n```\n".join(blocks("README.md", ""))
    (build,) = re.findall(r"^\$ \.venv/bin/python (-m ziglang (?:.*\\\n)*.*)", shown, re.MULTILINE)
    (run,) = re.findall(r"^\$ rvvm (hi\.elf --.*)\nhi\n", shown, re.MULTILINE)
    for command in (build.replace("\\\n", ""), f"-m rvvm {run}"):
        words = [sys.executable, *command.split()]
        done = subprocess.run(words, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "hi\n"
    for name in ("hi.sig", "hi.log"):
        (lines,) = re.findall(rf"^\$ head -\d {name}\n((?:[^$`\n].*\n)*)", shown, re.MULTILINE)
        assert (tmp_path / name).read_text().startswith(lines)


def test_example_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The device of CONTRIBUTING.md passes its own test."""
    device, test = blocks("CONTRIBUTING.md", "python")
    module = types.ModuleType("rvvm.py.devices.dial")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(device, vars(module))
    tests: dict[str, object] = {}
    exec(test, tests)
    found = [check for name, check in tests.items() if name.startswith("test_")]
    assert found
    for check in found:
        assert callable(check)
        check()
