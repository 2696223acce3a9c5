"""File operations on a shared folder, by turns: ``python -m benchmarks.share``.

9p over virtio with the same mount options: rvvm's ``--share``, and QEMU's ``-virtfs`` (local,
``security_model=none``), of folders in the host's tmpfs if there is one. A first round does not
count.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click

from benchmarks import guest, load, qemu
from benchmarks.kernels import SETTLE
from benchmarks.side_by_side import Report, Spread, alternate, speeds

MOUNT = "mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 host /mnt && echo mounted"
UNTAR = "untar"
FILES = ("create", "stat", "read", "remove")
OPERATIONS = (*FILES, UNTAR)

Times = dict[str, float]


def runner(machine: guest.Guest, count: int) -> Callable[[], Times]:
    """A contestant: seconds of each operation, and CPU seconds of all."""
    lines = re.compile(load.LINE * len(FILES) + rb"[^#]*real\s+(\d+)m\s*([\d.]+)s", re.DOTALL)

    def run() -> Times:
        before = machine.cpu_seconds
        found = machine.shell(
            f"/{load.IN_GUEST} files /mnt {count};"
            f" time tar -x -f /{load.ARCHIVE} -C /mnt; rm -r /mnt/tree",
            lines,
        ).groups()
        times = {found[2 * k].decode(): int(found[2 * k + 1]) / 1e9 for k in range(len(FILES))}
        times[UNTAR] = int(found[-2]) * 60 + float(found[-1])
        return times | {"CPU": machine.cpu_seconds - before}

    return run


def commands(folders: dict[str, str]) -> dict[str, list[str]]:
    """Both machines, each with a folder of its own."""
    software = guest.Software.debian(load.initramfs())
    append = f"{guest.APPEND} rvvm.modules=9pnet_virtio,9p"
    virtfs = f"local,path={folders['QEMU']},mount_tag=host,security_model=none"
    return {
        "rvvm": guest.rvvm_command(
            software, ["--share", f"{folders['rvvm']}:host", "--append", append]
        ),
        "QEMU": guest.qemu_command(software, ["-virtfs", virtfs, "-append", append]),
    }


@click.command(help=__doc__)
@click.option("--runs", default=3, show_default=True, help="Rounds that count.")
@click.option("--files", "count", default=300, show_default=True, help="Files of 4 KiB.")
@click.option("--json", "json_file", metavar="FILE", help="The figures as JSON; - for stdout.")
def main(runs: int, count: int, json_file: str | None) -> None:
    report = Report(
        f"Shared folder: {count} files, {runs} rounds by turns",
        *("us an operation", "rvvm", "QEMU", "speed over QEMU"),
        about={"qemu": qemu.find().version},
    )
    memory = Path("/dev/shm")
    with ExitStack() as stack:
        folders = {
            who: stack.enter_context(
                tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
            )
            for who in ("rvvm", "QEMU")
        }
        machines = {
            who: stack.enter_context(guest.Guest(it)) for who, it in commands(folders).items()
        }
        for machine in machines.values():
            machine.expect(guest.PROMPT)
            machine.shell(SETTLE, re.compile(rb"^settled", re.MULTILINE))
            machine.shell(MOUNT, re.compile(rb"^mounted", re.MULTILINE))
        contestants = {who: runner(it, count) for who, it in machines.items()}
        results = {who: it[1:] for who, it in alternate(contestants, 1 + runs).items()}
    for name in (*OPERATIONS, "CPU"):
        amount = {UNTAR: load.FILES, "CPU": 1}.get(name, count)
        seconds = {who: [times[name] for times in it] for who, it in results.items()}
        shown = [Spread.of(s / amount * 1e6 for s in it) for it in seconds.values()]
        ratio = Spread.of(speeds(seconds["rvvm"], seconds["QEMU"]))
        report.add("CPU time of all" if name == "CPU" else name, *shown, ratio)
        print(name, *shown, ratio, sep="  ", file=sys.stderr)
    report.show(json_file)


if __name__ == "__main__":
    main()
