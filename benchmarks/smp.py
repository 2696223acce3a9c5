"""Harts at the same time: ``python -m benchmarks.smp``, two copies of a kernel against one.

In a guest of several harts a kernel runs alone, and then as many copies at once as there are harts,
on rvvm and on QEMU, which has a thread a hart too. What counts is the work done in a second: with
two harts 2 is perfect, and 1 is what turns in one thread give. On a host that others use it says
little; there look at the CPU time that a copy takes, over what it takes alone.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import click

from benchmarks import guest, qemu
from benchmarks.kernels import IN_GUEST, NAMES, SETTLE, TOUCH, compile_for, initramfs
from benchmarks.side_by_side import Report, Spread, alternate
from rvvm.py.errors import UserError

DEFAULT = ("sieve", "matrix", "nbody", "bytecode", "getppid", "fork", "pingpong")


@dataclass(frozen=True)
class Result:
    """How copies at once compare with one alone."""

    throughput: float
    """Work done in a second, over that of one copy."""
    cost: float
    """CPU time of the host a copy, over that of one copy alone."""


def copies(machine: guest.Guest, name: str, scale: float, count: int) -> tuple[float, float]:
    """Seconds until the last of several copies has ended, and CPU seconds of the host."""
    kernel = f"/{IN_GUEST} {scale} {name}"
    line = rb"kernel \w+ (\d+) ([0-9a-f]{16})\s+"
    before = machine.cpu_seconds
    answer = machine.shell(
        f"({' '.join([kernel + ' &'] * count)} wait)", re.compile(line * count, re.MULTILINE)
    )
    times, sums = answer.groups()[0::2], answer.groups()[1::2]
    if len(set(sums)) > 1:
        raise UserError(f"{name}: checksums of copies differ: {sums}")
    return max(map(int, times)) / 1e9, machine.cpu_seconds - before


def measure(machine: guest.Guest, name: str, scale: float, harts: int) -> Result:
    """One copy, then as many as there are harts."""
    alone, cpu_alone = copies(machine, name, scale, 1)
    together, cpu_together = copies(machine, name, scale, harts)
    return Result(harts * alone / together, cpu_together / (harts * cpu_alone))


@click.command(help=__doc__)
@click.argument("names", nargs=-1, type=click.Choice(NAMES), metavar="[NAME...]")
@click.option("--harts", default=2, show_default=True, help="Harts, and copies.")
@click.option("--runs", default=3, show_default=True, help="Runs of each kernel.")
@click.option("--scale", default=1.0, show_default=True, help="Work; 1 is 0.5 to 1 s on QEMU each.")
@click.option("--json", "json_file", metavar="FILE", help="The figures as JSON; - for stdout.")
def main(names: Sequence[str], harts: int, runs: int, scale: float, json_file: str | None) -> None:
    software = guest.Software.debian(initramfs(compile_for("riscv64-linux-musl")))
    commands = {
        "rvvm": guest.rvvm_command(software, ["--harts", str(harts)]),
        "QEMU": guest.qemu_command(software, ["-smp", str(harts)]),
    }
    report = Report(
        f"{harts} copies on {harts} harts, over one: {runs} runs by turns, scale {scale:g}",
        *("kernel", *(f"{who}: work a second" for who in commands)),
        *(f"{who}: CPU a copy" for who in commands),
        about={"qemu": qemu.find().version},
    )
    with ExitStack() as stack:
        machines = {who: stack.enter_context(guest.Guest(it)) for who, it in commands.items()}
        for machine in machines.values():
            machine.expect(guest.PROMPT)
            machine.shell(SETTLE, re.compile(rb"^settled", re.MULTILINE))
            machine.shell(TOUCH, re.compile(rb"^touched", re.MULTILINE))
        for name in names or DEFAULT:
            results = alternate(
                {
                    who: lambda machine=machine, name=name: measure(machine, name, scale, harts)
                    for who, machine in machines.items()
                },
                runs,
            )
            throughputs = [Spread.of(run.throughput for run in it) for it in results.values()]
            costs = [Spread.of(run.cost for run in it) for it in results.values()]
            report.add(name, *throughputs, *costs)
            print(name, *throughputs, *costs, file=sys.stderr)
    report.show(json_file)


if __name__ == "__main__":
    main()
