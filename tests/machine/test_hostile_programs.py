"""Images that would take the host's memory or time, or are no files: one line, and soon."""

from __future__ import annotations

import gzip
import os
import random
import resource
import struct
import subprocess
import threading
from functools import partial
from pathlib import Path

import pytest

from cli.run import COMMAND, ENVIRONMENT
from machine import elves, forged_programs
from rvvm.py import boot, inputs
from rvvm.py.errors import UserError
from rvvm.py.program import read_program
from rvvm.py.resources import resource as packaged
from rvvm.py.tree import Region

RAM = Region(0x8000_0000, 64 << 20)
ADDRESS_SPACE = 1 << 30  # of a process with its libraries and a machine of 4 MiB


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    elves.write(tmp_path / "good.elf", elves.GREETING)
    return tmp_path


def segments(rows: list[tuple[int, int, int, int]], size: int = 2 << 20) -> bytes:
    """An ELF with these segments: offset, address, bytes in the file and in memory."""
    header = bytearray(elves.elf(b"")[:64])
    struct.pack_into("<Q", header, 40, 0)  # no sections
    struct.pack_into("<H", header, 56, len(rows))
    struct.pack_into("<HH", header, 60, 0, 0)
    table = b"".join(
        struct.pack("<2I6Q", 1, 7, offset, address, address, in_file, in_memory, 1)
        for offset, address, in_file, in_memory in rows
    )
    return (bytes(header) + table).ljust(size, b"\0")


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (segments([(4096, 0x8000_0000, 1000, 16)]), "1000 bytes for 16 of memory"),
        (segments([(4096, 0x8000_0000, 1 << 20, 1 << 20)] * 20_000), "two segments at 0x80000000"),
        (
            segments([(4096, 0x8000_0000 + (n << 20), 1 << 20, 1 << 20) for n in range(20_000)]),
            "is not in RAM",
        ),
        (segments([(1 << 63, 0x8000_0000, 1, 1)]), "the file is cut short"),
        (segments([(0, (1 << 64) - 4096, 4096, 1 << 63)]), "is not in RAM"),
        (segments([(0, 0x8000_0000, 0, (1 << 64) - 1)]), "is not in RAM"),
        (gzip.compress(bytes(1 << 30), 1) * 6, "unpacked, which is all there is room for"),
        (gzip.compress(b"whole") + gzip.compress(b"second")[:-6], "it is cut short"),
    ],
    ids=["filesz", "one place", "20 GB", "offset", "wraps", "bss", "gzip", "cut"],
)
def test_a_file_that_stands_for_more_than_there_is(image: bytes, says: str) -> None:
    Path("bad").write_bytes(image)
    limit = partial(resource.setrlimit, resource.RLIMIT_DATA, (ADDRESS_SPACE, ADDRESS_SPACE))
    done = subprocess.run(
        [*COMMAND, "--accel", "interp", "--bios", "none", "--kernel", "bad", "--memory", "64M"],
        env=ENVIRONMENT,
        capture_output=True,
        timeout=120,
        preexec_fn=limit,
    )
    assert done.returncode == 2, done.stderr
    assert says in done.stderr.decode() and done.stderr.count(b"\n") == 1


def test_an_elf_is_not_copied_until_it_is_placed() -> None:
    """The same megabyte at many places costs nothing before it is known that they are RAM."""
    Path("bad").write_bytes(
        segments([(4096, 0x8000_0000 + (n << 20), 1 << 20, 1 << 20) for n in range(20_000)])
    )
    program = read_program("bad", "--kernel")
    assert len({id(it.data.obj) for it in program.segments}) == 1  # type: ignore[union-attr]


def test_an_elf_that_changes_is_not_started_again() -> None:
    """Its segments are views of the file, as those of other big images."""
    image = bytearray(elves.elf(bytes(2 << 20)))
    Path("big.elf").write_bytes(image)
    plan = boot.make_plan(boot.Images(kernel=Path("big.elf")), [RAM], 0)
    plan.segments[0].check()
    with open("big.elf", "r+b") as file:
        file.truncate(100)
    with pytest.raises(UserError, match=r"big\.elf: changed while the machine used it"):
        plan.segments[0].check()


