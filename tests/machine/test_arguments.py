"""Symbols where an address is wanted, and wrong arguments: one sentence of the API's own words."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rvvm
from machine import elves
from rvvm.py.memory import Memory

PROGRAM = """
start:
    li      a0, 7
loop:
    addi    a0, a0, 1
    j       loop
text:
    .word   0x00006968
"""

INTERNALS = re.compile(
    r"_core|pybind|incompatible function|attribute|unsupported operand|invalid literal|positional"
    r"|\bself\b|__|NoneType|object at 0x|must be integer|cannot be interpreted|bytes-like"
)


@pytest.fixture
def machine(tmp_path: Path) -> rvvm.Machine:
    return _machine(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> rvvm.Machine:
    """For calls that fail and change nothing."""
    return _machine(tmp_path_factory.mktemp("program"))


def _machine(folder: Path) -> rvvm.Machine:
    program = elves.write(folder / "program.elf", PROGRAM)
    return rvvm.Machine(kernel=program, bios="none", memory="16M")


def test_symbols_are_addresses_everywhere(machine: rvvm.Machine) -> None:
    m, h, at = machine, machine.harts[0], machine.symbols["text"]
    assert m.address("text") == m.address(at) == m.address("start + 0xc") == at
    assert h.read("text", 2) == b"hi" == bytes(m.memory["text":"text+2"])
    assert m.memory["text"] == ord("h") and m.memory.u16("text") == 0x6968
    assert m.memory.string("text") == "hi" and m.memory.u8("text+1") == ord("i")
    assert h.translate("text").physical == at
    assert h.disassemble(1, "loop")[0].address == m.symbols["loop"]
    m.memory["text"] = ord("H")
    m.memory["text+1":"text+2"] = b"I"
    assert h.read("text", 2) == b"HI"
    h.write("text", b"ho")
    m.memory.store("text+1", ord("a"), 1)
    assert m.memory.string(hex(at)) == "ha"
    m.add_breakpoint("loop")
    assert m.run(timeout=20).detail == m.symbols["loop"]
    m.remove_breakpoint("loop")
    h.pc = "start"
    assert h.pc == m.symbols["start"]


def test_negative_numbers_are_stored_as_two_s_complement(machine: rvvm.Machine) -> None:
    h, memory = machine.harts[0], machine.memory
    h.x.a0 = h.csr.mscratch = -2
    memory.store("text", -2, 4)
    assert h.x.a0 == h.csr.mscratch == 2**64 - 2 and memory.u32("text") == 2**32 - 2


def test_numbers_of_other_libraries_are_taken(machine: rvvm.Machine) -> None:
    class Index:
        def __index__(self) -> int:
            return int(machine.symbols["text"])

    assert machine.harts[0].read(Index(), 2) == b"hi"  # type: ignore[arg-type]
    assert machine.memory.u8(Index()) == ord("h")  # type: ignore[arg-type]


Call = Callable[[Any], object]


def _set(target: Callable[[rvvm.Machine], Any], name: str, value: object) -> Call:
    return lambda m: setattr(target(m), name, value)


def _put(target: Callable[[rvvm.Machine], Any], key: object, value: object) -> Call:
    return lambda m: target(m).__setitem__(key, value)


def _hart(m: rvvm.Machine) -> Any:
    return m.harts[0]


def _memory(m: rvvm.Machine) -> Memory:
    return m.memory


# What is called, the error, and what its sentence says.
WRONG: list[tuple[Call, type[Exception], str]] = [
    # Machine
    (lambda m: m.run(until="login"), TypeError, r"condition such as rvvm.text\('login'\)"),
    (lambda m: m.run(until=0x80000000), TypeError, r"rvvm.pc\(2147483648\)"),
    (lambda m: m.run(until=1.5), TypeError, r"rvvm.seconds\(1.5\)"),
    (lambda m: m.run(until=[]), TypeError, "condition such as rvvm.text"),
    (lambda m: m.run(timeout="5"), TypeError, "timeout: expected a number of seconds, not '5'"),
    (lambda m: m.run(timeout=-1), ValueError, "timeout: -1 is not a duration"),
    (lambda m: m.run(timeout=float("nan")), ValueError, "timeout: nan is not a duration"),
    (lambda m: m.run(timeout=0.05), TimeoutError, "the machine did not end in 0.05 s"),
    (lambda m: m.run(until=rvvm.pc("nosuch")), KeyError, "no symbol 'nosuch'"),
    (lambda m: m.step("3"), TypeError, "count: expected a whole number, not '3'"),
    (lambda m: m.step(-1), ValueError, "count: -1 is not between 0"),
    (lambda m: m.step(1, hart=7), ValueError, "hart: 7 is not between 0 and 0"),
    (lambda m: m.step(hart="x"), TypeError, "hart: expected a whole number"),
    (lambda m: m.address("lop"), ValueError, "no symbol 'lop'; did you mean loop"),
    (lambda m: m.address(None), TypeError, "expected an address or a symbol, not None"),
    (lambda m: m.address("-1"), ValueError, "address: -1 is not between"),
    (lambda m: m.add_breakpoint(1.0), TypeError, "expected an address or a symbol, not 1.0"),
    (lambda m: m.add_breakpoint(-4), ValueError, "address: -4 is not between"),
    (lambda m: m.remove_breakpoint("loop"), ValueError, "no breakpoint at 0x80000004"),
    (lambda m: m.stop_on_trap("nonsense", True), ValueError, "unknown trap cause 'nonsense'"),
    (lambda m: m.stop_on_trap([], True), TypeError, "trap: expected a cause's name or number"),
    (lambda m: m.restore(5), TypeError, r"snapshot: expected what m.snapshot\(\) gave, not 5"),
    (lambda m: m.save(5), TypeError, "path: expected a file's name, not 5"),
    (lambda m: rvvm.Machine.load(5), TypeError, "path: expected a file's name, not 5"),
    (lambda m: rvvm.Machine.load("nosuch"), rvvm.UserError, "nosuch: No such file"),
    (lambda m: rvvm.Machine.load("x", krnel=""), TypeError, "no option 'krnel'; did you mean ker"),
    (lambda m: m.halt("x"), TypeError, "code: expected a whole number, not 'x'"),
    (lambda m: m.stats().hottest("x"), TypeError, "count: expected a whole number"),
    (lambda m: m.symbols.name("loop"), TypeError, "address: expected a whole number"),
    # Conditions
    (lambda m: rvvm.text(5), TypeError, "text: expected a text, not 5"),
    (lambda m: rvvm.pc(1.5), TypeError, "pc: expected an address or a symbol, not 1.5"),
    (lambda m: rvvm.pc(-1), ValueError, "pc: -1 is not between"),
    (lambda m: rvvm.instructions("9"), TypeError, "instructions: expected a whole number"),
    (lambda m: rvvm.instructions(-1), ValueError, "instructions: -1 is not between"),
    (lambda m: rvvm.seconds("9"), TypeError, "seconds: expected a number of seconds"),
    (lambda m: rvvm.seconds(-1), ValueError, "seconds: -1 is not a duration"),
    (lambda m: rvvm.trap(None), TypeError, "trap: expected a cause's name or number, not None"),
    (lambda m: rvvm.trap(-1), ValueError, "trap: -1 is not between"),
    (lambda m: rvvm.text("a") | "b", TypeError, r"condition such as rvvm.text\('b'\)"),
    # Options
    (lambda m: rvvm.Machine(krnel="x"), TypeError, "no option 'krnel'; did you mean kernel"),
    (lambda m: rvvm.Machine(quiet=1), TypeError, "no option 'quiet'; there are: dtb, kernel"),
    (lambda m: rvvm.Machine(5), rvvm.UserError, "--dtb 5: expected a file's name"),
    (lambda m: rvvm.Machine(kernel=5), rvvm.UserError, "--kernel 5: expected a file's name"),
    (lambda m: rvvm.Machine(memory=[]), rvvm.UserError, "--memory .*expected a size"),
    (lambda m: rvvm.Machine(memory=-1), rvvm.UserError, "memory size -0x1 is not"),
    (lambda m: rvvm.Machine(harts="2"), rvvm.UserError, "--harts '2': expected a whole number"),
    (lambda m: rvvm.Machine(harts=0), rvvm.UserError, "at least one"),
    (lambda m: rvvm.Machine(drive=5), rvvm.UserError, "--drive 5: expected a file's name"),
    (lambda m: rvvm.Machine(netdev=[5]), rvvm.UserError, "--netdev 5: expected a text"),
    (lambda m: rvvm.Machine(share=5), rvvm.UserError, "--share 5: expected a text"),
    (lambda m: rvvm.Machine(device=5), rvvm.UserError, "--device 5: expected a text"),
    (lambda m: rvvm.Machine(serial=5), rvvm.UserError, "--serial 5: expected a text"),
    (lambda m: rvvm.Machine(clock=5), rvvm.UserError, "--clock 5: expected a text"),
    (lambda m: rvvm.Machine(threads="no"), rvvm.UserError, "--threads 'no': expected True or Fal"),
    (lambda m: rvvm.Machine(perf_map=1), rvvm.UserError, "--perf-map 1: expected True or False"),
    (lambda m: rvvm.Machine(limit_cpu=[]), rvvm.UserError, "--limit-cpu .*expected a share"),
    # Harts
    (lambda m: m.harts[0].step("x"), TypeError, "count: expected a whole number"),
    (lambda m: m.harts[0].step(2**64), ValueError, "count: 0x10000000000000000 is not between"),
    (lambda m: m.harts[0].read("nosuch", 4), ValueError, "no symbol 'nosuch'"),
    (lambda m: m.harts[0].read("loop", "4"), TypeError, "size: expected a whole number, not '4'"),
    (lambda m: m.harts[0].read("loop", -4), ValueError, "size: -4 is not between"),
    (lambda m: m.harts[0].read("loop", 2**63), ValueError, "0x81000000: "),
    (lambda m: m.harts[0].read(2**64 - 2, 4), ValueError, "beyond the last address"),
    (lambda m: m.harts[0].read(0, 4), ValueError, "0x0: not RAM"),
    (lambda m: m.harts[0].write("loop", "text"), TypeError, "data: expected bytes, not 'text'"),
    (lambda m: m.harts[0].write("loop", 5), TypeError, "data: expected bytes, not 5"),
    (lambda m: m.harts[0].write("loop", [300]), ValueError, r"data\[0\]: 300 is not between"),
    (lambda m: m.harts[0].translate("nosuch"), ValueError, "no symbol 'nosuch'"),
    (lambda m: m.harts[0].translate(0, "lod"), ValueError, "access: expected one of load, store"),
    (lambda m: m.harts[0].translate(0, 5), TypeError, "access: expected one of load, store"),
    (lambda m: m.harts[0].translate(0, "load", 2), ValueError, r"privilege: expected 0 \(U\)"),
    (lambda m: m.harts[0].translate(0, "load", "S"), TypeError, "privilege: expected a whole"),
    (lambda m: m.harts[0].translate(0, virtual="VS"), TypeError, "virtual: expected True or False"),
    (lambda m: m.harts[0].disassemble("loop"), TypeError, "count: expected a whole number"),
    (lambda m: m.harts[0].disassemble(-1), ValueError, "count: -1 is not between"),
    (lambda m: m.harts[0].disassemble(1, "nosuch"), ValueError, "no symbol 'nosuch'"),
    (lambda m: m.harts[0].disassemble(1, 0), ValueError, "0x0: not RAM"),
    (lambda m: m.harts[0].integer("a0"), TypeError, "register: expected a whole number"),
    (lambda m: m.harts[0].floating(32), ValueError, "register: 32 is not between 0 and 31"),
    (_set(_hart, "pc", "nosuch"), ValueError, "no symbol 'nosuch'"),
    (_set(_hart, "pc", 1.5), TypeError, "pc: expected an address or a symbol, not 1.5"),
    (_set(_hart, "pc", -2), ValueError, "pc: -2 is not between"),
    (_set(_hart, "mode", 3), ValueError, "no mode 3; one of: M, HS"),
    (_set(_hart, "mode", "X"), ValueError, "no mode 'X'; one of: M, HS"),
    # Registers
    (lambda m: m.harts[0].x.a9, AttributeError, "no register a9"),
    (lambda m: m.harts[0].x["zer"], KeyError, "no register zer; did you mean zero"),
    (lambda m: m.harts[0].x["a9"], KeyError, "no register a9"),
    (lambda m: m.harts[0].x[32], KeyError, "no register 32: they are numbered 0 to 31"),
    (lambda m: m.harts[0].x[1.5], TypeError, "register: expected a name or a number, not 1.5"),
    (lambda m: m.harts[0].x[0:4], TypeError, "register: expected a name or a number"),
    (_set(lambda m: m.harts[0].x, "a0", "text"), TypeError, "a0: expected a whole number"),
    (_set(lambda m: m.harts[0].x, "a0", 2**64), ValueError, "a0: 0x1.* does not fit in 8 bytes"),
    (_set(lambda m: m.harts[0].x, "a9", 1), AttributeError, "no register a9"),
    (_set(lambda m: m.harts[0].f, "fa0", None), TypeError, "fa0: expected a whole number"),
    # CSRs
    (lambda m: m.harts[0].csr.mstatu, AttributeError, "no CSR mstatu; did you mean mstatus"),
    (lambda m: m.harts[0].csr["nosuch"], KeyError, "no CSR nosuch"),
    (lambda m: m.harts[0].csr[0x999], KeyError, "no CSR at 0x999"),
    (lambda m: m.harts[0].csr[-1], KeyError, "no CSR at -0x1"),
    (lambda m: m.harts[0].csr[None], TypeError, "CSR: expected a name or an address, not None"),
    (lambda m: m.harts[0].csr.mstatus.FOO, AttributeError, "mstatus has no field FOO"),
    (_set(lambda m: m.harts[0].csr, "mepc", "loop"), TypeError, "mepc: expected a whole number"),
    (_set(lambda m: m.harts[0].csr, "mepc", 2**64), ValueError, "mepc: 0x1.*does not fit"),
    (_set(lambda m: m.harts[0].csr, "nosuch", 1), AttributeError, "no CSR nosuch"),
    (_set(lambda m: m.harts[0].csr.mstatus, "FS", 9), ValueError, "9 does not fit FS"),
    (_set(lambda m: m.harts[0].csr.mstatus, "FS", "x"), TypeError, "mstatus.FS: expected a whole"),
    # Memory
    (lambda m: m.memory["nosuch"], ValueError, "no symbol 'nosuch'"),
    (lambda m: m.memory[1.5], TypeError, "address: expected an address or a symbol, not 1.5"),
    (lambda m: m.memory[0], IndexError, r"0x0 is not in RAM \(0x80000000..0x80ffffff\)"),
    (lambda m: m.memory[-4], ValueError, "address: -4 is not between"),
    (lambda m: m.memory["loop":"start"], IndexError, "the slice ends at 0x80000000, before"),
    (lambda m: m.memory["loop":], IndexError, "names its start and its end"),
    (lambda m: m.memory[0:4], IndexError, "4 bytes at 0x0 is not in RAM"),
    (lambda m: m.memory.u64(0x80FFFFFC), IndexError, "8 bytes at 0x80fffffc"),
    (lambda m: m.memory.u32("nosuch"), ValueError, "no symbol 'nosuch'"),
    (lambda m: m.memory.store("loop", 256, 1), ValueError, "value: 256 does not fit in 1 byte"),
    (lambda m: m.memory.store("loop", "x", 4), TypeError, "value: expected a whole number"),
    (lambda m: m.memory.store("loop", 1, 0), ValueError, "size: 0 is not between 1"),
    (lambda m: m.memory.string("loop", "x"), TypeError, "limit: expected a whole number"),
    (_put(_memory, "loop", 256), ValueError, "value: 256 does not fit in 1 byte"),
    (_put(_memory, "loop", b"xy"), TypeError, "value: expected a whole number"),
    (_put(_memory, slice("loop", "text"), 5), TypeError, "data: expected bytes, not 5"),
    (_put(_memory, slice("loop", "text"), "x"), TypeError, "data: expected bytes, not 'x'"),
    (_put(_memory, slice("loop", "text"), b"x"), ValueError, "the slice is 8 bytes"),
    # Console
    (lambda m: m.console.send(5), TypeError, "text: expected a text or bytes, not 5"),
    (lambda m: m.console.expect(5), TypeError, "pattern: expected a text or a compiled"),
    (lambda m: m.console.expect("x", "5"), TypeError, "timeout: expected a number of seconds"),
    (lambda m: m.console.expect("x", -1), ValueError, "timeout: -1 is not a duration"),
    (lambda m: m.console.expect("x", 0.05), TimeoutError, "no 'x' in 0.05 s"),
]


@pytest.mark.parametrize(
    ("call", "kind", "sentence"), WRONG, ids=[f"{n}-{row[2]}" for n, row in enumerate(WRONG)]
)
def test_a_wrong_argument_is_one_clear_sentence(
    shared: rvvm.Machine, call: Call, kind: type[Exception], sentence: str
) -> None:
    with pytest.raises(kind) as raised:
        call(shared)
    message = str(raised.value)
    assert re.search(sentence, message), message
    assert "\n" not in message and not INTERNALS.search(message), message


def test_every_public_method_has_a_row() -> None:
    """So that a new method gets its sentence, too."""
    import inspect

    from rvvm.py.console import Console
    from rvvm.py.hart import Hart

    # Either without arguments, or called by the core and devices only.
    exempt = {
        *("instret", "traps", "slow_engine", "snapshot", "fork", "close", "pause", "stop_soon"),
        *("reset", "put", "take", "give_back", "state", "load_state", "unread", "pending", "stats"),
        *("place", "table", "tail", "shown"),
    }
    source = Path(__file__).read_text(encoding="utf-8")
    for owner in (rvvm.Machine, Hart, Memory, Console):
        for name, method in inspect.getmembers(owner, inspect.isfunction):
            if not name.startswith("_") and name not in exempt:
                assert f".{name}(" in source, f"{owner.__name__}.{name}: {method}"
