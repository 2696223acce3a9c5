"""What a machine's objects show of themselves in a shell and in a notebook's cell."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import rvvm
from cli.run import ENVIRONMENT
from machine import elves


@pytest.fixture
def machine(tmp_path: Path) -> rvvm.Machine:
    program = elves.write(tmp_path / "program.elf", elves.GREETING)
    return rvvm.Machine(kernel=program, bios="none", memory="16M", harts=2, device="virtio-rng")


def test_a_board_says_where_what_is_bound_to_what(machine: rvvm.Machine) -> None:
    text = repr(machine.board)
    assert text.startswith("rvvm virt: 2 harts, 16 MiB\n")
    for line in [
        r"0x10000000..0x100000ff +256 B +/soc/serial@10000000 +Uart +plic 10",
        r"0x2000000..0x200ffff +64 KiB +/soc/clint@2000000 +Clint +cpu@0 3 7, cpu@1 3 7",
        r"0x30000000..0x3fffffff +256 MiB +/soc/pci@30000000 +PciHost \(Entropy\) +plic 32 .*35",
        r"0x80000000..0x80ffffff +16 MiB +/memory@80000000 +RAM",
        r" +/poweroff +SysconPoweroff",
    ]:
        assert re.search(rf"^{line}$", text, re.MULTILINE), f"{line}\n{text}"
    assert machine.board._repr_html_().count("<tr>") == len(text.splitlines()) - 1


def test_memory_says_what_the_loader_put_there(machine: rvvm.Machine) -> None:
    lines = repr(machine.memory).splitlines()
    assert lines[1].split() == ["0x80000000..0x80ffffff", "16", "MiB", "RAM"]
    assert lines[2].startswith("0x80000000..") and lines[2].endswith("  program.elf")
    assert lines[3].endswith("  devicetree") and "0x80ffffff" in lines[3]
    assert "program.elf" in machine.memory._repr_html_()


def test_a_loaded_machine_knows_its_memory(machine: rvvm.Machine, tmp_path: Path) -> None:
    machine.save(tmp_path / "saved")
    assert repr(rvvm.Machine.load(tmp_path / "saved").memory).splitlines()[1].endswith("RAM")


def test_harts_are_shown_side_by_side(machine: rvvm.Machine) -> None:
    machine.step()
    text = repr(machine.harts)
    assert re.match(r" +hart 0 +hart 1\n", text)
    assert re.search(r"^instret +1 +0$", text, re.MULTILINE)
    assert re.search(r"^a0 +0x0{16} +0x0{15}1$", text, re.MULTILINE)
    assert "hart 1" in machine.harts._repr_html_() and "hart 0" not in repr(machine.harts[1:])
    with pytest.raises(IndexError, match="no hart 2: there are 2, numbered from 0"):
        machine.harts[2]


def test_addresses_are_hexadecimal(machine: rvvm.Machine) -> None:
    h = machine.harts[0]
    assert repr(h.pc) == "0x80000000" == repr(machine.address("next-0xc"))
    assert repr(machine.symbols["done"]).startswith("0x8000")
    assert repr(h.x.a1) == hex(h.x[11]) and repr(h.translate("done").physical).startswith("0x8")
    assert "Line(address=0x80000000, bits=0x" in repr(h.disassemble(1)[0])
    stop = machine.run(until=rvvm.pc("done"), timeout=20)
    assert repr(stop) == "Stop(until: pc(done), hart 0)"
    machine.add_breakpoint("done")
    machine.reset()
    assert re.fullmatch(r"Stop\(breakpoint: 0x800000.., hart .\)", repr(machine.run(timeout=20)))
    assert repr(machine.board.memory) == "[Region(0x80000000, 0x1000000)]"


def test_csrs_show_what_differs_from_reset(machine: rvvm.Machine) -> None:
    h = machine.harts[1]
    h.csr.mtvec = 0x8000_0100
    shown = {row[1] for row in h.csr.changed().rows}
    assert "mtvec" in shown and shown <= {"mtvec", "time"}
    assert repr(h.csr).startswith("hart 1  mstatus 0x0000000a00000000\n")
    assert "hstatus" not in repr(h.csr) and "hstatus" in repr(h.csr.table())
    count = len(list(h.csr)) - len(shown)
    assert repr(h.csr).endswith(f"\n{count} more have their reset value; h.csr.table() shows all")
    html = h.csr._repr_html_()
    assert html.index("mtvec") < html.index("<details>") < html.index("hstatus")


def test_a_run_shows_the_console_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = elves.write(tmp_path / "program.elf", elves.GREETING)
    m = rvvm.Machine(kernel=program, bios="none", memory="16M")
    assert not m.console.echo, "a script prints what it wants to"
    m.run(timeout=20)
    assert capsys.readouterr().out == ""
    m.reset()
    m.run(timeout=20, echo=True)
    assert capsys.readouterr().out == "Hello, world\n"
    m = rvvm.Machine(kernel=program, bios="none", memory="16M")
    m.console.echo = True
    m.console.expect("Hello", timeout=20)
    assert capsys.readouterr().out == "Hello"
    m.run(timeout=20, echo=False)
    assert capsys.readouterr().out == "" and not m.console.listeners


def test_a_notebook_s_cell_shows_the_console_and_tables(tmp_path: Path) -> None:
    """As Jupyter runs it: in a kernel of its own."""
    program = elves.write(tmp_path / "program.elf", elves.GREETING)
    sources = [
        f"import rvvm; m = rvvm.Machine(kernel={str(program)!r}, bios='none', memory='16M')",
        "m.run(timeout=60)",
        "m.board",
        "m.harts[0].csr",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(it) for it in sources])
    NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute(env=ENVIRONMENT)
    _, run, board, csrs = notebook.cells
    streams = [it["text"] for it in run.outputs if it.output_type == "stream"]
    assert "".join(streams) == "Hello, world\n"
    assert "Stop(halt: 0x0" in run.outputs[-1].data["text/plain"]
    assert "<table><caption>rvvm virt" in board.outputs[0].data["text/html"]
    assert "<details>" in csrs.outputs[0].data["text/html"]


def test_a_start_is_not_slower_for_it() -> None:
    """What only notebooks and shells need is imported by them."""
    code = "import sys, rvvm; rvvm.Machine(); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=True
    )
    imported = done.stdout.split()
    assert "rvvm.py.machine" in imported
    assert not {"IPython", "prompt_toolkit", "difflib", "rvvm.py.echo"} & set(imported)
