"""The guest programs: built for RISC-V, and doing on our machine what they say."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from elftools.elf.elffile import ELFFile

from cli.run import rvvm
from rvvm.py.resources import PACKAGE, resource
from style.tree import ROOT

FOLDER = PACKAGE / "firmware"
BARE = ["hello.elf", "hypervisor.elf"]
BOARD = ROOT / "devicetree/virt.dts"
EXEC, RISCV = "ET_EXEC", "EM_RISCV"


@pytest.mark.parametrize("name", [*BARE, "kvm_smoke"])
def test_built_for_riscv(name: str) -> None:
    with open(resource(f"firmware/{name}"), "rb") as file:
        elf = ELFFile(file)
        assert (elf["e_type"], elf["e_machine"], elf.elfclass) == (EXEC, RISCV, 64)
        names = {segment["p_type"] for segment in elf.iter_segments()}
        assert "PT_INTERP" not in names


@pytest.mark.parametrize("name", BARE)
def test_entry_is_where_ram_starts(name: str) -> None:
    with open(FOLDER / name, "rb") as file:
        assert ELFFile(file)["e_entry"] == 0x80000000


def run(name: str, *arguments: object) -> tuple[int, str]:
    """Exit status and output of a program on the packaged board."""
    done = rvvm("--dtb", BOARD, "--bios", "none", "--kernel", FOLDER / name, *arguments)
    return done.returncode, done.stdout.decode().replace("\r\n", "\n")


def test_hello_tells_what_the_machine_has() -> None:
    status, text = run("hello.elf", "--memory", "256M", "--harts", 2)
    assert status == 0
    assert "Hello! This is firmware/hello, in M-mode" in text
    assert "memory    256 MiB at 0x80000000" in text
    assert "device    ns16550a at 0x10000000" in text
    assert "harts     2: rv64imafdc" in text


def test_hello_on_a_board_without_uart() -> None:
    """Spike's: console and exit by HTIF."""
    board = ROOT / "devicetree/spike.dts"
    done = rvvm("--dtb", board, "--bios", "none", "--kernel", FOLDER / "hello.elf")
    assert done.returncode == 0
    assert b"board     ucbbar,spike-bare" in done.stdout


EXITS = [
    r"store guest-page fault: scause 23, .* htval<<2 0x10000000,",
    r"load guest-page fault: scause 21, .* htval<<2 0x10000000,",
    r"store guest-page fault: scause 23, .* htval<<2 0x801f1000,",
    r"load guest-page fault: scause 21, .* stval 0xc0000000, htval<<2 0x801f0000, htinst 0x3000",
    r"virtual-instruction trap: the guest reads hstatus",
]
"""The exits a hypervisor must see, in the order in which its guest causes them."""


def judge(status: int, text: str) -> None:
    assert status == 0, text
    assert "wrong" not in text.lower(), text
    found = re.findall(r"HS: (store.*|load.*|virtual.*)", text)
    assert len(found) == len(EXITS), text
    for line, exit_ in zip(found, EXITS, strict=True):
        assert re.match(exit_, line), line
    assert text.endswith("hypervisor: PASS\n")


@pytest.mark.parametrize("harts", [1, 3])
def test_hypervisor(harts: int) -> None:
    judge(*run("hypervisor.elf", "--harts", harts))


QEMU = shutil.which("qemu-system-riscv64")


def qemu_version() -> int:
    """The major version; 0 without QEMU."""
    if not QEMU:
        return 0
    said = subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=True).stdout
    return int(said.split("version ")[1].split(".")[0])


@pytest.mark.skipif(
    not 7 <= qemu_version() < 10, reason="needs a QEMU whose M-mode can set mstatus.MPV: before 10"
)
def test_hypervisor_under_qemu() -> None:
    """The program, judged by another machine. Since QEMU 9 h is on by itself."""
    command = [QEMU, "-M", "virt", "-cpu", "rv64,h=true", "-bios", "none", "-nographic"]
    command += ["-kernel", FOLDER / "hypervisor.elf"]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=60)
    judge(done.returncode, done.stdout.decode().replace("\r\n", "\n"))


@pytest.mark.skipif(not QEMU, reason="no QEMU here")
def test_hypervisor_fails_without_the_extension() -> None:
    command = [QEMU, "-M", "virt", "-cpu", "rv64,h=false", "-bios", "none", "-nographic"]
    command += ["-kernel", FOLDER / "hypervisor.elf"]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=60)
    # Not its exit status: QEMU 10 ends with 0 where 7 ended with the finisher's code.
    assert b"this hart has no hypervisor extension" in done.stdout
    assert done.stdout.endswith(b"hypervisor: FAIL\r\n")
