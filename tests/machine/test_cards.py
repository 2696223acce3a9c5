"""Disks and other virtio devices, as the options name them."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

import rvvm
from disk.qemu_tools import tool
from rvvm.py.cards import Drive, device_card
from rvvm.py.devices.pci.host import PciHost
from rvvm.py.devices.virtio.block import Block
from rvvm.py.devices.virtio.entropy import Entropy
from rvvm.py.devices.virtio.mmio import VirtioMmio
from rvvm.py.disk import Overlay, RawFile
from rvvm.py.errors import UserError
from rvvm.py.qcow2 import Qcow2


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RVVM_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "disk.img"
    path.write_bytes(b"x" * (1 << 20))
    return path


def cards(machine: rvvm.Machine) -> dict[str, Any]:
    """What is in the slots of a machine."""
    found = {}
    for path, device in machine.board.devices.items():
        if isinstance(device, PciHost):
            found |= {f"pci {slot}": f.function for slot, f in device.slots.items()}  # type: ignore[attr-defined]
        elif isinstance(device, VirtioMmio) and device.function.kind:
            found[path.rpartition("/")[2]] = device.function
    return found


def test_disks_go_to_pci_unless_told(image: Path) -> None:
    machine = rvvm.Machine(
        drive=[f"file={image},bus=mmio", image, f"file={image},if=virtio,queues=4"],
        device=["virtio-rng", "virtio-rng-device"],
    )
    found = cards(machine)
    assert {slot: type(function) for slot, function in found.items()} == {
        "pci 1": Block, "pci 2": Block, "pci 3": Entropy,
        "virtio_mmio@10001000": Block, "virtio_mmio@10002000": Entropy,
    }  # fmt: skip
    assert len(found["pci 2"].queues) == 4


@pytest.mark.parametrize(
    ("text", "commit", "kind", "read_only"),
    [
        ("{}", False, Overlay, False),
        ("{}", True, RawFile, False),
        ("file={},snapshot=off", False, RawFile, False),
        ("file={},snapshot=on", True, Overlay, False),
        ("file={},readonly=on,format=raw", True, RawFile, True),
    ],
)
def test_who_may_write(image: Path, text: str, commit: bool, kind: type, read_only: bool) -> None:
    machine = rvvm.Machine(drive=text.format(image), commit=commit)
    (block,) = cards(machine).values()
    assert type(block.disk) is kind and block.disk.read_only is read_only


def test_a_name_with_a_comma(image: Path) -> None:
    other = image.with_name("a,b=c.img")
    image.rename(other)
    drive = Drive.parse(f"file={str(other).replace(',', ',,')},serial=abc")
    assert Path(drive.file) == other and drive.serial == "abc"


def test_a_machine_that_is_gone_lets_its_disks_go(image: Path) -> None:
    rvvm.Machine(drive=Drive(image, commit=True))
    import gc

    gc.collect()
    rvvm.Machine(drive=Drive(image, commit=True))


def test_random_bytes_repeat_where_time_counts_instructions() -> None:
    counted = [device_card("virtio-rng", True).function for _ in range(2)]
    assert all(isinstance(card, Entropy) for card in counted)
    first, second = (card.source(8) for card in counted)  # type: ignore[attr-defined]
    assert first == second
    assert device_card("virtio-rng", False).function.source is os.urandom  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"drive": "file=IMAGE,colour=red"}, "colour is none of file, format, if,"),
        ({"drive": "file=IMAGE,file=IMAGE"}, "file is there twice"),
        ({"drive": "format=raw"}, "names no file"),
        ({"drive": "file=IMAGE,format=qcow2"}, "disk.img: is no qcow2 image"),
        ({"drive": "file=IMAGE,format=vmdk"}, "format is one of , raw, qcow2"),
        (
            {"drive": "file=IMAGE,format=qcow2", "commit": True},
            "qcow2 images are only read: to write into one, qemu-img convert -O raw disk.img",
        ),
        ({"drive": "file=IMAGE,backing=other"}, "backing= is of qcow2 images"),
        ({"drive": "file=IMAGE,limit=1G", "commit": True}, "limit= is of what the guest writes"),
        ({"drive": "file=IMAGE,limit=much"}, "limit is an amount such as 4096 or 10M"),
        ({"drive": "file=IMAGE,throttling.iops-total=0"}, "iops-total is an amount"),
        ({"drive": "file=IMAGE,if=scsi"}, "if is one of virtio, none"),
        ({"drive": "file=IMAGE,readonly=maybe"}, "readonly is one of on, off"),
        ({"drive": "file=IMAGE,queues=0"}, "queues is a number from 1 to 64"),
        ({"drive": "file=IMAGE,bus=usb"}, "has no free virtio slot on usb for the device Block"),
        ({"drive": "/nosuch.img"}, "--drive: /nosuch.img: No such file or directory"),
        ({"drive": "file=IMAGE", "dtb": "spike"}, "has no free virtio slot for the device Block"),
        (
            {"device": "virtio-gpu"},
            "--device virtio-gpu: expected one of virtio-rng, virtio-console, virtio-balloon,",
        ),
        ({"device": "virtio-rng,path=x"}, "path is none of driver, bus, id"),
        ({"device": "virtio-vsock,guest-cid=2,path=x"}, "guest-cid is 3 or more"),
        ({"device": "virtio-vsock,guest-cid=x,path=x"}, "guest-cid is a number from 1 to"),
        ({"device": "virtio-vsock"}, "names no path"),
        ({"device": "virtio-vsock,path=/nosuch/folder/vm"}, "/nosuch/folder/vm: No such file"),
        ({"device": "virtio-balloon,free-page-reporting=1"}, "free-page-reporting is one of on"),
        ({"drive": ["IMAGE,snapshot=off", "IMAGE"]}, "another machine writes to it"),
    ],
)
def test_what_cannot_be(image: Path, how: dict[str, Any], says: str) -> None:
    def named(what: Any) -> Any:
        return what.replace("IMAGE", str(image)) if isinstance(what, str) else what

    if "dtb" in how:
        how = how | {"dtb": Path(__file__).resolve().parents[2] / "devicetree/spike.dts"}
    how = {
        key: [named(v) for v in value] if isinstance(value, list) else named(value)
        for key, value in how.items()
    }
    with pytest.raises(UserError, match=says) as caught:
        rvvm.Machine(**how)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("magic", "name"), [(b"QFI\xfb", "qcow2"), (b"KDMV", "vmdk")])
def test_other_formats_are_named(image: Path, magic: bytes, name: str) -> None:
    image.write_bytes(magic + bytes(4096))
    how = "say format=qcow2" if name == "qcow2" else "qemu-img convert -O raw disk.img"
    with pytest.raises(UserError, match=rf"disk.img: is {name}, not raw: {how}"):
        rvvm.Machine(drive=image)
    (block,) = cards(rvvm.Machine(drive=f"file={image},format=raw")).values()
    assert type(block.disk) is Overlay, "whoever says that it is raw has it raw"


@pytest.mark.skipif(not shutil.which("qemu-img"), reason="qemu-img is not installed")
def test_qcow2_by_its_name_or_as_said(image: Path) -> None:
    for name, text in (("a.qcow2", "file={}"), ("a.img", "{},format=qcow2")):
        path = image.with_name(name)
        tool("qemu-img", "create", "-q", "-f", "qcow2", path, "3M")
        (block,) = cards(rvvm.Machine(drive=text.format(path))).values()
        assert type(block.disk) is Overlay and block.disk.size == 3 << 20
        (block,) = cards(rvvm.Machine(drive=text.format(path) + ",readonly=on")).values()
        assert type(block.disk) is Qcow2


def test_a_name_alone_does_not_make_a_qcow2_image(image: Path) -> None:
    other = image.rename(image.with_name("disk.qcow2"))
    with pytest.raises(UserError, match="disk.qcow2: is no qcow2 image"):
        rvvm.Machine(drive=other)


def test_limits(image: Path) -> None:
    text = f"file={image},limit=64K,throttling.iops-total=100,throttling.bps-total=1M"
    (block,) = cards(rvvm.Machine(drive=text)).values()
    assert block.disk._room == 16
    assert block.throttle.rates() == {"requests": 100, "bytes": 1 << 20}


def passt_stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> Path:
    """A ``passt`` that notes how it was called."""
    script = folder / "passt"
    script.write_text(f"#!{sys.executable}\nimport os, socket, sys\n{program}\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return script


ANSWERS = """
open(sys.argv[0] + '.called', 'w').write(' '.join(sys.argv[1:]))
end = socket.socket(fileno=int(sys.argv[sys.argv.index('--fd') + 1]))
asked = end.recv(4 + 42)
end.sendall(asked[:4] + asked[4:][::-1])
end.recv(1)
"""


def test_a_net_through_passt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = passt_stand_in(tmp_path, monkeypatch, ANSWERS)
    machine = rvvm.Machine(
        netdev=[
            "user,hostfwd=tcp::2222-:22,hostfwd=udp:127.0.0.1:5399-10.0.2.15:5353",
            "user,mac=02:00:00:00:00:07,bus=mmio",
        ]
    )
    found = cards(machine)
    assert found["pci 1"].address == bytes.fromhex("525400123456")
    assert found["virtio_mmio@10001000"].address == bytes.fromhex("020000000007")
    called = Path(f"{script}.called").read_text()
    assert "-a 10.0.2.15" in called
    process = found["pci 1"].link._process
    found["pci 1"].link.close()
    assert process.poll() is not None, "it ends with its link"


def test_forwards_are_passt_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = passt_stand_in(tmp_path, monkeypatch, ANSWERS)
    rvvm.Machine(netdev="user,hostfwd=tcp::2222-:22,hostfwd=udp:127.0.0.1:5399-10.0.2.15:5353")
    called = Path(f"{script}.called").read_text()
    assert called.endswith("-t 2222:22 -u 127.0.0.1/5399:5353")


def test_passt_that_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passt_stand_in(tmp_path, monkeypatch, "sys.exit('Failed to bind port 2222')")
    with pytest.raises(UserError, match="--netdev user: passt: Failed to bind port 2222"):
        rvvm.Machine(netdev="user")


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_port_that_is_taken(kind: str) -> None:
    how = socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, how) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind == "tcp":
            taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"{kind} port {port}: Address already in use"):
            rvvm.Machine(netdev=f"user,hostfwd={kind}::{port}-:22")


def test_passt_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="needs passt, which is not installed: apt install passt"):
        rvvm.Machine(netdev="user")


@pytest.mark.parametrize(
    ("netdev", "says"),
    [
        ("vde", "kind is one of user, socket, switch, tap"),
        ("tap", "names no ifname"),
        ("tap,ifname=much-too-long-a-name", "ifname has 1 to 15 bytes"),
        ("tap,ifname=tap0,script=/etc/ifup", "script is one of no"),
        ("switch", "names no path"),
        ("switch,path=/nosuch/folder/net", "--netdev switch: /nosuch/folder/net: No such file"),
        ("user,hostfwd=2222:22", "hostfwd=2222:22: expected tcp:"),
        ("user,hostfwd=tcp::1-10.0.0.9:2", "hostfwd=tcp::1-10.0.0.9:2: expected tcp:"),
        ("user,hostfwd=tcp::99999-:22", "tcp port 99999: no such port"),
        ("user,mac=53:54:00:12:34:56", "mac is six bytes of a single station"),
        ("user,mac=5254", "mac is six bytes of a single station"),
        ("socket", "names no localaddr"),
        ("socket,localaddr=:1,udp=here", "udp is host:port"),
        ("socket,localaddr=:99999,udp=:1", "localaddr is host:port"),
        ("socket,path=/nosuch/folder/net", "/nosuch/folder/net: No such file"),
    ],
)
def test_nets_that_cannot_be(netdev: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        rvvm.Machine(netdev=netdev)


def test_shares(tmp_path: Path) -> None:
    machine = rvvm.Machine(share=[f"{tmp_path}:one", f"{tmp_path}:two,readonly=on,bus=mmio"])
    found = cards(machine)
    assert found["pci 1"].name == b"one" and not found["pci 1"].server.root.read_only
    assert found["virtio_mmio@10001000"].server.root.read_only


@pytest.mark.parametrize(
    ("share", "says"),
    [
        ("/tmp", "expected folder:tag"),
        (":tag", "expected folder:tag"),
        ("/tmp:", "expected folder:tag"),
        ("/tmp:" + "t" * 32, "a tag of 1 to 31 bytes"),
        ("/nosuch:tag", "--share: /nosuch: No such file or directory"),
    ],
)
def test_shares_that_cannot_be(share: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        rvvm.Machine(share=share)


def test_a_console_at_a_path(tmp_path: Path) -> None:
    path = tmp_path / "console.sock"
    machine = rvvm.Machine(device=[f"virtio-console,path={path}", "virtio-console,name=agent"])
    found = cards(machine)
    assert path.is_socket() and found["pci 1"].ports[0].name == ""
    assert found["pci 2"].ports[0].name == "agent"
    with pytest.raises(UserError, match="console.sock: somebody listens there already"):
        rvvm.Machine(device=f"virtio-console,path={path}")
    found["pci 1"].ports[0].stream.close()
    assert not path.exists()


def test_a_machine_that_is_closed_has_let_go(image: Path) -> None:
    with rvvm.Machine(drive=image, commit=True) as first:
        with pytest.raises(rvvm.UserError, match="in use by another machine"):
            rvvm.Machine(drive=image, commit=True)
        first.run(until=rvvm.instructions(1000))
    with pytest.raises(RuntimeError, match="the machine is closed"):
        first.run()
    with rvvm.Machine(drive=image, commit=True), pytest.raises(OSError):
        first.board.host.cards[0].function.disk.read([memoryview(bytearray(512))], 0)
