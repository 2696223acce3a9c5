"""Small programs inside Debian, on several machines by turns: ``python -m benchmarks.kernels``.

The guests stand at their shells; each kernel runs in one and then in the next, while the others
sleep. The guest's clock is the host's. A first run of each is not counted: it translates, and takes
memory from the host. Checksums must agree.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks import guest, peer, qemu
from benchmarks.side_by_side import Report, Spread, alternate, geometric_mean, speeds
from rvvm.py import images
from rvvm.py.errors import UserError
from rvvm.py.images import cache, cpio

SOURCES = Path(__file__).with_name("kernels")
FLAGS = ("-O2", "-ffp-contract=off", "-static", "-s")
ZIG_FLAGS = ("-fno-math-errno", "-fno-sanitize=all")
TARGETS = {"zig": "{}-linux-musl", "gcc": "{}-linux-gnu"}
"""What each compiler's C library calls a target."""
GROUPS = {
    "memory": ("sieve", "matrix", "hash", "sort", "chase", "copy"),
    "floating point": ("nbody", "spectral", "mandelbrot", "singles"),
    "C library": ("libm", "qsort"),
    "system": ("getppid", "fork", "exec", "faults", "pingpong"),
    "indirect": ("indirect", "bytecode", "fib"),
}
NAMES = tuple(name for names in GROUPS.values() for name in names)
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


def compile_for(target: str, sources: Path = SOURCES) -> Path:
    """A folder's program: for a target of zig's, which brings a C library of its own (musl); or by
    Debian's gcc, with glibc and with the errno of mathematics."""
    program = cache.folder("benchmarks") / f"{sources.name}-{target}"
    if target.endswith("-gnu"):
        command = [f"{target}-gcc"]
    else:
        command = [sys.executable, "-m", "ziglang", "cc", "-target", target, *ZIG_FLAGS]
    words = [*FLAGS, "-o", str(program), *map(str, sorted(sources.glob("*.c"))), "-lm"]
    try:
        done = subprocess.run([*command, *words], stderr=subprocess.PIPE)
    except FileNotFoundError:
        package = target.replace("_", "-")
        raise UserError(f"there is no {command[0]} here: apt install gcc-{package}") from None
    if done.returncode:
        raise UserError(f"{sources.name} does not compile: {done.stderr.decode()[-500:]}")
    return program


def initramfs(program: Path) -> Path:
    """rvvm's initramfs and, behind it, an archive with the program: the kernel unpacks both."""
    archive = cpio.Archive()
    archive.file(IN_GUEST, program.read_bytes(), mode=0o755)
    base = images.path("busybox").read_bytes()
    path = cache.folder("benchmarks") / "initramfs.cpio"
    cache.write(path, base + bytes(-len(base) % 4) + archive.finish())
    return path


def in_guest(machine: guest.Guest, name: str, scale: float, by_cpu: bool) -> Run:
    """A contestant that types at a guest's shell."""

    def run() -> tuple[float, str]:
        before = machine.cpu_seconds
        seconds, check = _answer(machine.shell(f"/{IN_GUEST} {scale} {name}", ANSWER))
        return machine.cpu_seconds - before if by_cpu else seconds, check

    return run


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


@dataclass(frozen=True)
class Row:
    """What was measured of one kernel: each contestant's seconds, round by round."""

    name: str
    seconds: dict[str, list[float]]

    def speeds(self, over: str) -> list[float]:
        """How many times as fast as another rvvm was, round by round."""
        return speeds(self.seconds["rvvm"], self.seconds[over])


def measure(name: str, contestants: dict[str, Run], rounds: int) -> Row:
    """One kernel by all, after a round that does not count."""
    results = alternate(contestants, 1 + rounds)
    sums = {who: {check for _, check in runs} for who, runs in results.items()}
    if len(set.union(*sums.values())) > 1:
        raise UserError(f"{name}: checksums differ: {sums}")
    return Row(name, {who: [second for second, _ in runs[1:]] for who, runs in results.items()})


def summary(rows: Sequence[Row], over: str) -> Spread:
    """The geometric mean of the kernels' speeds over another, of each round.

    >>> rows = [Row("a", {"rvvm": [1, 1], "x": [2, 3]}), Row("b", {"rvvm": [1, 1], "x": [8, 3]})]
    >>> print(summary(rows, "x"))
    3.50 (3.00-4.00)
    """
    return Spread.of(map(geometric_mean, zip(*(row.speeds(over) for row in rows), strict=True)))


def fill(report: Report, rows: Sequence[Row], others: Sequence[str]) -> None:
    """Each kernel, then the means of the groups that were run whole, then of all."""
    for row in rows:
        seconds = map(Spread.of, row.seconds.values())
        report.add(row.name, *seconds, *(Spread.of(row.speeds(over)) for over in others))
    groups = {
        group: [row for row in rows if row.name in names]
        for group, names in {**GROUPS, "all": NAMES}.items()
        if {row.name for row in rows}.issuperset(names)
    }
    for group, members in groups.items():
        gap = (None for _ in members[0].seconds)
        report.add(f"mean: {group}", *gap, *(summary(members, over) for over in others))


@click.command(help=__doc__)
@click.argument("names", nargs=-1, type=click.Choice(NAMES), metavar="[NAME...]")
@click.option("--runs", default=3, show_default=True, help="Runs of each kernel that count.")
@click.option("--scale", default=1.0, show_default=True, help="Work; 1 is 0.5 to 1 s on QEMU each.")
@click.option("--native", "with_native", is_flag=True, help="The same programs on this host too.")
@click.option(
    "--compiler",
    type=click.Choice(list(TARGETS)),
    default="zig",
    show_default=True,
    help="zig with musl, or Debian's gcc with glibc.",
)
@click.option("--cpu", "by_cpu", is_flag=True, help="CPU time of the host, of a whole program.")
@peer.option
@click.option("--json", "json_file", metavar="FILE", help="The figures as JSON; - for stdout.")
def main(
    names: Sequence[str],
    runs: int,
    scale: float,
    with_native: bool,
    compiler: str,
    by_cpu: bool,
    peers: Sequence[peer.Peer],
    json_file: str | None,
) -> None:
    target = TARGETS[compiler]
    software = guest.Software.debian(initramfs(compile_for(target.format("riscv64"))))
    host = compile_for(target.format("x86_64")) if with_native else None
    commands = peer.commands(software, peers)
    others = [who for who in commands if who != "rvvm"]
    report = Report(
        f"Inside Debian: {runs} runs by turns, scale {scale:g}{', CPU time' if by_cpu else ''}",
        *("kernel", *(f"{who}, s" for who in [*commands, *(["native"] if host else [])])),
        *(f"speed over {who}" for who in others),
        about={"qemu": qemu.find().version},
    )
    rows = []
    with ExitStack() as stack:
        machines = {who: stack.enter_context(guest.Guest(it)) for who, it in commands.items()}
        for machine in machines.values():
            machine.expect(guest.PROMPT)
            machine.shell(SETTLE, re.compile(rb"^settled", re.MULTILINE))
            machine.shell(TOUCH, re.compile(rb"^touched", re.MULTILINE))
        for name in names or NAMES:
            contestants = {who: in_guest(it, name, scale, by_cpu) for who, it in machines.items()}
            if host:
                contestants["native"] = native(host, name, scale)
            rows.append(measure(name, contestants, runs))
            print(name, *(Spread.of(rows[-1].speeds(over)) for over in others), file=sys.stderr)
    fill(report, rows, others)
    report.show(json_file)


if __name__ == "__main__":
    main()
