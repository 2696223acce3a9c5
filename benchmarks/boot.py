"""Debian to the shell's prompt, on rvvm and QEMU by turns: ``python -m benchmarks.boot``."""

from __future__ import annotations

import click

import rvvm
from benchmarks import guest, qemu
from benchmarks.side_by_side import Report, Spread, alternate, speed


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


@click.command(help=__doc__)
@click.option("--runs", default=5, show_default=True, help="Boots of each.")
@click.option("--json", "json_file", metavar="FILE", help="The figures as JSON; - for stdout.")
def main(runs: int, json_file: str | None) -> None:
    software = guest.Software.debian()
    contestants = {name: guest.booter(words) for name, words in guest.commands(software).items()}
    results = alternate(contestants, runs)
    instructions = retired(software)
    report = Report(
        f"Boot to the shell: {instructions / 1e6:,.0f} M instructions, {runs} runs by turns",
        *("", "rvvm", "QEMU", "rvvm's speed"),
        about={"qemu": qemu.find().version, "instructions": instructions},
    )
    for row, which in (("first console byte, s", 0), ("prompt, s", 1)):
        ours, theirs = ([run[which] for run in results[name]] for name in ("rvvm", "qemu"))
        report.add(row, Spread.of(ours), Spread.of(theirs), speed(ours, theirs))
    mips = {
        name: Spread.of(instructions / run[1] / 1e6 for run in results[name]) for name in results
    }
    report.add("MIPS (wall time, start included)", mips["rvvm"], mips["qemu"], None)
    report.show(json_file)


if __name__ == "__main__":
    main()
