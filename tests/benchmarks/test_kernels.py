"""The benchmarks of kernels: what can be said of them without running them."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

import rvvm
from benchmarks import guest, kernels, peer
from benchmarks.side_by_side import Report


def test_each_kernel_is_in_one_group() -> None:
    source = (kernels.SOURCES / "main.c").read_text()
    known = re.findall(r"X\((?!name\b)(\w+)\)", source)
    assert sorted(kernels.NAMES) == sorted(known)


@pytest.mark.long
@pytest.mark.xdist_group("debian")
def test_no_inner_loop_is_left_to_the_interpreter() -> None:
    """Of what a kernel executes, next to nothing is more than translated code does."""
    program = kernels.compile_for("riscv64-linux-musl")
    m = rvvm.Machine(kernel="debian", initrd=kernels.initramfs(program), memory="512M")
    m.console.expect(re.compile("# $"), timeout=600)
    m.console.send(f"{kernels.SETTLE}\n")
    m.console.expect("settled\r\n", timeout=600)
    for name in ("memory", "floating point", "C library", "indirect"):
        for kernel in kernels.GROUPS[name]:
            before = m.stats()
            m.console.send(f"/{kernels.IN_GUEST} 0.2 {kernel}\n")
            m.console.expect(re.compile(rf"kernel {kernel} \d+ [0-9a-f]{{16}}"), timeout=300)
            after = m.stats()
            spent = {each: after[each] - before[each] for each in ("interpreted", "instructions")}
            assert spent["interpreted"] < spent["instructions"] / 300, (kernel, spent)


def test_means_are_of_whole_groups() -> None:
    rows = [
        kernels.Row(name, {"rvvm": [1.0, 1.0], "other": [2.0, 4.0]})
        for name in (*kernels.GROUPS["indirect"], "nbody")
    ]
    report = Report("", "kernel", "rvvm, s", "other, s", "speed over other")
    kernels.fill(report, rows, ["other"])
    assert [row[0] for row in report.rows] == [*(row.name for row in rows), "mean: indirect"]
    assert str(report.rows[-1][-1]) == "3.00 (2.00-4.00)"


def test_a_peer_is_given_the_same_software(tmp_path: Path) -> None:
    software = guest.Software(tmp_path / "kernel", tmp_path / "bios", tmp_path / "initrd")
    other = peer.Peer.parse("other=emulator -m {memory} -k {kernel} -i {initrd} -a '{append}'")
    assert other.command(software) == [
        *("emulator", "-m", guest.MEMORY, "-k", str(tmp_path / "kernel")),
        *("-i", str(tmp_path / "initrd"), "-a", guest.APPEND),
    ]


@pytest.mark.parametrize("text", ["", "name", "name=", "=command", "rvvm=command"])
def test_a_peer_needs_a_name_of_its_own_and_a_command(text: str) -> None:
    with pytest.raises(click.BadParameter):
        peer.Peer.parse(text)
