"""Debian's kernel on the packaged board: a shell, KVM's module, power-off."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

import rvvm

pytestmark = pytest.mark.xdist_group("debian")
PROMPT = re.compile(r"[#$] $")


@pytest.fixture(scope="module")
def debian() -> Iterator[rvvm.Machine]:
    """A machine at its shell prompt."""
    machine = rvvm.Machine(kernel="debian", memory="512M", append="console=ttyS0 earlycon=sbi")
    machine.console.expect(PROMPT, timeout=600)
    yield machine


def shell(machine: rvvm.Machine, command: str, timeout: float = 120) -> str:
    """What a command prints."""
    machine.console.send(f"{command}; echo status=$?\n")
    text = machine.console.expect(re.compile(r"status=(\d+)\r?\n"), timeout)
    machine.console.expect(PROMPT, timeout)
    return text


def test_uname(debian: rvvm.Machine) -> None:
    assert re.search(r"Linux .* riscv64 GNU/Linux", shell(debian, "uname -a"))


def test_the_kernel_is_in_supervisor_mode(debian: rvvm.Machine) -> None:
    assert debian.harts[0].mode in ("HS", "U")
    assert debian.harts[0].csr.satp.MODE == 9, "Sv48, as the board's mmu-type says"
    assert debian.harts[0].csr.menvcfg.ADUE == 1


def test_every_extension_is_seen(debian: rvvm.Machine) -> None:
    isa = shell(debian, "grep isa /proc/cpuinfo")
    for extension in ("rv64imafdch", "zba", "sstc", "svpbmt"):
        assert extension in isa


def test_kvm_module_finds_the_hypervisor_extension(debian: rvvm.Machine) -> None:
    text = shell(debian, "modprobe kvm; dmesg | tail -n 12")
    assert "hypervisor extension available" in text
    assert "using Sv48x4 G-stage" in text


def test_a_guest_of_kvm(debian: rvvm.Machine) -> None:
    """firmware/kvm_smoke: a guest in VS-mode prints by the SBI, faults in the G-stage and ends."""
    text = shell(debian, "./kvm_smoke")
    assert "hello from VS-mode under KVM" in text
    assert "load of 4 bytes at guest-physical" in text
    assert "kvm_smoke: PASS" in text and "status=0" in text


def test_ctrl_c_ends_a_command(debian: rvvm.Machine) -> None:
    debian.console.send("echo sl''eeps; sleep 1000\n")
    debian.console.expect("sleeps", 60)
    debian.run(until=rvvm.instructions(20_000_000) | rvvm.seconds(1))
    debian.console.send("\x03")
    debian.console.expect(PROMPT, 60)


def test_power_off(debian: rvvm.Machine) -> None:
    debian.console.send("poweroff -f\n")
    stop = debian.run(timeout=120)
    assert (stop.reason, stop.detail) == ("halt", 0)
