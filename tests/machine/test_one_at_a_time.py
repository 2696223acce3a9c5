"""A machine that runs is one thread's; one that is closed is nobody's, and has nothing any more."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import rvvm
from cli.run import ENVIRONMENT
from machine import elves

COUNT = """
    li      s0, 0
next:
    addi    s0, s0, 1
where:
    addi    s1, s1, 1
    j       next
"""


@pytest.fixture(params=[1, 4])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[rvvm.Machine]:
    kernel = elves.write(tmp_path / "count.elf", COUNT)
    with rvvm.Machine(bios="none", kernel=kernel, harts=request.param, memory="32M") as made:
        yield made


@contextmanager
def running(machine: rvvm.Machine) -> Iterator[list[Any]]:
    """In another thread, and further than it was; the Stop is in the list in the end."""
    stops: list[Any] = []
    thread = threading.Thread(target=lambda: stops.append(machine.run()))
    before = machine.instret
    thread.start()
    while machine.instret == before:
        pass
    try:
        yield stops
    finally:
        machine.pause()
        thread.join()


REFUSED: dict[str, Callable[[rvvm.Machine, rvvm._core.MemoryImage], object]] = {
    "run": lambda m, _: m.run(),
    "run for a time": lambda m, _: m.run(until=rvvm.seconds(0.01)),
    "expect": lambda m, _: m.console.expect("nothing"),
    "step": lambda m, _: m.step(),
    "reset": lambda m, _: m.reset(),
    "snapshot": lambda m, _: m.snapshot(),
    "fork": lambda m, _: m.fork(),
    "save": lambda m, _: m.save("saved"),
    "close": lambda m, _: m.close(),
    "x": lambda m, _: setattr(m.harts[0].x, "s0", 0),
    "f": lambda m, _: setattr(m.harts[0].f, "fa0", 0),
    "pc": lambda m, _: setattr(m.harts[0], "pc", elves.RAM),
    "mode": lambda m, _: setattr(m.harts[0], "mode", "U"),
    "csr": lambda m, _: setattr(m.harts[0].csr, "mscratch", 0),
    "field": lambda m, _: setattr(m.harts[0].csr.mie, "MTIE", 1),
    "core run": lambda m, _: m.system.run(),
    "core run of nothing": lambda m, _: m.system.run(0),
    "core step": lambda m, _: m.system.harts[0].step(),
    "core reset": lambda m, _: m.system.reset(),
    "core close": lambda m, _: m.system.close(),
    "core state": lambda m, _: m.system.harts[0].load_state(m.system.harts[0].state()),
    "core registers": lambda m, _: m.system.harts[0].set_registers(bytes(512)),
    "core waiting": lambda m, _: setattr(m.system.harts[0], "waiting", False),
    "core instret": lambda m, _: setattr(m.system.harts[0], "instret", 0),
    "core progress": lambda m, _: m.system.resume(m.system.progress()),
    "core image": lambda m, _: m.system.image(),
    "core become": lambda m, image: m.system.become(image),
    "core hart": lambda m, _: m.system.add_hart(9, ["i"]),
    "core RAM": lambda m, _: m.system.add_ram(0x40000000, 0x1000),
    "core device": lambda m, _: m.system.add_device("d", 0x40000000, 8, lambda *_: 0, print),
    "core lockstep": lambda m, _: rvvm._core.lockstep(m.system, m.system, [1], []),
}


def test_what_a_running_machine_refuses(machine: rvvm.Machine) -> None:
    image = machine.system.image()
    with running(machine) as stops:
        for name, ask in REFUSED.items():
            with pytest.raises(RuntimeError, match="the machine runs: pause it first"):
                ask(machine, image)
                pytest.fail(name)
        before = machine.instret
        while machine.instret == before:
            pass
        assert not stops
    assert stops[0].reason == "pause"
    machine.step()
    machine.harts[0].x.s0 = 0


def test_a_device_cannot_run_its_machine(tmp_path: Path) -> None:
    kernel = elves.write(tmp_path / "hello.elf", elves.GREETING)
    machine = rvvm.Machine(bios="none", kernel=kernel)
    machine.console.listeners.append(lambda data: print(machine.run()))
    with pytest.raises(RuntimeError, match="the machine runs: pause it first"):
        machine.run()


def test_memory_may_be_written_while_it_runs(machine: rvvm.Machine) -> None:
    """As a device of another thread does: code that is being executed, too."""
    where = machine.symbols["where"]
    adds, subtracts = 0x00148493.to_bytes(4, "little"), 0xFFF48493.to_bytes(4, "little")
    assert bytes(machine.memory[where : where + 4]) == adds
    with running(machine):
        for _ in range(300):
            machine.memory[where : where + 4] = subtracts
            machine.stats().hottest()
            machine.add_breakpoint(0)
            machine.memory[where : where + 4] = adds
            machine.remove_breakpoint(0)
        machine.memory[where : where + 4] = subtracts
    machine.run(until=rvvm.instructions(30 * len(machine.harts)))
    before = [hart.x.s1 for hart in machine.harts]
    machine.run(until=rvvm.instructions(300_000 * len(machine.harts)))
    less = [(was - hart.x.s1) % 2**64 for hart, was in zip(machine.harts, before, strict=True)]
    assert sum(less) > 0 and all(number < 2**63 for number in less), "the new code alone"


CLOSED: dict[str, Callable[[rvvm.Machine, rvvm.py.snapshot.Snapshot], object]] = {
    **{
        name: lambda m, _, name=name: getattr(m, name)()
        for name in ("run", "snapshot", "fork", "step", "reset", "pause", "stats")
    },
    "restore": lambda m, snapshot: m.restore(snapshot),
    "save": lambda m, _: m.save("saved"),
    "instret": lambda m, _: m.instret,
    "traps": lambda m, _: m.traps,
    "breakpoint": lambda m, _: m.add_breakpoint(elves.RAM),
    "trap": lambda m, _: m.stop_on_trap(2, True),
    "send": lambda m, _: m.console.send("text"),
    "expect": lambda m, _: m.console.expect("text"),
    "memory": lambda m, _: m.memory[elves.RAM],
    "slice": lambda m, _: m.memory[elves.RAM : elves.RAM + 4],
    "write": lambda m, _: m.memory.store(elves.RAM, 0, 4),
    "register": lambda m, _: m.harts[0].x.a0,
    "set": lambda m, _: setattr(m.harts[0].x, "a0", 1),
    "csr": lambda m, _: m.harts[0].csr.mepc,
    "translate": lambda m, _: m.harts[0].translate(elves.RAM),
    "disassemble": lambda m, _: m.harts[0].disassemble(),
    "show": lambda m, _: repr(m.harts[0]),
    "with": lambda m, _: m.__enter__(),
}


def test_what_a_closed_machine_answers(tmp_path: Path) -> None:
    machine = rvvm.Machine(bios="none", kernel=elves.write(tmp_path / "h.elf", elves.GREETING))
    machine.run()
    snapshot, view = machine.snapshot(), machine.memory[elves.RAM : elves.RAM + 4]
    before = bytes(view)
    machine.close()
    machine.close()
    for name, ask in CLOSED.items():
        with pytest.raises(RuntimeError, match=r"^the machine is closed$"):
            ask(machine, snapshot)
            pytest.fail(name)
    assert "closed" in repr(machine) and "Hello" in machine.console.text
    assert bytes(view) == before, "who has a view keeps the memory"


COUNTS = """
import contextlib, gc, os, sys, time
sys.path.insert(0, {tests!r})
import rvvm
gc.disable()

