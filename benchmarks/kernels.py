"""Small programs inside Debian, on rvvm and QEMU by turns: ``python -m benchmarks.kernels``.

Both guests stand at their shells; each kernel runs in one and then in the other, which sleeps
meanwhile. The guest's clock is the host's. Checksums must agree.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import click

from benchmarks import guest, qemu
from benchmarks.side_by_side import Report, Spread, alternate, geometric_mean, speed
from rvvm.py import images
from rvvm.py.errors import UserError
from rvvm.py.images import cache, cpio

SOURCES = Path(__file__).with_name("kernels")
FLAGS = ("-O2", "-ffp-contract=off", "-fno-math-errno", "-fno-sanitize=all", "-static", "-s")
NAMES = (
    *("sieve", "matrix", "hash", "sort", "nbody", "spectral", "mandelbrot", "chase", "copy"),
    *("getppid", "fork", "exec", "faults", "pingpong", "bytecode", "indirect", "fib"),
)
ANSWER = re.compile(rb"^kernel (?P<name>\w+) (?P<ns>\d+) (?P<sum>[0-9a-f]{16})", re.MULTILINE)
IN_GUEST = "bench/kernels"
SETTLE = (
    "while read -r _ _ _ r _ < /proc/loadavg; [ ${r%%/*} -gt 1 ]; do sleep 1; done; echo settled"
)
"""Debian's kernel goes on with RSA for certificates behind the prompt: let it finish."""
TOUCH = (
    "mount -t tmpfs -o size=90% none /mnt && head -c 700M /dev/zero > /mnt/memory;"
    " umount /mnt; echo touched"
)
"""Has the host give the guest its RAM: else what is measured first is the host's page faults."""

Run = Callable[[], tuple[float, str]]
"""Runs a kernel once: its seconds and its checksum."""


def compile_for(target: str) -> Path:
    """The program for a target of zig's, which brings a C library of its own (musl)."""
    program = cache.folder("benchmarks") / f"kernels-{target}"
    words = ["-target", target, *FLAGS, "-o", str(program), *map(str, sorted(SOURCES.glob("*.c")))]
    done = subprocess.run([sys.executable, "-m", "ziglang", "cc", *words], stderr=subprocess.PIPE)
    if done.returncode:
        raise UserError(f"the kernels do not compile: {done.stderr.decode()[-500:]}")
    return program


def initramfs(program: Path) -> Path:
    """rvvm's initramfs and, behind it, an archive with the program: the kernel unpacks both."""
    archive = cpio.Archive()
    archive.file(IN_GUEST, program.read_bytes(), mode=0o755)
    base = images.path("busybox").read_bytes()
    path = cache.folder("benchmarks") / "initramfs.cpio"
    cache.write(path, base + bytes(-len(base) % 4) + archive.finish())
    return path


def in_guest(machine: guest.Guest, name: str, scale: float) -> Run:
    """A contestant that types at a guest's shell."""
    return lambda: _answer(machine.shell(f"/{IN_GUEST} {scale} {name}", ANSWER))


def native(program: Path, name: str, scale: float) -> Run:
    """A contestant without a guest."""

    def run() -> tuple[float, str]:
        said = subprocess.run([program, str(scale), name], check=True, capture_output=True).stdout
        match = ANSWER.search(said)
        assert match
        return _answer(match)

    return run


def _answer(match: re.Match[bytes]) -> tuple[float, str]:
    return int(match["ns"]) / 1e9, match["sum"].decode()


def measure(report: Report, name: str, contestants: dict[str, Run], rounds: int) -> float:
    """One kernel's row; the median of our speed over QEMU's."""
    results = alternate(contestants, rounds)
    sums = {who: {check for _, check in runs} for who, runs in results.items()}
    if len(set.union(*sums.values())) > 1:
        raise UserError(f"{name}: checksums differ: {sums}")
    seconds = {who: [second for second, _ in runs] for who, runs in results.items()}
    ratio = speed(seconds["rvvm"], seconds["qemu"])
    report.add(name, *map(Spread.of, seconds.values()), ratio)
    return ratio.median


@click.command(help=__doc__)
@click.argument("names", nargs=-1, type=click.Choice(NAMES), metavar="[NAME...]")
@click.option("--runs", default=3, show_default=True, help="Runs of each kernel.")
@click.option("--scale", default=1.0, show_default=True, help="Work; 1 is a minute at 300 MIPS.")
@click.option("--native", "with_native", is_flag=True, help="The same programs on this host too.")
@click.option("--json", "json_file", metavar="FILE", help="The figures as JSON; - for stdout.")
def main(
    names: Sequence[str], runs: int, scale: float, with_native: bool, json_file: str | None
) -> None:
    software = guest.Software.debian(initramfs(compile_for("riscv64-linux-musl")))
    host = compile_for("x86_64-linux-musl") if with_native else None
    columns = ["kernel", "rvvm, s", "QEMU, s", *(["native, s"] if host else []), "rvvm's speed"]
    report = Report(
        f"Inside Debian: {runs} runs by turns, scale {scale:g}",
        *columns,
        about={"qemu": qemu.find().version},
    )
    with ExitStack() as stack:
        machines = {
            who: stack.enter_context(guest.Guest(words))
            for who, words in guest.commands(software).items()
        }
        for machine in machines.values():
            machine.expect(guest.PROMPT)
            machine.shell(SETTLE, re.compile(rb"^settled", re.MULTILINE))
            machine.shell(TOUCH, re.compile(rb"^touched", re.MULTILINE))
        ratios = []
        for name in names or NAMES:
            contestants = {who: in_guest(it, name, scale) for who, it in machines.items()}
            if host:
                contestants["native"] = native(host, name, scale)
            ratios.append(measure(report, name, contestants, runs))
            print(name, report.rows[-1][-1], file=sys.stderr)
    report.note = f"geometric mean of rvvm's speed over QEMU's: {geometric_mean(ratios):.3f}"
    report.show(json_file)


if __name__ == "__main__":
    main()
