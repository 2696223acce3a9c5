"""Cloud-configs of somebody else's: plain data of a size that people write, or one line."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from rvvm.py import inputs
from rvvm.py.errors import UserError
from rvvm.py.images import safe_yaml
from rvvm.py.images.recipe import Recipe
from rvvm.py.images.user_data import apply

WHOLE = """#cloud-config
hostname: buildbox
packages: [git, make]
ssh_authorized_keys: [ssh-ed25519 AAAA me@host]
users:
  - default
  - {name: ada, groups: [sudo], sudo: "ALL=(ALL) NOPASSWD:ALL", plain_text_passwd: engine}
write_files:
  - {path: /etc/motd, content: "Welcome\\n", owner: "root:root", permissions: "0644"}
runcmd:
  - [touch, /root/was-here]
  - date 2024-01-01
"""


def read(text: str | bytes, folder: Path) -> Recipe:
    path = folder / "config"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return apply(Recipe(), path)


def bomb(levels: int, merge: bool = False) -> str:
    word = "<<: " if merge else "x: "
    lines = ["a0: &a0 {k: v}"]
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} {{ {word}[{', '.join([f'*a{level - 1}'] * 10)}] }}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("write_files: [{path: 2024-01-01 25:61:61}]", "not an absolute path|expected|line"),
        ("hostname: !!int abc", "not YAML"),
        ("hostname: !!float abc", "not YAML"),
        ("hostname: !!bool abc", "not YAML"),
        ("hostname: !!binary '%%%'", "the tag !!binary is not known here"),
        ("hostname: !!python/object/apply:os.system [id]", "the tag !!python.* is not known here"),
        ("hostname: !mine x", "the tag !mine is not known here"),
        ("hostname: !!set {a, b}", "the tag !!set"),
        ("hostname: 1:99:99", "hostname"),
        ("? [a]\n: b", "not YAML"),
        ("? {a: b}\n: b", "not YAML"),
        ("a: &a [*a]", "within itself"),
        ("&a {hostname: *a}", "within itself"),
        ("hostname: " + "[" * 50 + "]" * 50, "nested more than 20 deep"),
        ("hostname: " + "[" * 100_000, "nested too deeply|not YAML"),
        ("hostname: " + "- " * 5000, "nested|not YAML"),
        (bomb(30), "stands for more than 20000 values"),
        (bomb(30, merge=True), "stands for more than 20000 values"),
        ("a: &a " + "x" * 900_000 + "\nb: [" + "*a, " * 100 + "]", "stands for more than"),
        ("hostname: " + "9" * 5000, "not YAML|hostname"),
        ("hostname: \ud800".encode(errors="surrogatepass"), "not YAML"),
        (b"\xff\xfe\x00", "not YAML"),
        (b"hostname: a\0b", "not YAML"),
        ("x" * (2 << 20), "more than 1,048,576 bytes"),
        ("--- a\n--- b", "not YAML"),
        ("5", "expected keys and values"),
        ("", "expected keys and values"),
        ("packages: {a: b}", "expected a list"),
        ("users: [[[]]]", "expected keys and values"),
        ("write_files: [{path: /../etc/x}]", "not an absolute path"),
        ("1: 2", "1: not supported here"),
        ("null: 2", "None: not supported here"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_one_line_and_soon(text: str | bytes, says: str, tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(UserError, match=says) as caught:
        read(text, tmp_path).check()
    assert "\n" not in str(caught.value) and time.monotonic() - begun < 30


def test_a_date_is_the_text_that_was_written(tmp_path: Path) -> None:
    assert safe_yaml.load("[2024-01-01, 2024-01-01 10:20:30]") == [
        "2024-01-01",
        "2024-01-01 10:20:30",
    ]
    assert read(WHOLE, tmp_path).commands[1] == "date 2024-01-01"
    assert read("runcmd: [2024-13-45, !!timestamp soon]", tmp_path).commands == (
        "2024-13-45",
        "soon",
    )


def test_aliases_and_merges_of_a_usual_size_are_taken() -> None:
    text = "a: &a {k: 1, l: 2}\nb: {<<: *a, l: 3}\nc: [*a, *a]"
    assert safe_yaml.load(text) == {
        "a": {"k": 1, "l": 2},
        "b": {"k": 1, "l": 3},
        "c": [{"k": 1, "l": 2}] * 2,
    }


def test_what_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "_PATIENCE", 0.2)
    os.mkfifo(tmp_path / "pipe")
    for name in ("/dev/zero", tmp_path / "pipe", tmp_path):
        with pytest.raises(UserError, match="^--user-data: "):
            apply(Recipe(), Path(name))


@pytest.mark.parametrize("seconds", [3, pytest.param(300, marks=pytest.mark.long)])
def test_forged_configs_are_one_line_or_a_recipe(seconds: float, tmp_path: Path) -> None:
    """Pieces of the language put into a good file."""
    pieces = [
        *"[]{}:,-?&*!|>'\"%@`#\n\t\0", "<<: ", "&a ", "*a ", "!!int ", "!!timestamp ", "- " * 30,
        "2024-99-99", "0x", "1e999", "~", "\u2028", "\x85", "---\n", "...\n", "[" * 40,
    ]  # fmt: skip
    seed = random.randrange(1 << 30)
    begun, rounds = time.monotonic(), 0
    while time.monotonic() - begun < seconds:
        rng = random.Random(seed + rounds)
        text = WHOLE
        for _ in range(rng.choice((1, 1, 2, 6))):
            at = rng.randrange(len(text))
            text = text[:at] + rng.choice(pieces) + text[at + rng.choice((0, 0, 1, 20)) :]
        try:
            read(text, tmp_path).check()
        except UserError as error:
            assert "\n" not in str(error)
        except BaseException:
            print("seed", seed + rounds, repr(text))
            raise
        rounds += 1
    assert rounds > 10