GOOD = ("--bios", "none", "--kernel", "good.elf")
NOT_FILES = [
    (*("--bios", "none", "--kernel"), "{}"),
    ("--bios", "{}", "--kernel", "good.elf"),
    (*GOOD, "--initrd", "{}"),
    (*GOOD, "--dtb", "{}"),
    (*GOOD, "--drive", "{}"),
    (*GOOD, "--drive", "file={},format=qcow2"),
    ("--drive", "{}"),
    ("--load", "{}"),
    ("{}",),
]


@pytest.mark.parametrize("what", ["/dev/zero", "pipe", "folder"])
@pytest.mark.parametrize("arguments", NOT_FILES, ids=" ".join)
def test_what_is_no_file(
    arguments: tuple[str, ...],
    what: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from rvvm.py.cli import main

    os.mkfifo("pipe")
    Path("folder").mkdir()
    monkeypatch.setattr(inputs, "_PATIENCE", 0.2)
    assert main([word.format(what) for word in arguments]) == 2
    line = capfd.readouterr().err
    assert line.startswith("rvvm: ") and line.count("\n") == 1 and what in line


def test_a_pipe_is_read_to_its_end_and_no_further() -> None:
    """As of a shell's <(zcat Image.gz), also when its writer comes late."""
    os.mkfifo("pipe")
    for size, fits in ((3 << 20, True), (5 << 20, False)):

        def write(size: int = size) -> None:
            try:
                with open("pipe", "wb") as file:
                    file.write(bytes(size))
            except BrokenPipeError:
                pass

        writer = threading.Timer(0.3, write)
        writer.start()
        if fits:
            assert len(inputs.read("pipe", "--kernel: ", 4 << 20)) == size
        else:
            with pytest.raises(UserError, match="--kernel: pipe: more than 4,194,304 bytes"):
                inputs.read("pipe", "--kernel: ", 4 << 20)
        writer.join()


def test_gzip_members_follow_each_other() -> None:
    packed = gzip.compress(b"one") + gzip.compress(b"") + gzip.compress(b"two") + bytes(700)
    assert inputs.gunzip(packed, "name", 6) == b"onetwo"
    with pytest.raises(UserError, match="more than 5 bytes unpacked"):
        inputs.gunzip(packed, "name", 5)
    pick = random.Random(30)
    for size in (1 << 20, (3 << 20) - 1, 5 << 20):
        whole = pick.randbytes(size // 2) + bytes(size // 2)
        assert inputs.gunzip(gzip.compress(whole, 1) * 3, "name", 1 << 24) == whole * 3


def test_a_whole_elf_is_what_it_was() -> None:
    """What our own reader finds is what pyelftools does."""
    from elftools.elf.elffile import ELFFile

    path = packaged("firmware/hello.elf")
    found = read_program(path, "--kernel")
    with path.open("rb") as file:
        known = ELFFile(file)
        wanted = [it for it in known.iter_segments("PT_LOAD") if it.header.p_memsz]
        assert [(it.address, bytes(it.data), it.size) for it in found.segments] == [
            (it.header.p_paddr, it.data(), it.header.p_memsz) for it in wanted
        ]
        shown = {"STT_FUNC", "STT_OBJECT", "STT_NOTYPE"}
        symbols = {
            it.name: it.entry.st_value
            for it in known.get_section_by_name(".symtab").iter_symbols()
            if it.name and not it.name.startswith(("$", ".L"))
            and it.entry.st_shndx != "SHN_UNDEF" and it.entry.st_info.type in shown
        }  # fmt: skip
        assert dict(found.symbols) == symbols and found.entry == known.header.e_entry


@pytest.mark.parametrize("seconds", [3, pytest.param(300, marks=pytest.mark.long)])
def test_forged_programs_are_one_line_or_in_ram(folder: Path, seconds: float) -> None:
    forged_programs.run(folder, seconds, first=random.randrange(1 << 30))
