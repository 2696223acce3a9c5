"""The translating engine against the interpreter on millions of short random programs.

    PYTHONPATH=.:tests python -m engines.fuzz --programs 1000000
    PYTHONPATH=.:tests python -m engines.fuzz --seed 1234 --batches 1

A batch is a few hundred programs that lie one behind the other in the memory of two systems, and
run one after the other on both. All of it follows from its seed. Batches run in processes of their
own, so that one that never ends, or ends the process, is found and made smaller like any other.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from engines.fuzz_pieces import Piece, Pool
from engines.fuzz_worlds import DATA_PAGES, PAGE, PROGRAM, SEEN, Place, Start, World, contents
from engines.jit_programs import NOP, Slot, listing
from privileged.bench import HOST_FEATURES
from rvvm import _core

PROGRAMS = 400  # in a batch
LONGEST = 60  # instructions of a program
TOGETHER = 32  # batches that draw from the same pieces
STARTS = 24
BETWEEN = 32  # programs between two looks at all of memory
SECONDS = 60  # that no batch needs
DATA_RANGE = [(DATA_PAGES[0], len(DATA_PAGES) * PAGE)]


def engine_options(chance: Random) -> dict[str, Any]:
    """How the translating engine is set for a batch."""
    debugging: dict[str, Any] = {}
    if chance.random() < 0.2:
        debugging["disturb"] = chance.getrandbits(32)
    if chance.random() < 0.1:
        debugging["check_translations"] = True
    return {
        "accel": "jit",
        "hot": chance.choice((1, 1, 1, 2, 3, 12)),
        "chain": chance.random() < 0.85,
        "unit_limit": chance.choice((64, 64, 64, 64, 1, 2, 5, 17)),
        "code_size": chance.choice((1 << 20, 1 << 20, 1)),
        "swap_worth": chance.choice((8, 2, 1)),
        "background": chance.random() < 0.2,
        "host_lacks": [name for name in HOST_FEATURES if chance.random() < 0.1],
        **debugging,
    }


def strict(engine: dict[str, Any]) -> bool:
    """Whether a translation may be lost before its fence.

    A page that becomes code loses its stores: when, is not the same in each run where small caches
    of code overflow by another thread's work.
    """
    overflows = engine.get("background") and engine.get("code_size") == 1
    return bool(engine.get("disturb") or engine.get("check_translations") or overflows)


def budgets(chance: Random) -> list[int]:
    """Of one run, which stops and goes on between them."""
    if chance.random() < 0.75:
        return [chance.randrange(65, 350)]
    return [chance.choice((1, 2, 17, 63, 64, 65, 100, 200)) for _ in range(chance.randrange(1, 5))]


@dataclass(frozen=True)
class Run:
    """A program's turn."""

    program: int
    start: int
    budgets: list[int]