def counts():
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    number = lambda name: int(status[name].split()[0])
    return {{"files": len(os.listdir("/proc/self/fd")), "threads": number("Threads"),
            "MiB mapped": number("VmSize") >> 10, "MiB there": number("VmRSS") >> 10}}

def use():
    with contextlib.suppress(ZeroDivisionError), rvvm.Machine(**{options!r}) as machine:
        machine.run(until=rvvm.instructions(2_000_000))
        machine.memory[0x8100_0000:0x8300_0000] = b"x" * 0x200_0000
        held = counts()
        {more}
    return held

use()  # what is imported then is here to stay
before = counts()
for _ in range(3):
    held = use()
    after = counts()
    assert held["MiB mapped"] > before["MiB mapped"] + 500, held
    # The C library keeps what it has given a thread of its own.
    for name, room in {{"files": 0, "threads": 0, "MiB mapped": 400, "MiB there": 20}}.items():
        assert after[name] <= before[name] + room, (name, before, held, after)
print("fine")
"""


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ({}, "pass"),
        ({"harts": 4}, "pass"),
        ({"accel": "interp", "clock": "instructions"}, "pass"),
        ({"limit_cpu": "90%"}, "machine.run(until=rvvm.seconds(0.05))"),
        ({"accel": "unicorn"}, "pass"),
        ({"drive": "disk.img"}, "pass"),
        ({"drive": "disk.img", "commit": True}, "pass"),
        ({"share": "folder:tag"}, "pass"),
        ({"netdev": "socket,path=net.sock"}, "pass"),
        ({"netdev": "switch,path=switch,rate=1M"}, "pass"),
        ({"device": "virtio-vsock,path=v.sock"}, "pass"),
        ({"device": ["virtio-console,path=c.sock", "virtio-rng", "virtio-balloon"]}, "pass"),
        ({"serial": "unix:serial.sock,server"}, "machine.console.send('text')"),
        ({"serial": "pty"}, "machine.console.send('text')"),
        ({"serial": "file:out"}, "pass"),
        ({"drive": "disk.img"}, "kept = machine.snapshot(); machine.restore(kept); del kept"),
        ({"drive": "disk.img"}, "machine.fork().close()"),
        ({"drive": "disk.img"}, "raise ZeroDivisionError"),
    ],
)
def test_a_closed_machine_has_nothing(tmp_path: Path, options: dict[str, Any], more: str) -> None:
    """Memory, files and threads are there again at once, without Python's garbage collector."""
    (tmp_path / "disk.img").write_bytes(bytes(1 << 20))
    (tmp_path / "folder").mkdir()
    kernel = str(elves.write(tmp_path / "count.elf", COUNT))
    options = {"memory": "1G", "bios": "none", "kernel": kernel, **options}
    script = COUNTS.format(tests=str(Path(__file__).parents[1]), options=options, more=more)
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stdout.endswith("fine\n"), done.stdout + done.stderr


