"""Bad input: one clear line that names the thing, status 2, no traceback, nothing half-started."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import rvvm
from machine import elves
from rvvm.py.cli import main
from rvvm.py.resources import resource

SPIN = elves.SPIN


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a good program in it, as the working folder."""
    elves.write(tmp_path / "good.elf", SPIN)
    elves.write(tmp_path / "silent.elf", SPIN.replace("start", "other"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def board(change: Callable[[str], str]) -> str:
    """The packaged board with something changed, as board.dts; the change must change something."""
    text = resource("devicetree/virt.dts").read_text()
    changed = change(text)
    assert changed != text
    Path("board.dts").write_text(changed)
    return "board.dts"


def without(pattern: str) -> Callable[[str], str]:
    return lambda text: re.sub(pattern, "", text, count=1, flags=re.DOTALL)


def instead(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new, 1)


RUN = ("--bios", "none", "--kernel", "good.elf")


def complaint(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line; everything else about the complaint is checked here."""
    status = main(arguments)
    out, err = capfd.readouterr()
    assert status == 2, (out, err)
    assert out == ""
    assert re.fullmatch(r"rvvm: [^\n]+\n", err), err
    assert "Traceback" not in err
    return err.removeprefix("rvvm: ").strip()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--dtb nowhere.dts", "nowhere.dts: No such file"),
        ("--load saved program.elf", "program.elf: --load saved has a program already"),
        ("--load nowhere", "nowhere: No such file"),
        ("--load .", ".: Is a directory"),
        ("--load /dev/null", "/dev/null: no saved machine"),
        ("--kernel nowhere.elf --bios none", "nowhere.elf: no such file"),
        ("--kernel dir/nowhere.elf", "dir/nowhere.elf: no such file"),
        ("--kernel fedora --bios none", "no image of that name"),
        ("--kernel good.elf --bios nowhere.bin", "--bios: nowhere.bin: no such file"),
        ("--kernel good.elf --bios none --initrd nowhere.cpio", "--initrd: nowhere.cpio"),
        ("nowhere.elf", "nowhere.elf: no such file"),
        ("--kernel . --bios none", "a directory"),
        ("--dtb . --kernel good.elf --bios none", "directory"),
        ("--bios none", "--bios none: name the --kernel"),
        ("--initrd good.elf", "there is no --kernel"),
        ("--append quiet", "there is no --kernel"),
        ("good.elf --kernel good.elf", "there is a --kernel already"),
        ("--kernel good.elf --kernel good.elf --bios none good.elf", "already"),
        ("--memory lots good.elf", "--memory lots"),
        ("--memory 0 good.elf", "memory"),
        ("--memory 1001B good.elf", "--memory 1001B"),
        ("--memory 100000T good.elf", "memory"),
        ("--memory 4K good.elf", "good.elf|room"),
        ("--harts 0 good.elf", "0 harts"),
        ("--harts -1 good.elf", "-1 harts"),
        ("--harts many good.elf", "'many' is not a valid integer"),
        ("--clock sundial good.elf", "'sundial' is not one of"),
        ("--accel warp good.elf", "--accel warp"),
        ("--accel kvm good.elf", "not in this version"),
        ("--accel unicorn --harts 2 good.elf", "one hart"),
        ("--nonsense", "No such option"),
        ("good.elf good.elf", "unexpected extra argument"),
        ("--kernel", "requires an argument"),
        ("--signature out.txt good.elf", "no symbol begin_signature"),
        ("--signature-granularity 3 --signature out.txt good.elf", "granularity 3"),
        ("--log-commits nowhere/log good.elf", "nowhere/log: No such file"),
        ("--max-instructions 0 good.elf", "max-instructions"),
        ("--max-instructions soon good.elf", "'soon' is not a valid integer"),
        ("--max-instructions 1e9 good.elf", "max-instructions"),
        ("--signature-granularity 3 good.elf", "granularity 3"),
        (f"--kernel {'k' * 5000}", "File name too long"),
        ("--bios good.elf --kernel good.elf", "good.elf overlaps good.elf at 0x80000000"),
        ("--harts 513 good.elf", "at most 512"),
        ("-kernel good.elf", "-kernel: options have two dashes here: --kernel"),
        ("images fetch fedora", "no image fedora"),
        ("images nonsense", "No such command"),
    ],
)
def test_arguments(
    place: Path, capfd: pytest.CaptureFixture[str], arguments: str, says: str
) -> None:
    assert re.search(says, complaint(capfd, *arguments.split()))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without(r"cpus \{.*?cpu-map"), "board.dts"),
        (instead('device_type = "cpu";', ""), "cpu"),
        (without(r"memory@80000000 \{.*?\};"), "no memory node"),
        (instead("};", "}"), r"board.dts:\d+"),
        (instead("&uart0", "&uart7"), "uart7"),
        (
            instead('"ns16550a"', '"acme,uart"'),
            r"board.dts:\d+: .*acme,uart; known: .*ns16550a.* skips a",
        ),
        (instead("0x0 0x10000000 0x0 0x100", "0x0 0x2000000 0x0 0x100"), "overlaps"),
        (instead("0x0 0x10000000 0x0 0x100", "0x0 0x80001000 0x0 0x100"), "overlaps"),
        (instead("0x0 0x10000000 0x0 0x100", "0x0 0x10000000 0x0 0x0"), "size 0"),
        (instead('"zicond"', '"zinonsense"'), "zinonsense"),
        (instead('"i", "m"', '"m"'), "does not list i"),
        (instead('"rv64i"', '"rv32i"'), "rv32i"),
        (instead('"riscv,sv48"', '"riscv,sv99"'), "sv99"),
        (instead("cboz-block-size = <64>", "cboz-block-size = <128>"), "only 64 is implemented"),
        (instead("0x0 0x40000000", "0x0 0x40000001"), "4 KiB"),
        (instead("/soc/serial@10000000", "/soc/serial@0"), "and there is no such"),
        (instead("/soc/serial@10000000", "/soc/rtc@101000"), "no serial device in use"),
        (instead("timebase-frequency = <10000000>", "timebase-frequency = <0>"), "timebase"),
        (
            instead("ranges;", ""),
            r"board.dts:\d+: /soc: has no ranges, so that no hart reaches \S+ \(\S*board.dts:\d+\);"
            r".*add: ranges;",
        ),
        (instead("/dts-v1/;", '/dts-v1/;\n#include "nowhere.dtsi"'), r"board.dts:\d+.*nowhere"),
        (lambda _: "", "board.dts"),
        (lambda _: "\0\1\2 this is no devicetree", "board.dts"),
        (lambda _: "/dts-v1/; / { };", "board.dts"),
    ],
)
def test_boards(
    place: Path, capfd: pytest.CaptureFixture[str], change: Callable[[str], str], says: str
) -> None:
    assert re.search(says, complaint(capfd, "--dtb", board(change), *RUN))


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (elves.elf(b"c" * 4, bits=32), "32-bit"),
        (elves.elf(b"c" * 4, machine=elves.EM_X86_64), "not for RISC-V"),
        (elves.elf(b"c" * 4, kind=1), "not linked"),
        (elves.elf(b"c" * 4)[:100], "bad.elf"),
        (elves.elf(b"c" * 4, address=0x1000), "not in RAM"),
        (elves.elf(b"c" * 4, bss=1 << 40), "not in RAM"),
        (b"#!/bin/sh\n", "not an ELF"),
        (b"", "empty"),
        (b"\x1f\x8bnot really gzip", "gzip"),
    ],
)
def test_programs(place: Path, capfd: pytest.CaptureFixture[str], image: bytes, says: str) -> None:
    Path("bad.elf").write_bytes(image)
    line = complaint(capfd, "bad.elf")
    assert re.search(says, line) and "bad.elf" in line


def _at(offset: int, magic: bytes, size: int = 0x9000) -> bytes:
    return (bytes(offset) + magic).ljust(size, b"\0")


_EFI = bytearray(_at(0x40, b"PE\0\0\x64\x86"))
_EFI[:2], _EFI[0x3C] = b"MZ", 0x40


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (_at(56, b"ARM\x64"), "kernel for arm64, not for RISC-V"),
        (_at(0x202, b"HdrS"), "kernel for x86, not for RISC-V"),
        (_at(0x24, b"\x18\x28\x6f\x01"), "32-bit ARM"),
        (bytes(_EFI), "an EFI program for x86-64, not for RISC-V"),
        (_at(0, b"MZ\0\0zimg"), "EFI image with a compressed kernel"),
        (_at(0, b"\xfd7zXZ\0"), "xz -d"),
        (_at(0, b"\x28\xb5\x2f\xfd"), "zstd -d"),
        (_at(0, b"BZh9"), "bzip2 -d"),
        (_at(0, b"\xd0\x0d\xfe\xed"), "--dtb takes"),
        (_at(0, b"070701"), "--initrd takes"),
        (_at(0, b"QFI\xfb"), "--drive takes"),
        (_at(0x8001, b"CD001"), "ISO 9660"),
        (_at(0, b"!<arch>\n"), "Debian package"),
        (gzip.compress(_at(56, b"ARM\x64")), "kernel for arm64"),
    ],
)
def test_kernels_of_other_kinds(
    place: Path, capfd: pytest.CaptureFixture[str], image: bytes, says: str
) -> None:
    Path("Image").write_bytes(image)
    line = complaint(capfd, "--bios", "none", "--kernel", "Image")
    assert line.startswith("--kernel: Image: ") and says in line


def test_a_tree_without_a_timebase(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The binding wants it, and Linux panics without it: a default that guests see, and a line."""
    changed = board(without("timebase-frequency = <10000000>;"))
    machine = rvvm.Machine(dtb=changed, kernel="good.elf", bios="none")
    said = capfd.readouterr().err
    assert re.fullmatch(
        r"rvvm: \S*board.dts:\d+: /cpus: has no timebase-frequency, .* = <10000000>;\n", said
    )
    (at,) = (start for start, _, what in machine.memory.loaded() if what == "devicetree")
    assert b"timebase-frequency\0" in bytes(machine.memory[at : at + 0x4000])


def test_file_in_itself(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    changed = board(instead("/dts-v1/;", '/dts-v1/;\n/include/ "board.dts"'))
    assert "board.dts:2: recursive /include/" in complaint(capfd, "--dtb", changed, *RUN)


def test_file_in_itself_in_a_folder(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What dtlib's own check misses."""
    changed = board(instead("/dts-v1/;", '/dts-v1/;\n/include/ "board.dts"'))
    Path("folder").mkdir()
    moved = Path(changed).rename("folder/board.dts")
    assert "nested too deeply" in complaint(capfd, "--dtb", moved, *RUN)


def test_empty_name(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert complaint(capfd, "--kernel", "") == "--kernel: the name is empty"


def test_damaged_blob(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("board.dtb").write_bytes(bytes.fromhex("d00dfeed") + bytes(40))
    assert "board.dtb" in complaint(capfd, "--dtb", "board.dtb", *RUN)


def test_kernel_too_big(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("big").write_bytes(bytes(17 << 20))
    line = complaint(capfd, "--kernel", "big", "--bios", "none", "--memory", "16M")
    assert line.startswith("big: ") and "not in RAM" in line


def test_initrd_without_room(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("big").write_bytes(bytes(17 << 20))
    assert "do not fit" in complaint(capfd, *RUN, "--initrd", "big", "--memory", "16M")


def test_a_tree_that_does_not_fit(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    changed = board(instead('model = "rvvm virt";', f'model = "{"x" * 3_000_000}";'))
    assert "there is room for" in complaint(capfd, "--dtb", changed, *RUN)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("good.elf").chmod(0)
    assert "good.elf: Permission denied" in complaint(capfd, *RUN)


def test_unwritable_signature(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    elves.write(place / "signs.elf", elves.SIGNATURE)
    line = complaint(capfd, "--signature", "nowhere/out", "signs.elf")
    assert line == "--signature: nowhere/out: No such file or directory"
