"""Host instructions for each guest instruction, counted: ``python -m benchmarks.instructions``.

Wall time is noise on a shared machine; callgrind's counts are not. ``--check`` compares them with
``baseline.json``, which ``--update`` writes. A compiler generates code of its own, so the baseline
has a part for each compiler's major version.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click
from elftools.elf.elffile import ELFFile

from benchmarks import bare, loops
from benchmarks.side_by_side import Report
from rvvm import _core
from rvvm.py.errors import UserError

BASELINE = Path(__file__).with_name("baseline.json")
COUNT = 100_000
"""Guest instructions of each loop, the decoding of its few blocks included."""
TOLERANCE = 1.15
RUN = "rvvm::System::run_harts*"
CALLGRIND = ("valgrind", "--tool=callgrind", "--quiet", f"--toggle-collect={RUN}")


def count() -> dict[str, float]:
    """Host instructions a guest instruction, for each loop."""
    built = loops.build()
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image"
        image.write_bytes(built.image)
        counts = {name: _callgrind(image, pc) for name, pc in built.starts.items()}
    return {name: round(counts[name] / COUNT, 2) for name in bare.LOOPS}


def _callgrind(image: Path, pc: int) -> int:
    """Host instructions in the core's run() while the loop at ``pc`` runs."""
    profile = image.with_name("profile")
    words = [
        sys.executable,
        "-S",
        "-E",
        bare.__file__,
        _core.__file__,
        str(image),
        str(COUNT),
        hex(pc),
    ]
    command = [*CALLGRIND, f"--callgrind-out-file={profile}", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"callgrind: {done.stderr[-500:]}")
    found = re.search(r"^(?:totals|summary): (\d+)", profile.read_text(), re.MULTILINE)
    if not found or int(found[1]) < COUNT:
        raise UserError(f"callgrind counted next to nothing: is {RUN} in the core's symbol table?")
    return int(found[1])


def compiler() -> str:
    """The compiler of the core, as its ELF file says: ``GCC 12``."""
    with open(_core.__file__, "rb") as file:
        section = ELFFile(file).get_section_by_name(".comment")
        text = section.data().decode(errors="replace") if section else ""
    found = re.search(r"(GCC|clang)\D*?\(?.*?\)? ?(\d+)\.\d+", text)
    return f"{found[1]} {found[2]}" if found else "unknown"


def worse(counts: Mapping[str, float], baseline: Mapping[str, float]) -> dict[str, str]:
    """The loops that cost more than the baseline allows.

    >>> worse({"alu": 10.0, "csr": 30.0}, {"alu": 8.0, "csr": 29.0})
    {'alu': '10.0 host instructions, 8.0 before'}
    """
    return {
        name: f"{counts[name]} host instructions, {before} before"
        for name, before in baseline.items()
        if counts[name] > before * TOLERANCE
    }


def baselines() -> dict[str, dict[str, float]]:
    """By compiler."""
    return dict(json.loads(BASELINE.read_text())) if BASELINE.exists() else {}


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Status 1 when a loop costs more than it did.")
@click.option("--update", is_flag=True, help="Make these counts the baseline.")
@click.option("--json", "json_file", metavar="FILE", help="The figures as JSON; - for stdout.")
def main(check: bool, update: bool, json_file: str | None) -> None:
    known, which = baselines(), compiler()
    before, counts = known.get(which, {}), count()
    report = Report(f"Host instructions a guest instruction ({which})", "loop", "now", "baseline")
    for name, now in counts.items():
        report.add(name, now, before.get(name))
    report.show(json_file)
    if update:
        BASELINE.write_text(json.dumps(known | {which: counts}, indent=1) + "\n")
    if check and (complaints := worse(counts, before)):
        raise SystemExit("\n".join(f"{name}: {what}" for name, what in complaints.items()))


if __name__ == "__main__":
    main()
