"""Million instructions a second of the engine alone, by loop: ``python -m benchmarks.mips``."""

from __future__ import annotations

import time

import click

from benchmarks import bare, loops
from benchmarks.side_by_side import Report, Spread, alternate
from rvvm import _core

MILLION = 1_000_000


def timed(image: bytes, pc: int, count: int) -> float:
    """MIPS of one run; the hart is new each time."""
    began = time.perf_counter()
    bare.run(_core, image, pc, count)
    return count / (time.perf_counter() - began) / MILLION


@click.command(help=__doc__)
@click.option("--runs", default=5, show_default=True, help="Runs of each loop, by turns.")
@click.option("--millions", default=20, show_default=True, help="Instructions a run, in millions.")
@click.option("--json", "json_file", metavar="FILE", help="The figures as JSON; - for stdout.")
def main(runs: int, millions: int, json_file: str | None) -> None:
    built = loops.build()
    results = alternate(
        {
            name: lambda pc=pc: timed(built.image, pc, millions * MILLION)  # type: ignore[misc]
            for name, pc in built.starts.items()
        },
        runs,
    )
    report = Report(f"The engine alone: {runs} runs by turns", "loop", "MIPS")
    for name, figures in results.items():
        report.add(name, Spread.of(figures))
    report.show(json_file)


if __name__ == "__main__":
    main()
