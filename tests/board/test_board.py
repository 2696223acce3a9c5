"""From a tree to harts, memory, devices and wires, over a core that only records."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from board.fake_core import FakeSystem
from board.trees import BOARDS, CPU, MEMORY, VIRT
from board.trees import tree as make
from rvvm.py import fdt
from rvvm.py.board import Board, timebase
from rvvm.py.completion import complete
from rvvm.py.devices.plic import Plic
from rvvm.py.devices.uart import Uart
from rvvm.py.devices.virtio.entropy import Entropy
from rvvm.py.devices.virtio.mmio import VirtioMmio
from rvvm.py.errors import UserError
from rvvm.py.host import Card, Host, SerialPort
from rvvm.py.tree import Tree

UART, PLIC, CLINT, TEST = 0x1000_0000, 0xC00_0000, 0x200_0000, 0x10_0000
VIRTIO = range(0x1000_1000, 0x1000_9000, 0x1000)
MEI, SEI = 11, 9


class Bench:
    def __init__(self, tree: Tree, **host: object) -> None:
        self.system = FakeSystem()
        self.port = SerialPort()
        self.board = Board(tree, self.system, Host(serial=self.port, **host))
        self.store, self.load = self.system.store, self.system.load


def virt(harts: int = 1, **host: object) -> Bench:
    tree = fdt.load(VIRT)
    complete(tree, harts=harts)
    return Bench(tree, **host)


def board(folder: Path, body: str) -> Bench:
    return Bench(make(folder, body))


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_every_board_is_made(path: Path) -> None:
    bench = Bench(fdt.load(path))
    assert bench.board.harts and bench.board.memory


def test_virt() -> None:
    bench = virt(harts=2)
    assert list(bench.system.ram) == [(0x8000_0000, 0x4000_0000)] == bench.board.memory
    assert [hart.id for hart in bench.system.harts] == [0, 1] == [h.id for h in bench.board.harts]
    found = bench.system.harts[1].extensions
    assert found >= {"h", "zba", "s", "u", "sv39", "sv48", "svadu"}
    assert not {"sv57", "svade"} & set(found), (
        "OpenJDK wants sv48, and Linux svadu alone for A and D"
    )
    assert {name: window[:2] for name, window in bench.system.windows.items()} == {
        "/soc/test@100000": (TEST, 0x1000),
        "/soc/rtc@101000": (0x10_1000, 0x1000),
        "/soc/clint@2000000": (CLINT, 0x1_0000),
        "/soc/interrupt-controller@c000000": (PLIC, 0x60_0000),
        "/soc/serial@10000000": (UART, 0x100),
        "/soc/pci@30000000": (0x3000_0000, 0x1000_0000),
        "/soc/pci@30000000 memory": (0x4000_0000, 0x4000_0000),
    } | {f"/soc/virtio_mmio@{base:x}": (base, 0x1000) for base in VIRTIO}
    assert isinstance(bench.board.devices["/soc/serial@10000000"], Uart)
    assert timebase(bench.board.tree) == 10_000_000


def test_an_interrupt_from_console_to_hart_and_back() -> None:
    bench = virt(harts=2)
    context = 3  # hart 1, S-mode: contexts are M0 S0 M1 S1
    bench.store(PLIC + 4 * 10, 4, 1)
    bench.store(PLIC + 0x2000 + 0x80 * context, 4, 1 << 10)
    bench.store(UART + 1, 1, 1)
    bench.port.send(b"x")
    assert [hart.interrupts for hart in bench.system.harts] == [{}, {SEI: True}]
    claim = PLIC + 0x20_0004 + 0x1000 * context
    assert bench.load(claim, 4) == 10
    assert bench.load(UART, 1) == ord("x")
    bench.store(claim, 4, 10)
    assert bench.system.harts[1].interrupts == {SEI: False}
    bench.store(UART, 1, ord("y"))
    assert bench.port.output == b"y"


def test_clint() -> None:
    bench = virt(harts=2)
    bench.store(CLINT + 4, 4, 1)
    bench.store(CLINT + 0x4008, 8, 1234)
    assert bench.system.harts[1].interrupts == {3: True}
    assert bench.system.harts[1].deadline == 1234
    bench.system.time = 77
    assert bench.load(CLINT + 0xBFF8, 8) == 77


def test_poweroff_and_reboot() -> None:
    reboots: list[int] = []
    bench = virt(reboot=lambda: reboots.append(1))
    bench.store(TEST, 4, 0x5555)
    assert bench.system.halted == [0], "once, though the syscon-poweroff node says it too"
    bench.store(TEST, 4, 0x7777)
    assert reboots == [1] and bench.system.halted == [0]
    bench.store(TEST, 4, 0x9_3333)
    assert bench.system.halted == [0, 9]


def test_poweroff_through_a_plain_syscon(tmp_path: Path) -> None:
    bench = board(
        tmp_path,
        CPU
        + MEMORY
        + """
        off { compatible = "syscon-poweroff"; regmap = <&sys>; offset = <8>; mask = <0xf>; };
        again { compatible = "syscon-reboot"; regmap = <&sys>; value = <7>; };
        sys: sys@1000 { compatible = "syscon"; reg = <0 0x1000 0 0x10>; };
        """,
    )
    bench.store(0x1008, 4, 0x3E)
    assert bench.system.halted == []
    bench.store(0x1008, 4, 0x3F)
    bench.store(0x1000, 4, 7)
    assert bench.system.halted == [0, 0], "without anyone to reboot it, the machine stops"


def test_contexts_in_any_order_and_gaps(tmp_path: Path) -> None:
    bench = board(
        tmp_path,
        CPU
        + MEMORY
        + """
        plic@c000000 { compatible = "sifive,plic-1.0.0"; reg = <0 0xc000000 0 0x400000>;
            #interrupt-cells = <1>; interrupt-controller; riscv,ndev = <5>;
            interrupts-extended = <&intc 0xffffffff>, <&intc 9>, <&intc 11>; };
        """,
    )
    plic = bench.board.devices["/plic@c000000"]
    assert isinstance(plic, Plic)
    for context in range(3):
        plic.outputs[context].set(True)
    assert bench.system.harts[0].interrupts == {9: True, 11: True}


def test_disabled_nodes_are_skipped(tmp_path: Path) -> None:
    bench = board(
        tmp_path,
        CPU.replace("reg = <0>", 'reg = <0>; status = "okay"')
        + MEMORY
        + """
        cpus { cpu@1 { device_type = "cpu"; reg = <1>; status = "disabled"; riscv,isa = "rv64v";
            off: interrupt-controller { compatible = "riscv,cpu-intc"; #interrupt-cells = <1>; };
        }; };
        clint@2000000 { compatible = "riscv,clint0"; reg = <0 0x2000000 0 0x10000>;
            interrupts-extended = <&off 3>, <&off 7>, <&intc 3>, <&intc 7>; };
        what@1000 { compatible = "acme,what"; reg = <0 0x1000 0 0x10>; status = "disabled";
            child@0 { compatible = "acme,child"; reg = <0 0 0 1>; }; };
        pmu { compatible = "riscv,pmu"; };
        reserved-memory { ranges; #address-cells = <2>; #size-cells = <2>;
            kept@80000000 { compatible = "shared-dma-pool"; reg = <0 0x80000000 0 0x1000>; }; };
        i2c { #address-cells = <1>; #size-cells = <0>; compatible = "acme,bus-without-reg";
            chip@50 { compatible = "acme,chip"; reg = <0x50>; }; };
        """,
    )
    assert [hart.id for hart in bench.board.harts] == [0]
    assert list(bench.board.devices) == ["/clint@2000000"]
    bench.store(CLINT, 4, 1)
    assert bench.system.harts[0].interrupts == {3: True}


def test_the_console_is_stdout_path(tmp_path: Path) -> None:
    uarts = "".join(
        f'serial@{base:x} {{ compatible = "ns16550a"; reg = <0 {base:#x} 0 8>; }};'
        for base in (0x1000, 0x2000)
    )
    bench = board(tmp_path, CPU + MEMORY + uarts)
    assert bench.board.serial_ports["/serial@1000"] is bench.port, "the first, when none is named"
    chosen = 'chosen { stdout-path = "/serial@2000:115200"; };'
    bench = board(tmp_path, CPU + MEMORY + uarts + chosen)
    assert bench.board.serial_ports["/serial@2000"] is bench.port
    other = bench.board.serial_ports["/serial@1000"]
    bench.store(0x1000, 1, ord("a"))
    assert isinstance(other, SerialPort) and other.output == b"a" and bench.port.output == b""


def test_the_first_known_compatible_counts(tmp_path: Path) -> None:
    text = 'serial@1000 { compatible = "acme,best", "ns16550a", "syscon"; reg = <0 0x1000 0 8>; };'
    bench = board(tmp_path, CPU + MEMORY + text)
    assert isinstance(bench.board.devices["/serial@1000"], Uart)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (
            'what@1000 { compatible = "acme,what", "acme,older"; reg = <0 0x1000 0 0x10>; };',
            "/what@1000: no device for acme,what or acme,older; known: google,goldfish-rtc, ns1655",
        ),
        (
            'a@80000000 { compatible = "syscon"; reg = <0 0x80000f00 0 0x10>; };',
            "/a@80000000: 0x80000f00..0x80000f0f overlaps /memory@80000000 at "
            "0x80000000..0x800fffff (",
        ),
        ('a@0 { compatible = "syscon"; reg = <0 0 0 0>; };', "reg has size 0"),
        ('a@0 { compatible = "ns16550"; reg = <0xffffffff 0 2 0>; };', "beyond the 56-bit"),
        ('a@0 { compatible = "syscon"; reg = <0 0 0>; };', "reg has 3 cells"),
        ('off { compatible = "syscon-poweroff"; };', "/off: has no regmap"),
        (
            'off { compatible = "syscon-poweroff"; regmap = <&intc>; value = <1>; };',
            "/off: regmap does not refer to a syscon",
        ),
        (
            'off { compatible = "syscon-poweroff"; regmap = <&u>; value = <1>; };'
            'u: u@0 { compatible = "ns16550"; reg = <0 0 0 8>; };',
            "/off: regmap does not refer to a syscon",
        ),
        (
            'u@0 { compatible = "ns16550"; reg = <0 0 0 8>; interrupts-extended = <&intc 64>; };',
            "/u@0: a hart has no interrupt 64",
        ),
        (
            'u@0 { compatible = "ns16550"; reg = <0 0 0 8>; reg-shift = <9>; };',
            "/u@0: reg-shift is 9",
        ),
        (
            'u@0 { compatible = "ns16550"; reg = <0 0 0 8>; interrupts-extended = <&x 1>; };'
            "x: x { #interrupt-cells = <1>; };",
            "its interrupt goes to /x, which is no device",
        ),
        (
            'u@0 { compatible = "ns16550"; reg = <0 0 0 8>; interrupts-extended = <&p 6>; };'
            'p: p@100 { compatible = "riscv,plic0"; reg = <0 0x100 0 0x100>; riscv,ndev = <5>;'
            "#interrupt-cells = <1>; interrupts-extended = <&intc 11>; };",
            "/u@0: /p@100 has no interrupt 6",
        ),
        (
            'p@100 { compatible = "riscv,plic0"; reg = <0 0x100 0 0x100>; riscv,ndev = <1024>; };',
            "riscv,ndev is 1024",
        ),
        (
            'cpus { cpu@1 { device_type = "cpu"; reg = <0>; riscv,isa = "rv64i"; }; };',
            "/cpus/cpu@1: hart ID 0 is /cpus/cpu@0's",
        ),
        (
            'cpus { cpu@1 { device_type = "cpu"; reg = <1>; riscv,isa = "rv64iv"; }; };',
            "/cpus/cpu@1: unknown extension v",
        ),
        (
            'memory@100 { device_type = "memory"; reg = <0 0x100 0 0x1000>; };',
            "/memory@100: memory 0x100..0x10ff is not made of whole 4 KiB pages",
        ),
    ],
)
def test_errors_are_one_line_with_the_place(tmp_path: Path, body: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        board(tmp_path, CPU.strip().replace("\n", " ") + MEMORY + "\n" + body)
    message = str(caught.value)
    assert says in message and "\n" not in message
    assert message.startswith(f"{tmp_path}/board.dts:4: /")


@pytest.mark.parametrize(
    ("body", "says"), [(CPU, "has no memory node"), (MEMORY, "has no enabled cpu node")]
)
def test_what_a_board_must_have(tmp_path: Path, body: str, says: str) -> None:
    with pytest.raises(UserError, match=rf"board\.dts: {says}"):
        board(tmp_path, body)


def test_a_blob_has_no_lines_but_a_name(tmp_path: Path) -> None:
    tree = make(tmp_path, CPU + 'x@0 { compatible = "acme,x"; reg = <0 0 0 8>; };' + MEMORY)
    (tmp_path / "board.dtb").write_bytes(fdt.to_dtb(tree))
    with pytest.raises(UserError, match=r"board\.dtb: /x@0: no device for acme,x"):
        Bench(fdt.load(tmp_path / "board.dtb"))


def test_timebase(tmp_path: Path) -> None:
    per_cpu = 'cpus { cpu@0 { device_type = "cpu"; timebase-frequency = <0 1000>; }; };'
    assert timebase(make(tmp_path, per_cpu)) == 1000
    assert timebase(make(tmp_path, "")) == 10_000_000
    with pytest.raises(UserError, match="timebase-frequency is 0"):
        timebase(make(tmp_path, "cpus { timebase-frequency = <0>; };"))
    with pytest.raises(UserError, match="timebase-frequency is 8589934592"):
        timebase(make(tmp_path, "cpus { timebase-frequency = <2 0>; };"))


def test_state_of_the_whole_board() -> None:
    bench, other = virt(), virt()
    fresh = bench.board.state()
    bench.store(UART + 1, 1, 1)
    bench.store(PLIC + 4 * 10, 4, 5)
    bench.port.send(b"abc")
    saved = bench.board.state()
    other.board.load_state(saved)
    assert other.board.state() == saved != fresh
    assert other.load(UART, 1) == ord("a")
    bench.board.reset()
    assert bench.board.state() == fresh


def test_input_from_another_thread_waits_for_the_device_lock() -> None:
    bench = virt()
    sender = threading.Thread(target=bench.port.send, args=(b"x",))
    with bench.board.lock:
        sender.start()
        sender.join(0.05)
        assert sender.is_alive() and bench.load(UART + 5, 1) == 0x60
    sender.join()
    assert bench.load(UART + 5, 1) == 0x61


def test_symbols_reach_the_devices(tmp_path: Path) -> None:
    bench = board(tmp_path, CPU + MEMORY + 'htif { compatible = "ucb,htif0"; };')
    bench.board.attach_symbols({"tohost": 0x8000_1000})
    bench.store(0x8000_1000, 8, 1 << 56 | 1 << 48 | ord("h"))
    assert bench.port.output == b"h"
    bench.store(0x8000_1000, 8, 7)
    assert bench.system.halted == [3]


def test_cards_go_into_free_slots() -> None:
    kinds = [(Entropy(), "virtio_mmio@10003000"), (Entropy(), "mmio"), (Entropy(), "mmio")]
    bench = virt(cards=[Card(*kind) for kind in kinds])
    slots = [bench.board.devices[f"/soc/virtio_mmio@{base:x}"] for base in VIRTIO]
    assert all(isinstance(slot, VirtioMmio) for slot in slots)
    first, second, third = (card for card, _ in kinds)
    assert [slot.function for slot in slots[:3]] == [second, third, first]
    assert [bench.load(base + 8, 4) for base in VIRTIO] == [4, 4, 4, 0, 0, 0, 0, 0]
    assert second.ram is bench.board.ram


def test_a_card_interrupts_through_its_slot() -> None:
    card = Entropy()
    bench = virt(cards=[Card(card, "mmio")])
    bench.store(PLIC + 4 * 1, 4, 1)
    bench.store(PLIC + 0x2000, 4, 1 << 1)
    card.changed()
    assert bench.system.harts[0].interrupts == {MEI: True}
    bench.store(VIRTIO[0] + 0x64, 4, 2)
    assert bench.load(PLIC + 0x20_0004, 4) == 1
    bench.store(PLIC + 0x20_0004, 4, 1)
    assert bench.system.harts[0].interrupts == {MEI: False}


def test_a_card_that_stops_is_told_of_once() -> None:
    told: list[str] = []
    card = Entropy()
    virt(cards=[Card(card, "mmio")], report=told.append)
    card.fail("no more bytes")
    card.fail("still none")
    assert told == ["/soc/virtio_mmio@10001000: entropy: no more bytes: stopped until it is reset"]


def test_a_card_without_a_slot(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no free virtio slot for the device Entropy"):
        Bench(make(tmp_path, CPU + MEMORY), cards=[Card(Entropy())])
    with pytest.raises(UserError, match="has no free virtio slot on mmio for the"):
        virt(cards=[Card(Entropy(), "mmio") for _ in range(9)])
