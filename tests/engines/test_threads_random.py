"""Harts on threads, each at a program of its own: they share nothing but the emulator.

Each runs a random program over and over, and replaces an instruction of it each time, so that code
is translated and dropped under the feet of the others. All must end as each does alone.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass
from typing import Any

import pytest

from asm import assemble
from engines.random_programs import program, state
from privileged.bench import EXTENSIONS
from rvvm import _core

RAM, RAM_SIZE = 0x8000_0000, 16 << 20
HANDLER, CODE, DATA = RAM, RAM + 0x1_0000, RAM + 0x20_0000
OWN = 0x1_0000  # bytes of code, and of data, for each hart
CONTROL = 0x8000  # in its data: rounds left, then words to write and places to write them to
WORDS, PLACES = 8, 64
FINISH = 0x10_0000
LENGTH, ROUNDS = 300, 1500
SECONDS = 600.0  # sanitizers take their time

#: what raises, such as an AMO that is not aligned, is left out
SKIP = """csrw mscratch, x30; csrr x30, mepc; addi x30, x30, 4; csrw mepc, x30
    csrr x30, mscratch; mret"""
BEGIN = "li x30, HANDLER; csrw mtvec, x30"
NEXT = """li x30, CONTROL; ld x29, (x30); addi x29, x29, -1; sd x29, (x30)
    andi x28, x29, 7; slli x28, x28, 2; add x28, x28, x30; lw x27, 8(x28)
    andi x28, x29, 63; slli x28, x28, 3; add x28, x28, x30; ld x26, 64(x28)
    sw x27, (x26); fence.i
    beq x29, x0, done; li x25, AGAIN; jalr x0, (x25)
    done: li x5, FINISH; sd x0, (x5); over: j over"""


@dataclass(frozen=True)
class Task:
    """One hart's program, with all that it starts with."""

    number: int
    seed: int

    @property
    def code(self) -> int:
        return CODE + self.number * OWN

    @property
    def data(self) -> int:
        return DATA + self.number * OWN

    def memory(self) -> dict[int, bytes]:
        chance = random.Random(f"task {self.seed}")
        begin = assemble(BEGIN, self.code, HANDLER=HANDLER).code
        body = program(self.seed, LENGTH)
        again = self.code + len(begin)
        after = again + len(body)
        symbols = {"CONTROL": self.data + CONTROL, "FINISH": FINISH, "AGAIN": again}
        words = program(self.seed + 1, WORDS)[: 4 * WORDS]
        places = [again + 4 * chance.randrange(LENGTH) for _ in range(PLACES)]
        control = ROUNDS.to_bytes(8, "little") + words.ljust(56, b"\0")
        return {
            self.code: begin + body + assemble(NEXT, after, **symbols).code,
            self.data: random.Random(self.seed).randbytes(CONTROL),
            self.data + CONTROL: control + b"".join(at.to_bytes(8, "little") for at in places),
        }

    def registers(self) -> dict[str, int]:
        return state(self.seed, self.data + CONTROL // 2)


def end(tasks: list[Task], by_turns: int = 0, **engine: Any) -> list[tuple[dict[str, Any], bytes]]:
    """Registers and data of each hart when all have finished; so many short runs by turns first."""
    left = [len(tasks)]
    lock = threading.Lock()

    def finish(offset: int, width: int, value: int) -> None:
        with lock:
            left[0] -= 1
            if not left[0]:
                system.halt(0)

    system = _core.System(**engine)
    system.add_ram(RAM, RAM_SIZE)
    system.add_device("finish", FINISH, 0x1000, lambda offset, width: 0, finish)
    system.write(HANDLER, assemble(SKIP, HANDLER).code)
    harts = [system.add_hart(task.number, EXTENSIONS, task.code) for task in tasks]
    for task, hart in zip(tasks, harts, strict=True):
        for address, content in task.memory().items():
            system.write(address, content)
        for name, value in task.registers().items():
            hart.set_x(int(name[1:]), value)
    for _ in range(by_turns):
        assert system.run(5_000).reason == "budget"
    watch = threading.Timer(SECONDS, system.pause)
    watch.start()
    reason = system.run().reason
    watch.cancel()
    assert reason == "halt", f"{reason}: {[hex(hart.pc) for hart in harts]}"
    return [
        (hart.registers()["x"], system.read(task.data, OWN))
        for task, hart in zip(tasks, harts, strict=True)
    ]


def check(seed: int, harts: int, by_turns: int = 0, **engine: Any) -> None:
    tasks = [Task(number, 100 * seed + 10 * number) for number in range(harts)]
    together = end(tasks, by_turns, threads=True, **engine)
    for task, found in zip(tasks, together, strict=True):
        (alone,) = end([task], accel="interp", clock="instructions")
        assert found == alone, f"seed {seed}, hart {task.number}"


@pytest.mark.parametrize("accel", ["interp", "jit"])
@pytest.mark.parametrize("harts", [2, 4])
def test_harts_end_as_each_does_alone(accel: str, harts: int) -> None:
    check(1, harts, accel=accel)


def test_with_little_memory_for_code() -> None:
    check(2, 4, accel="jit", code_size=1, hot=1)


@pytest.mark.parametrize("hot", [1, 12])
def test_what_was_being_translated_by_turns(hot: int) -> None:
    """Its thread is at work when harts come to have threads of their own."""
    check(3, 3, by_turns=4, accel="jit", background=True, hot=hot)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10, 40))
def test_many_programs(seed: int) -> None:
    chance = random.Random(seed)
    check(
        seed,
        chance.choice((2, 3, 4, 8)),
        by_turns=chance.choice((0, 1, 3)),
        accel="jit",
        background=chance.random() < 0.5,
        hot=chance.choice((1, 2, 12)),
        unit_limit=chance.choice((64, 64, 1, 5)),
        code_size=chance.choice((1 << 20, 1)),
    )
