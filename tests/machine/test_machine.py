"""A machine under Python: run, stop, look, change."""

from __future__ import annotations

import operator
import random
import re
import threading
import time
from pathlib import Path

import pytest

import rvvm
from machine import elves
from rvvm.py.csr import csr_rows
from rvvm.py.engines.engine import Exit


def machine(tmp_path: Path, source: str, **options: object) -> rvvm.Machine:
    program = elves.write(tmp_path / "program.elf", source)
    return rvvm.Machine(kernel=program, bios="none", memory="16M", **options)


def test_runs_to_power_off(tmp_path: Path) -> None:
    m = machine(tmp_path, elves.GREETING)
    stop = m.run(timeout=20)
    assert (stop.reason, stop.detail, m.status) == ("halt", 0, 0)
    assert m.console.text == "Hello, world\n"
    assert m.run().reason == "halt", "a machine that ended stays ended"


def test_failure_status(tmp_path: Path) -> None:
    assert machine(tmp_path, elves.FAIL).run(timeout=20).detail == 7


def test_reset_starts_anew(tmp_path: Path) -> None:
    m = machine(tmp_path, elves.GREETING)
    m.run(timeout=20)
    m.reset()
    assert m.status is None
    m.run(timeout=20)
    assert m.console.text == "Hello, world\n" * 2


def test_guest_reboot(tmp_path: Path) -> None:
    """The first boot finds a 0 in RAM that the loader wrote, so the restart must write it again."""
    m = machine(
        tmp_path,
        """
        li      t0, FINISHER
        la      t1, flag
        lw      t2, 0(t1)
        bnez    t2, stay
        li      t3, UART
        li      t2, 0x2e
        sb      t2, 0(t3)
        sw      t2, 0(t1)
        li      t3, 0x7777
        sw      t3, 0(t0)
    stay:
        j       stay
    flag:
        .word   0
    """,
    )
    m.run(until=rvvm.text("..."), timeout=20)


def test_arguments_of_the_first_instruction(tmp_path: Path) -> None:
    m = machine(tmp_path, elves.SPIN, harts=2)
    for identity, hart in enumerate(m.harts):
        assert (hart.x.a0, hart.mode, hart.pc) == (identity, "M", elves.RAM)
        assert bytes(m.memory[hart.x.a1 : hart.x.a1 + 4]) == bytes.fromhex("d00dfeed")


def test_until_text(tmp_path: Path) -> None:
    m = machine(tmp_path, elves.GREETING)
    stop = m.run(until=rvvm.text("Hello"), timeout=20)
    assert stop.reason == "until" and m.console.text == "Hello"


def test_until_pc_and_symbol(tmp_path: Path) -> None:
    m = machine(tmp_path, elves.GREETING)
    m.run(until=rvvm.pc("done"), timeout=20)
    assert m.harts[0].pc == m.symbols["done"]
    assert m.symbols.name(m.harts[0].pc) == "done"
    assert m.run(timeout=20).reason == "halt"


def test_until_pc_again_goes_around_the_loop(tmp_path: Path) -> None:
    m = machine(tmp_path, elves.SPIN)
    for count in range(1, 4):
        m.run(until=rvvm.pc("start"), timeout=20)
        before = m.harts[0].x.a0
        m.step()
        assert m.harts[0].x.a0 == before + 1 == count


def test_until_instructions(tmp_path: Path) -> None:
    m = machine(tmp_path, elves.SPIN)
    stop = m.run(until=rvvm.instructions(1001), timeout=20)
    assert isinstance(stop.condition, rvvm.Condition)
    assert m.instret == 1001 == m.harts[0].instret


def test_until_seconds(tmp_path: Path) -> None:
    m = machine(tmp_path, elves.SPIN)
    began = time.monotonic()
    stop = m.run(until=rvvm.seconds(0.2))
    assert 0.2 <= time.monotonic() - began < 5
    assert str(stop.condition) == "seconds(0.2)"


def test_until_trap(tmp_path: Path) -> None:
    m = machine(tmp_path, "la t0, handler; csrw mtvec, t0; ecall\n.align 2\nhandler: j handler")
    m.run(until=rvvm.trap("ecall from m"), timeout=20)
    assert m.harts[0].pc == m.symbols["handler"]
    assert "ecall from m" in str(m.harts[0].last_trap)