DAEMON = """
import sys, threading, time
import rvvm
machine = rvvm.Machine(bios="none", kernel="guest.elf", memory="32M", harts={harts})
threading.Thread(target={target}, daemon=True).start()
while not machine.console.text:
    time.sleep(0.001)
{last}
"""


@pytest.mark.parametrize("harts", [1, 4])
@pytest.mark.parametrize(
    "target",
    [
        "machine.run",
        "lambda it=machine: [it.run(until=rvvm.instructions(10)) for _ in iter(int, 1)]",
    ],
)
@pytest.mark.parametrize(
    ("last", "status"), [("", 0), ("sys.exit(3)", 3), ("del machine", 0), ("raise ValueError", 1)]
)
def test_python_ends_while_a_daemon_runs(
    tmp_path: Path, harts: int, target: str, last: str, status: int
) -> None:
    guest = "li s0, UART; li a0, 0x79; sb a0, 0(s0)\nnext: lbu a1, 5(s0); j next"
    elves.write(tmp_path / "guest.elf", guest)
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", DAEMON.format(harts=harts, target=target, last=last)],
            cwd=tmp_path,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == status, done.stderr
        assert "Fatal" not in done.stderr and (status == 1 or not done.stderr)


def test_a_child_process_may_end_and_close(tmp_path: Path) -> None:
    script = """
import os, sys, rvvm
machine = rvvm.Machine(bios="none", kernel="guest.elf", memory="32M")
machine.run(until=rvvm.instructions(100_000))
if process := os.fork():
    machine.run(until=rvvm.instructions(100_000))
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
for act in (machine.reset, machine.run, machine.step):
    try:
        act()
    except RuntimeError as error:
        assert "in the process that made it" in str(error)
    else:
        sys.exit(1)
machine.close()
sys.exit(7)
"""
    elves.write(tmp_path / "guest.elf", COUNT)
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, timeout=60)
    assert done.returncode == 7 and not done.stderr


@pytest.mark.parametrize("harts", [1, 4])
def test_a_pause_of_a_guest_that_reboots_for_ever(tmp_path: Path, harts: int) -> None:
    source = "li t0, FINISHER; li t1, 0x7777\nsw t1, 0(t0)\nstay: j stay"
    kernel = elves.write(tmp_path / "reboot.elf", source)
    with rvvm.Machine(bios="none", kernel=kernel, harts=harts, memory="32M") as machine:
        for _ in range(10):
            with running(machine) as stops:
                pass
            assert stops[0].reason == "pause"
            assert machine.run(until=rvvm.seconds(0.05)).reason == "until"
