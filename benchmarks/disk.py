"""fio in Debian on a disk of each machine, by turns: ``python -m benchmarks.disk``.

Both machines have an image of their own, raw and written through to (``--commit``), in the host's
page cache; fio goes past the guest's (``direct=1``). A first run of each job does not count.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks import guest, packages, qemu
from benchmarks.kernels import SETTLE
from benchmarks.side_by_side import Report, Spread, alternate
from rvvm.py.images import cache

SIZE = 256 << 20
MODULES = "virtio_blk,ext4"
ENTER = (
    "mkdir -p /run/tools && mount -o ro /dev/vdb /run/tools"
    " && for d in dev proc; do mount --bind /$d /run/tools/$d; done;"
    " mount -t tmpfs none /run/tools/tmp; echo entered"
)
# fio's terse output, version 3: read bandwidth (KiB/s) and IOPS are fields 7 and 8, write 48, 49
TERSE = re.compile(rb"^3;fio([^\r\n]*)\r?\n", re.MULTILINE)
FIELDS = {"read": (6, 7), "write": (47, 48)}


@dataclass(frozen=True)
class Job:
    """One way to use a disk."""

    way: str
    block: str
    depth: int

    def __str__(self) -> str:
        order = "random" if self.way.startswith("rand") else "sequential"
        return f"{order} {self.direction}, {self.block[:-1]} {self.block[-1]}iB, depth {self.depth}"

    @property
    def direction(self) -> str:
        return self.way.removeprefix("rand")

    def command(self, until: str) -> str:
        """fio's, in the chroot."""
        return (
            f"chroot /run/tools fio --name=x --filename=/dev/vda --direct=1 --ioengine=libaio"
            f" --rw={self.way} --bs={self.block} --iodepth={self.depth} --size={SIZE}"
            f" {until} --thread --minimal"
        )


JOBS = [
    *(Job(way, "1M", depth) for way in ("read", "write") for depth in (1, 32)),
    *(
        Job(order + way, "4K", depth)
        for order in ("", "rand")
        for way in ("read", "write")
        for depth in (1, 32)
    ),
]


@dataclass(frozen=True)
class Result:
    """What fio says, and what it cost the host."""

    iops: float
    cpu: float
    """Microseconds of the host's processors a request."""


def runner(machine: guest.Guest, job: Job, seconds: float) -> Callable[[], Result]:
    """A contestant that runs a job in its guest. What it costs is without fio's own start."""

    def fio(until: str) -> tuple[float, float]:
        before = machine.cpu_seconds
        line = machine.shell(job.command(until), TERSE)[0].decode().split(";")
        return machine.cpu_seconds - before, float(line[FIELDS[job.direction][1]])

    def run() -> Result:
        start, _ = fio("--number_ios=1")
        cpu, iops = fio(f"--time_based --runtime={seconds:g}")
        return Result(iops, max(cpu - start, 0) / (iops * seconds) * 1e6)

    return run


def image(name: str) -> Path:
    """A disk full of what does not compress, so that every read comes from the file, and the file
    in the host's cache."""
    path = cache.folder("benchmarks") / f"disk-{name}.img"
    if not path.exists() or path.stat().st_size != SIZE:
        with path.open("wb") as file:
            for _ in range(SIZE >> 20):
                file.write(os.urandom(1 << 20))
    with path.open("rb") as file:
        while file.read(1 << 20):
            pass
    return path


def commands(overlay: bool) -> dict[str, list[str]]:
    """Both machines, with the disk as vda and the programs as vdb."""
    software, tools = guest.Software.debian(), packages.disk("fio")
    append = ["--append", f"{guest.APPEND} rvvm.modules={MODULES}"]
    how = "snapshot=on" if overlay else "snapshot=off"
    ours = [f"file={image('rvvm')},{how}", f"file={tools},readonly=on"]
    theirs = {"a": f"file={image('qemu')},{how}", "b": f"file={tools},readonly=on"}
    rvvm = [word for drive in ours for word in ("--drive", drive)]
    other = []
    for name, drive in theirs.items():
        other += ["-drive", f"{drive},format=raw,if=none,id={name}"]
        other += ["-device", f"virtio-blk-pci,drive={name}"]
    return {
        "rvvm": guest.rvvm_command(software, [*rvvm, *append]),
        "QEMU": guest.qemu_command(software, [*other, "-append", append[1]]),
    }


@click.command(help=__doc__)
@click.option("--runs", default=3, show_default=True, help="Runs of each job that count.")
@click.option("--seconds", default=2.0, show_default=True, help="How long a run is.")
@click.option("--overlay", is_flag=True, help="What is written is gone at the end, as by default.")
@click.option("--only", default="", metavar="TEXT", help="The jobs whose name has this text.")
@click.option("--json", "json_file", metavar="FILE", help="The figures as JSON; - for stdout.")
def main(runs: int, seconds: float, overlay: bool, only: str, json_file: str | None) -> None:
    report = Report(
        f"fio on a virtio disk: {runs} runs of {seconds:g} s by turns",
        *("job", "rvvm, IOPS", "QEMU, IOPS", "IOPS over QEMU"),
        *("rvvm, CPU us", "QEMU, CPU us", "QEMU's CPU over ours"),
        about={"qemu": qemu.find().version},
    )
    with ExitStack() as stack:
        machines = {
            who: stack.enter_context(guest.Guest(it)) for who, it in commands(overlay).items()
        }
        for machine in machines.values():
            machine.expect(guest.PROMPT)
            machine.shell(SETTLE, re.compile(rb"^settled", re.MULTILINE))
            machine.shell(ENTER, re.compile(rb"^entered", re.MULTILINE))
        for job in (job for job in JOBS if only in str(job)):
            add(report, job, machines, runs, seconds)
    report.show(json_file)


def add(
    report: Report, job: Job, machines: dict[str, guest.Guest], runs: int, seconds: float
) -> None:
    """A row: requests a second, and what each costs."""
    contestants = {who: runner(it, job, seconds) for who, it in machines.items()}
    results = {who: it[1:] for who, it in alternate(contestants, 1 + runs).items()}
    iops = {who: [result.iops for result in it] for who, it in results.items()}
    cpu = {who: [result.cpu for result in it] for who, it in results.items()}
    row: Sequence[object] = (
        *map(Spread.of, iops.values()),
        Spread.of(ratios(iops["rvvm"], iops["QEMU"])),
        *map(Spread.of, cpu.values()),
        Spread.of(ratios(cpu["QEMU"], cpu["rvvm"])),
    )
    report.add(str(job), *row)
    print(job, *row, sep="  ", file=sys.stderr)


def ratios(some: Sequence[float], others: Sequence[float]) -> list[float]:
    """Round by round."""
    return [one / other for one, other in zip(some, others, strict=True)]


if __name__ == "__main__":
    main()