def test_breakpoints_and_traps_stop_without_a_condition(tmp_path: Path) -> None:
    """What a run is to stop at may be said before it; a condition of the run itself goes first."""
    m = machine(tmp_path, "la t0, handler; csrw mtvec, t0; ecall\n.align 2\nhandler: j handler")
    m.add_breakpoint("handler")
    m.stop_on_trap("ecall from m", True)
    stop = m.run(timeout=20)
    assert (stop.reason, stop.detail, m.harts[0].pc) == ("trap", 11, m.symbols["handler"])
    stop = m.run(timeout=20)
    assert (stop.reason, stop.detail) == ("breakpoint", m.symbols["handler"])
    assert m.run(until=rvvm.pc("handler"), timeout=20).reason == "until"
    m.remove_breakpoint("handler")
    with pytest.raises(TimeoutError):
        m.run(timeout=0.1)


def test_either_of_two(tmp_path: Path) -> None:
    m = machine(tmp_path, elves.GREETING)
    condition = rvvm.text("never") | rvvm.text("world")
    assert m.run(until=condition, timeout=20).condition is not None
    assert m.console.text.endswith("world")


def test_timeout(tmp_path: Path) -> None:
    m = machine(tmp_path, elves.SPIN)
    with pytest.raises(TimeoutError, match="text"):
        m.run(until=rvvm.text("x"), timeout=0.1)


def test_pause_from_another_thread(tmp_path: Path) -> None:
    m = machine(tmp_path, elves.SPIN)
    timer = threading.Timer(0.2, m.pause)
    timer.start()
    assert m.run(timeout=20).reason == "pause"
    before = m.harts[0].x.a0
    assert m.harts[0].x.a0 == before > 1000, "paused means: nothing moves"


def test_console_both_ways(tmp_path: Path) -> None:
    m = machine(tmp_path, elves.ECHO)
    m.console.send("one two\n")
    assert m.console.expect("two\n", timeout=20) == "one two\n"
    m.console.send("threeq")
    assert m.console.expect(re.compile(r"t(h)r.*?q"), timeout=20) == "threeq"
    assert m.run(timeout=20).reason == "halt"
    with pytest.raises(EOFError, match="ended before"):
        m.console.expect("more", timeout=1)


def test_the_console_may_lead_elsewhere_too(tmp_path: Path) -> None:
    m = machine(tmp_path, elves.GREETING, serial=f"file:{tmp_path}/log", limit_cpu="60%")
    m.run(timeout=20)
    assert (tmp_path / "log").read_text() == m.console.text == "Hello, world\n"


def test_a_share_of_a_processor_and_a_pause(tmp_path: Path) -> None:
    """Who waits for his turn can be paused at once."""
    m = machine(tmp_path, elves.SPIN, limit_cpu=0.01)
    m.run(until=rvvm.seconds(0.2))
    timer = threading.Timer(0.2, m.pause)
    timer.start()
    begun = time.monotonic()
    assert m.run().reason == "pause"
    assert time.monotonic() - begun < 20


