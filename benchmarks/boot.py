"""Debian to the shell's prompt, on several machines by turns: ``python -m benchmarks.boot``.

With ``--disk IMAGE`` to the login prompt of the Debian on a raw disk image, which stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import click

import rvvm
from benchmarks import guest, peer, qemu
from benchmarks.side_by_side import Report, Spread, alternate, speeds

LOGIN = re.compile(rb"login: $")


def retired(software: guest.Software) -> int:
    """Instructions to the prompt, counted in a run of its own.

    Their number depends a little on the machine's speed: a slow one sees more timer interrupts.
    """
    machine = rvvm.Machine(
        kernel=software.kernel,
        bios=software.bios,
        initrd=software.initrd,
        append=guest.APPEND,
        memory=guest.MEMORY,
    )
    machine.console.expect("~ # ", timeout=600)
    return machine.instret


def from_disk(image: str, root: str, runs: int, json_file: str | None) -> None:
    """Both machines from one image, with the kernel and initramfs that rvvm boots disks with."""
    software = guest.Software.debian()
    append = f"root={root} rw console=ttyS0 quiet"
    disk = ["-drive", f"file={image},format=raw,if=none,id=d,snapshot=on"]
    commands = {
        "rvvm": guest.rvvm_command(software, ["--drive", f"file={image}", "--append", append]),
        "QEMU": guest.qemu_command(
            software, [*disk, "-device", "virtio-blk-pci,drive=d", "-append", append]
        ),
    }
    contestants = {name: guest.booter(words, LOGIN) for name, words in commands.items()}
    results = {name: it[1:] for name, it in alternate(contestants, 1 + runs).items()}
    taken = {name: [boot[1] for boot in it] for name, it in results.items()}
    report = Report(
        f"Boot from {image} to the login prompt, {runs} runs by turns",
        *("", *results, "speed over QEMU"),
        about={"qemu": qemu.find().version},
    )
    ratio = Spread.of(speeds(taken["rvvm"], taken["QEMU"]))
    report.add("login prompt, s", *map(Spread.of, taken.values()), ratio)
    report.show(json_file)


@click.command(help=__doc__)
@click.option("--runs", default=5, show_default=True, help="Boots of each.")
@click.option("--disk", metavar="IMAGE", help="Boot from this disk to its login prompt.")
@click.option("--root", default="/dev/vda", show_default=True, help="Its root file system.")
@peer.option
@click.option("--json", "json_file", metavar="FILE", help="The figures as JSON; - for stdout.")
def main(
    runs: int, disk: str | None, root: str, peers: Sequence[peer.Peer], json_file: str | None
) -> None:
    if disk:
        from_disk(disk, root, runs, json_file)
        return
    software = guest.Software.debian()
    commands = peer.commands(software, peers)
    contestants = {name: guest.booter(words) for name, words in commands.items()}
    alternate(contestants, 1)  # files come into the host's cache
    results = alternate(contestants, runs)
    others = [name for name in results if name != "rvvm"]
    instructions = retired(software)
    report = Report(
        f"Boot to the shell: {instructions / 1e6:,.0f} M instructions, {runs} runs by turns",
        *("", *results, *(f"speed over {name}" for name in others)),
        about={"qemu": qemu.find().version, "instructions": instructions},
    )
    for row, which in (("first console byte, s", 0), ("prompt, s", 1)):
        taken = {name: [boot[which] for boot in it] for name, it in results.items()}
        ratios = (Spread.of(speeds(taken["rvvm"], taken[name])) for name in others)
        report.add(row, *map(Spread.of, taken.values()), *ratios)
    mips = (Spread.of(instructions / boot[1] / 1e6 for boot in it) for it in results.values())
    report.add("MIPS (wall time, start included)", *mips, *(None for _ in others))
    report.show(json_file)


if __name__ == "__main__":
    main()