@dataclass
class Batch:
    """Programs with all that decides their runs."""

    seed: int
    world: World
    engine: dict[str, Any]
    odd: int
    programs: list[Piece]
    starts: list[Start]
    runs: list[Run]
    data: list[bytes]
    still: bool  # code cannot be written
    often: bool = False  # compare all memory after each run

    @classmethod
    def random(cls, seed: int, **engine: Any) -> Batch:
        chance = Random(f"batch {seed}")
        pool = Pool.of(seed // TOGETHER)
        world = World.random(chance)
        options = engine_options(chance) | engine
        # Where translations may be lost, no store may replace a fence.
        still = strict(options) and chance.random() < 0.5
        pieces = pool.fenceless if strict(options) and not still else pool.pieces
        programs = [program(chance, pieces) for _ in range(PROGRAMS)]
        return cls(
            seed,
            world,
            options,
            2 * (chance.random() < 0.4 and "c" not in world.without),
            programs,
            [Start.random(chance, world) for _ in range(STARTS)],
            [Run(n, chance.randrange(STARTS), budgets(chance)) for n in range(PROGRAMS)],
            [contents(chance, pool.code) for _ in range(2)],
            still,
        )

    def differs(self) -> Difference | None:
        """Runs it on both."""
        code = b"".join(slot for slots in self.programs for slot in slots)
        places = self.entries()
        common = {k: v for k, v in self.engine.items() if k == "check_translations"}
        both = [
            Place(
                self.world,
                f"world {self.seed}",
                code,
                self.odd,
                engine,
                strict(self.engine),
                self.still,
            )
            for engine in (common, self.engine)
        ]
        systems = [place.system for place in both]
        for number, run in enumerate(self.runs):
            if number % BETWEEN == 0:
                for place in both:
                    place.refresh(self.data[number // BETWEEN % len(self.data)])
            start, pc = self.starts[run.start], places[run.program]
            registers = start.registers(both[0], pc)
            for place in both:
                place.start(registers, start.status, start.fcsr, start.swapped, pc)
            last = number == len(self.runs) - 1 or number % BETWEEN == BETWEEN - 1
            compared = SEEN if last or self.often else DATA_RANGE
            found = _core.lockstep(*systems, run.budgets, compared)
            if found is not None:
                return Difference(number, found, difference(*both))
        return None

    def entries(self) -> list[int]:
        """Where each program starts."""
        at = PROGRAM + self.odd + self.world.to_virtual + self.world.own
        found = []
        for slots in self.programs:
            found.append(at)
            at += 4 * len(slots)
        return found

    def __str__(self) -> str:
        return f"batch {self.seed}: {self.world}; {self.engine}"

    def listing(self) -> str:
        """The runs, and what is left of all programs."""
        lines = [str(self)]
        for run in self.runs:
            at = self.entries()[run.program]
            lines.append(f"run at {at:#x} with registers {run.start} for {run.budgets}")
        slots = [slot for program in self.programs for slot in program]
        return "\n".join([*lines, listing(slots, self.entries()[0])])


@dataclass(frozen=True)
class Difference:
    """After which run, and which of its budgets."""

    run: int
    budget: int
    text: str

    def __str__(self) -> str:
        return f"run {self.run}, budget {self.budget}\n{self.text}"


def program(chance: Random, pool: list[Piece]) -> Piece:
    """Mostly short."""
    length = chance.randrange(1, chance.choice((6, 20, 20, 40, LONGEST)) + 1)
    slots: Piece = []
    while len(slots) < length:
        slots += chance.choice(pool)
    return slots


def difference(one: Place, other: Place) -> str:
    """Everything in which the interpreter's system and the other differ."""
    lines = []
    known, others = facts(one), facts(other)
    for name, value in known.items():
        if value != others[name]:
            lines.append(f"{name}: interpreter {value:#x}, translated {others[name]:#x}")
    for base, size in SEEN:
        mine, its = (place.system.read(base, size) for place in (one, other))
        differing = [at for at in range(size) if mine[at] != its[at]] if mine != its else []
        lines += [
            f"[{base + at:#x}]: interpreter {mine[at]:#04x}, translated {its[at]:#04x}"
            for at in differing[:16]
        ]
    return "\n".join(lines)


def facts(place: Place) -> dict[str, int]:
    """Registers and counts by name."""
    hart = place.hart
    state = hart.registers()
    found = {f"x{n}": value for n, value in enumerate(state["x"])}
    found |= {f"f{n}": value for n, value in enumerate(state["f"])}
    found |= {f"trap {k}": v for k, v in (hart.last_trap or {}).items() if isinstance(v, int)}
    found |= {name: state[name] for name in ("pc", "privilege", "virtual")}
    found |= {"instret": hart.instret, "traps": hart.traps, "time": place.system.time}
    return found | state["csr"]


# In processes of their own.


@dataclass
class Child:
    """What another process did, and how it ended."""

    lines: list[str] = field(default_factory=list)
    end: str = ""


def apart(work: Callable[[Callable[[str], None]], None], seconds: float) -> Child:
    """Does it in a process of its own, which may say lines; none for `seconds` ends it."""
    reading, writing = os.pipe()
    if not (pid := os.fork()):
        os.close(reading)
        status = 1
        try:
            work(lambda line: _write(writing, line))
            status = 0
        except BaseException as error:
            _write(writing, f"raised {error!r}")
        finally:
            os._exit(status)
    os.close(writing)
    child, rest = Child(), b""
    while True:
        if not select.select([reading], [], [], seconds)[0]:
            os.kill(pid, signal.SIGKILL)
            child.end = f"said nothing for {seconds} s"
            break
        if not (part := os.read(reading, 1 << 16)):
            break
        *whole, rest = (rest + part).split(b"\n")
        child.lines += [line.decode() for line in whole]
    os.close(reading)
    _, status = os.waitpid(pid, 0)
    if not child.end and status:
        code = os.waitstatus_to_exitcode(status)
        child.end = signal.Signals(-code).name if code < 0 else f"ended with {code}"
    return child


def _write(to: int, line: str) -> None:
    os.write(to, line.replace("\n", "\r").encode() + b"\n")


def outcome(batch: Batch) -> str:
    """Nothing, or how it failed: the first line is what kind of failure it is."""

    def work(say: Callable[[str], None]) -> None:
        if found := batch.differs():
            say(f"differs\n{found}")

    child = apart(work, SECONDS / 4)
    text = "\n".join(child.lines).replace("\r", "\n")
    return f"{child.end}\n{text}" if child.end else text


# Shrinking.


def shrunk(batch: Batch, say: Callable[[str], None]) -> Batch:
    """As few runs and instructions as still fail in the same way."""
    kind = outcome(batch).split("\n")[0]

    def fails(less: Batch) -> bool:
        return outcome(less).split("\n")[0] == kind

    if kind == "differs" and (found := batch.differs()):
        short = replace(batch, runs=batch.runs[: found.run + 1], often=True)
        batch = short if fails(short) else replace(batch, runs=batch.runs[: found.run + 1])
    batch = _fewer_runs(batch, fails)
    say(f"{len(batch.runs)} runs left")
    batch = _fewer_budgets(batch, fails)
    return _fewer_slots(batch, fails, say)


def _fewer_runs(batch: Batch, fails: Callable[[Batch], bool]) -> Batch:
    step = len(batch.runs)
    while step:
        for at in reversed(range(0, len(batch.runs), step)):
            less = replace(batch, runs=batch.runs[:at] + batch.runs[at + step :])
            if less.runs and fails(less):
                batch = less
        step //= 2
    return batch


def _fewer_budgets(batch: Batch, fails: Callable[[Batch], bool]) -> Batch:
    for number, run in enumerate(batch.runs):
        whole = replace(run, budgets=[sum(run.budgets)])
        runs = [*batch.runs[:number], whole, *batch.runs[number + 1 :]]
        if len(run.budgets) > 1 and fails(less := replace(batch, runs=runs)):
            batch = less
    return batch


def _fewer_slots(batch: Batch, fails: Callable[[Batch], bool], say: Callable[[str], None]) -> Batch:
    flat = [slot for slots in batch.programs for slot in slots]
    keep = strict(batch.engine)
    step = len(flat)
    while step := step // 2:
        for at in range(0, len(flat), step):
            part = flat[at : at + step]
            nothing = [slot if keep and is_fence(slot) else NOP for slot in part]
            less = [*flat[:at], *nothing, *flat[at + step :]]
            if nothing != part and fails(_with(batch, less)):
                flat = less
        say(f"{sum(slot != NOP for slot in flat)} instructions left")
    return _with(batch, flat)


def is_fence(slot: Slot) -> bool:
    """Without its fences a program may have more than one outcome, where translations get lost."""
    return int.from_bytes(slot, "little") & 0xFE00_7FFF in (0x1200_0073, 0x2200_0073)


def _with(batch: Batch, flat: Iterable[Slot]) -> Batch:
    rest = iter(flat)
    return replace(batch, programs=[[next(rest) for _ in slots] for slots in batch.programs])


# Many.


def run_batches(seeds: Iterable[int], say: Callable[[str], None], **engine: Any) -> str:
    """Nothing, or the first failure: made smaller, with its seed."""
    todo = list(seeds)

    def work(tell: Callable[[str], None]) -> None:
        for seed in todo:
            tell(str(seed))
            if found := Batch.random(seed, **engine).differs():
                return tell(f"differs\n{found}")
        tell("done")

    child = apart(work, SECONDS)
    if child.lines[-1:] == ["done"]:
        return ""
    seed = max(int(line) for line in child.lines if line.isdigit())
    batch = Batch.random(seed, **engine)
    say(f"{batch}\n{child.end or child.lines[-1]}".replace("\r", "\n"))
    if not outcome(batch):
        return f"{batch}: failed ({child.end}), but not again"
    least = shrunk(batch, say)
    return f"{least.listing()}\n{outcome(least)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, help="of the first batch; else the time decides")
    parser.add_argument("--batches", type=int, help=f"of {PROGRAMS} programs each")
    parser.add_argument("--programs", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, help="end after so many")
    options = parser.parse_args()
    first = int(time.time()) * 1000 if options.seed is None else options.seed
    count = options.batches or -(-options.programs // PROGRAMS)
    print(f"--seed {first} --batches {count}", flush=True)
    begun = time.monotonic()
    for at in range(0, count, TOGETHER):
        seeds = range(first + at, first + min(at + TOGETHER, count))
        if failure := run_batches(seeds, print):
            print(failure)
            return 1
        passed = time.monotonic() - begun
        done = (seeds[-1] - first + 1) * PROGRAMS
        print(f"\r{done:,} programs, {1e6 * passed / done:.0f} us each", end="", flush=True)
        if options.seconds and passed > options.seconds:
            break
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