def test_a_guest_that_prints_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came first is forgotten; who expects goes on where he was."""
    from rvvm.py import console

    monkeypatch.setattr(console, "KEPT", 100)
    printed = machine(tmp_path, elves.GREETING).console
    for number in range(1000):
        for byte in f"{number} ".encode():
            printed.put(byte)
        if number == 990:
            assert printed.expect("990").endswith("990")
        assert len(printed.text) <= 200
    assert printed.expect("999") == " 991 992 993 994 995 996 997 998 999"


def test_more_input_than_any_fifo(tmp_path: Path) -> None:
    m = machine(tmp_path, elves.ECHO)
    lines = "".join(f"line {number}\n" for number in range(500))
    m.console.send(lines + "q")
    m.run(timeout=60)
    assert m.console.text == lines + "q"


def test_registers_by_name(tmp_path: Path) -> None:
    h = machine(tmp_path, elves.SPIN).harts[0]
    h.x.a0 = 41
    h.x[10] += 1
    assert h.x.a0 == h.x.x10 == h.x[10] == h.x["a0"] == 42
    h.x.t0 = -1
    assert h.x.t0 == 2**64 - 1
    h.f.fa0 = 1.5
    assert h.f.fa0 == 0x3FF8 << 48 and h.f.f10.double == 1.5
    with pytest.raises(AttributeError, match="no register a9"):
        h.x.a9 = 1
    with pytest.raises(KeyError):
        h.x[32]


def test_csr_fields(tmp_path: Path) -> None:
    h = machine(tmp_path, elves.SPIN).harts[0]
    assert h.csr.hstatus.VTSR == 0
    h.csr.hstatus.VTSR = 1
    assert h.csr.hstatus.VTSR == 1 and h.csr.hstatus & 1 << 22
    h.csr.mscratch = 0x1234
    assert h.csr.mscratch == 0x1234 == h.csr["mscratch"] == h.csr[0x340]
    assert "VSXL=2" in repr(h.csr.hstatus) and "hstatus" in dir(h.csr)
    with pytest.raises(AttributeError, match="no field NONSENSE"):
        h.csr.hstatus.NONSENSE = 1
    with pytest.raises(AttributeError, match="no CSR nonsense"):
        h.csr.nonsense = 1
    with pytest.raises(ValueError, match="does not fit VTSR"):
        h.csr.hstatus.VTSR = 2


def test_a_field_write_leaves_other_bits(tmp_path: Path) -> None:
    """As csrrs and csrrc: mip.SEIP reads as its wire, and is not written back."""
    h = machine(tmp_path, elves.SPIN).harts[0]
    changes = [
        lambda: setattr(h.csr.mip, "SSIP", 1),
        lambda: setattr(h.csr.mip, "SSIP", 0),
        lambda: setattr(h.csr, "mip", operator.ior(h.csr.mip, 2)),
        lambda: setattr(h.csr, "mip", operator.iand(h.csr.mip, ~2)),
        lambda: setattr(h.csr, "mip", operator.ixor(h.csr.mip, 2)),
    ]
    for ssip, change in zip((1, 0, 1, 0, 1), changes, strict=True):
        h.core.set_interrupt(9, True)
        assert h.csr.mip.SEIP == 1
        change()
        assert (1, ssip) == (h.csr.mip.SEIP, h.csr.mip.SSIP)
        h.core.set_interrupt(9, False)
        assert (0, ssip) == (h.csr.mip.SEIP, h.csr.mip.SSIP)
    pending = h.csr.mip
    pending |= 0x20
    h.csr.mscratch = pending  # another register: all of the value
    assert h.csr.mscratch == 0x22


@pytest.mark.parametrize("open_gates", [False, True])
def test_a_field_written_as_it_reads_changes_nothing(tmp_path: Path, open_gates: bool) -> None:
    """Of every CSR: also where bits read otherwise than they are stored (wires, gates, views)."""
    h = machine(tmp_path, elves.SPIN).harts[0]
    numbers = random.Random(1)
    for name in h.csr:
        if not name.startswith(("pmp", "satp", "vsatp", "hgatp")):
            h.csr[name] = numbers.getrandbits(64)
    h.csr.mstatus.FS = h.csr.vsstatus.FS = 3  # dirty, as a write of fcsr leaves it
    gates = ("menvcfg", "mideleg", "hideleg", "mcounteren", "hcounteren", "mstateen0")
    for name in gates:
        h.csr[name] = (1 << 64) - 1 if open_gates else 0
    for wire in (3, 9, 11):
        h.core.set_interrupt(wire, True)
    h.core.set_guest_interrupt(1, True)
    for name in h.csr:
        for field in csr_rows()[name].fields:
            before = h.core.state()["csr"]
            value = getattr(h.csr[name], field.name)
            setattr(h.csr[name], field.name, value)
            after = h.core.state()["csr"]
            changed = {key for key in before if before[key] != after[key]}
            assert not changed, (name, field.name, changed)


def test_every_csr_can_be_shown(tmp_path: Path) -> None:
    h = machine(tmp_path, elves.SPIN).harts[0]
    for name in h.csr:
        assert repr(h.csr[name]).startswith(name)
        assert name in h.csr[name]._repr_html_()
    assert "mstatus" in repr(h.csr)


def test_mode_is_readable_and_writable(tmp_path: Path) -> None:
    h = machine(tmp_path, elves.SPIN).harts[0]
    for mode in ("VU", "VS", "U", "HS", "M"):
        h.mode = mode
        assert h.mode == mode
    with pytest.raises(ValueError, match="no mode 'X'"):
        h.mode = "X"


def test_memory(tmp_path: Path) -> None:
    m = machine(tmp_path, elves.SPIN)
    at = elves.RAM + 0x1000
    m.memory[at : at + 8] = bytes(range(8))
    view = m.memory[at : at + 8]
    assert view.readonly and bytes(view) == bytes(range(8))
    assert m.memory.u32(at) == 0x03020100 and m.memory.u16(at + 6) == 0x0706
    m.memory.store(at, 0xFFFF_FFFF_FFFF_FFFF, 8)
    assert view[0] == 0xFF, "the view is of the RAM itself"
    m.memory[at] = 0x41
    m.memory[at + 1] = 0
    assert m.memory.string(at) == "A"
    with pytest.raises(IndexError):
        m.memory[0:4]
    with pytest.raises(IndexError, match="names its start"):
        m.memory[at:]
    with pytest.raises(ValueError, match="8 bytes"):
        m.memory[at : at + 8] = b"short"


def test_a_write_to_code_is_seen(tmp_path: Path) -> None:
    m = machine(tmp_path, elves.SPIN)
    m.run(until=rvvm.instructions(100))
    m.harts[0].x.a0, m.harts[0].pc = 0, m.symbols["start"]
    m.memory.store(m.symbols["start"], 0x00250513, 4)  # addi a0, a0, 2
    m.run(until=rvvm.instructions(2))
    assert m.harts[0].x.a0 == 2


def test_disassemble(tmp_path: Path) -> None:
    h = machine(tmp_path, elves.SPIN).harts[0]
    text = repr(h.disassemble(2))
    assert "start" in text and "addi a0, a0, 1" in text and text.splitlines()[1].startswith(">")


def test_translate_bare(tmp_path: Path) -> None:
    h = machine(tmp_path, elves.SPIN).harts[0]
    assert h.translate(elves.RAM).physical == elves.RAM


def test_translate_both_stages(tmp_path: Path) -> None:
    """One gigapage in each stage; the G-stage one is not writable."""
    m = machine(tmp_path, elves.SPIN)
    h = m.harts[0]
    gstage, guest = elves.RAM + 0x4000, elves.RAM + 0x8000
    valid, readable, writable, user, used = 1, 2, 4, 16, 0xC0
    gpage = elves.RAM >> 2 | valid | readable | user | used
    m.memory.store(gstage + 8 * 2, gpage, 8)
    page = elves.RAM >> 2 | valid | readable | writable | used
    m.memory.store(guest + 8 * 2, page, 8)
    h.csr.pmpaddr0, h.csr.pmpcfg0 = 2**54 - 1, 0x1F  # all of memory
    h.csr.hgatp = 8 << 60 | gstage >> 12
    h.csr.vsatp = 8 << 60 | guest >> 12
    h.mode = "VS"
    walk = h.translate(elves.RAM + 0x123)
    assert walk.physical == elves.RAM + 0x123
    assert [step.stage for step in walk.steps] == ["G", "VS", "G"]
    fault = h.translate(elves.RAM + 0x123, "store")
    assert not fault.ok and fault.cause == 23
    assert "store guest page fault" in repr(fault) and "VS" in fault._repr_html_()


def test_same_run_twice_by_instructions(tmp_path: Path) -> None:
    """--clock instructions: the same inputs give the same run."""
    source = "start: csrr a0, time; add a1, a1, a0; j start"
    runs = []
    for _ in range(2):
        m = machine(tmp_path, source, clock="instructions", harts=2)
        m.run(until=rvvm.instructions(100_000), timeout=60)
        runs.append([hart.core.registers() for hart in m.harts])
    assert runs[0] == runs[1]


def test_repr(tmp_path: Path) -> None:
    m = machine(tmp_path, elves.SPIN, harts=2)
    assert repr(m) == "Machine(rvvm virt: 2 harts (M M), 16 MiB)"
    assert "mode M" in repr(m.harts[0]) and "<table>" in m.harts[0]._repr_html_()


def test_a_device_error_is_not_lost(tmp_path: Path) -> None:
    """An exception in device code ends run() with that exception."""
    m = machine(tmp_path, elves.GREETING)

    def explode(_: bytes) -> None:
        raise RuntimeError("listener")

    m.console.listeners.append(explode)
    with pytest.raises(RuntimeError, match="listener"):
        m.run(timeout=20)


def test_exit_values_compare() -> None:
    assert Exit("budget") == Exit("budget", 0, 0)


def test_options_of_a_wrong_type_are_refused() -> None:
    with pytest.raises(rvvm.UserError, match="--harts '2': expected a whole number"):
        rvvm.Machine(harts="2")  # type: ignore[arg-type]
