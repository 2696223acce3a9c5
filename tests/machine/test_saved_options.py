"""A saved machine of somebody else's: what it says of the host does not count."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import rvvm
from cli.run import rvvm as command
from machine import elves, forged
from rvvm.py import saved_options, savefile
from rvvm.py.options import Options
from rvvm.py.resources import resource


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RVVM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("disk.img").write_bytes(b"base" * 16384)
    Path("shared").mkdir()
    return tmp_path


def made(**options: Any) -> rvvm.Machine:
    kernel = resource("firmware/hello.elf")
    machine = rvvm.Machine(kernel=kernel, bios="none", memory="4M", clock="instructions", **options)
    machine.run(until=rvvm.instructions(2000))
    return machine


def rewritten(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """The file with other options, and right checksums."""
    parts = [(part.kind, part.data()) for part in savefile.read(path)]
    info = json.loads(parts[0][1])
    change(info["options"])
    with savefile.writing(path) as file:
        for kind, data in [(parts[0][0], json.dumps(info).encode()), *parts[1:]]:
            file.put(kind, data)


def options(path: str) -> dict[str, Any]:
    found: dict[str, Any] = savefile.decode(savefile.read(Path(path))[0].data())["options"]
    return found


def test_nothing_of_the_host_is_in_the_file(folder: Path) -> None:
    with made(
        serial=f"file:{folder}/console",
        share=f"{folder}/shared:host,readonly=on",
        netdev=f"socket,path={folder}/net,mac=52:54:00:00:00:07,rate=10M",
        device=[
            f"virtio-vsock,guest-cid=7,path={folder}/vsock",
            f"virtio-console,path={folder}/con,name=agent",
            "virtio-rng-pci",
        ],
        drive=f"{folder}/disk.img,serial=one",
    ) as machine:
        machine.save("saved")
    parts = [part.data() for part in savefile.read(Path("saved"))]
    assert not any(str(folder).encode() in part for part in parts[:3])
    known = options("saved")
    assert known["serial"] is None and known["kernel"] == "./hello.elf"
    assert known["netdev"] == ["kind=none,mac=52:54:00:00:00:07"]
    assert known["share"] == ["folder=:host"] and known["drive"][0]["file"] == "disk.img"
    assert known["device"] == [
        "driver=virtio-vsock,guest-cid=7",
        "driver=virtio-console,name=agent",
        "driver=virtio-rng-pci",
    ]


def test_devices_are_there_with_nothing_behind_them(folder: Path) -> None:
    with made(
        share="shared:host", netdev="socket,path=net", device="virtio-vsock,path=vsock"
    ) as machine:
        machine.save("saved")
        before = [type(card.function) for card in machine.board.host.cards]
        mac = machine.board.host.cards[0].function.address  # type: ignore[attr-defined]
    Path("net").unlink()
    with rvvm.Machine.load("saved") as loaded:
        cards = [card.function for card in loaded.board.host.cards]
        assert [type(card) for card in cards] == before
        assert cards[0].address == mac and not cards[0].connected  # type: ignore[attr-defined]
        assert cards[1].server.root is None and cards[2].gate.dial(1) is None  # type: ignore[attr-defined]
        assert [note.partition(":")[2].split()[0] for note in loaded.detached] == [
            "--netdev",
            "--share",
            "--device",
        ]
        loaded.fork().close()
        loaded.save("again")
    assert options("again") == options("saved")
    assert not Path("net").exists() and not Path("vsock").exists()
    with rvvm.Machine.load(
        "saved", share="shared:host", netdev="socket,path=net", device="virtio-vsock,path=vsock"
    ) as loaded:
        assert loaded.detached == [] and Path("net").is_socket() and Path("vsock").is_socket()
        assert loaded.board.host.cards[0].function.address == mac  # type: ignore[attr-defined]


def test_every_option_is_known_here() -> None:
    """A new one is of the machine, or of the host: ``saved_options`` has to say."""
    assert saved_options._OPTIONS.keys() == {field.name for field in fields(Options)}


HOSTILE: dict[str, Callable[[dict[str, Any]], None]] = {
    "serial": lambda it: it.update(serial="file:precious"),
    "perf map": lambda it: it.update(perf_map=True),
    "share": lambda it: it.update(share=["/:host"]),
    "network": lambda it: it.update(netdev=["socket,path=precious"]),
    "tap": lambda it: it.update(netdev=["tap,ifname=lo"]),
    "switch": lambda it: it.update(netdev=["switch,path=shared"]),
    "udp": lambda it: it.update(netdev=["socket,udp=127.0.0.1:9,localaddr=127.0.0.1:0"]),
    "passt": lambda it: it.update(netdev=["user,hostfwd=tcp::22-:22"]),
    "vsock": lambda it: it.update(device=["virtio-vsock,path=precious"]),
    "console": lambda it: it.update(device=["virtio-console,path=precious"]),
    "kernel": lambda it: it.update(kernel="/etc/passwd", bios=None, initrd="/etc/shadow"),
    "board": lambda it: it.update(dtb="/etc/passwd"),
}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_what_a_file_says_of_the_host_does_not_count(hostile: str, folder: Path) -> None:
    """It names what would be truncated, replaced, opened, listened at or connected to."""
    Path("precious").write_text("precious")
    change = HOSTILE[hostile]
    wanted: dict[str, Any] = {}
    change(wanted)
    kinds = {"share": "shared:x", "netdev": "socket,path=net", "device": "virtio-console"}
    if "vsock" in hostile:
        kinds["device"] = "virtio-vsock,path=vsock"
    with made(**{name: kinds[name] for name in wanted if name in kinds}) as machine:
        machine.save("saved")
    rewritten(Path("saved"), change)
    before = {path: path.stat() for path in folder.iterdir()}
    with rvvm.Machine.load("saved") as loaded:
        assert loaded.line is None and not loaded.options.perf_map
        loaded.run(until=rvvm.instructions(2000))
        if "kernel" in wanted:
            with pytest.raises(rvvm.UserError, match="passwd|shadow: a saved machine names it"):
                loaded.reset()
    assert Path("precious").read_text() == "precious"
    assert {path: path.stat() for path in folder.iterdir()}.keys() == before.keys()


def test_a_base_is_beside_the_file_or_named(folder: Path) -> None:
    with made(drive="disk.img") as machine:
        machine.save("saved")
    Path("elsewhere").mkdir()
    Path("disk.img").rename("elsewhere/disk.img")
    refused = r"^--drive: disk\.img: No such file beside the saved machine: --drive says where"
    for name in ("elsewhere/disk.img", f"{folder}/elsewhere/disk.img", "..", "/dev/zero"):
        rewritten(Path("saved"), lambda it, name=name: it["drive"][0].update(file=name))  # type: ignore[misc]
        with pytest.raises(rvvm.UserError, match=r"saved: not a machine of this version"):
            rvvm.Machine.load("saved")
    rewritten(Path("saved"), lambda it: it["drive"][0].update(file="disk.img"))
    with pytest.raises(rvvm.UserError, match=refused):
        rvvm.Machine.load("saved")
    Path("disk.img").symlink_to("elsewhere/disk.img")
    with pytest.raises(rvvm.UserError, match=refused):
        rvvm.Machine.load("saved")
    rvvm.Machine.load("saved", drive="elsewhere/disk.img").close()
    rewritten(Path("saved"), lambda it: it["drive"][0].update(commit=True))
    with pytest.raises(rvvm.UserError, match=r"saved: not a machine of this version"):
        rvvm.Machine.load("saved")


def test_the_command_line_says_what_is_detached(folder: Path) -> None:
    elves.write(folder / "greeting.elf", elves.GREETING)
    with rvvm.Machine(
        kernel="greeting.elf", bios="none", memory="4M", netdev="socket,path=net", share="shared:us"
    ) as machine:
        machine.save("saved")
    done = command("--load", "saved", cwd=folder)
    assert (done.returncode, done.stdout) == (0, b"Hello, world\n")
    assert done.stderr.decode().splitlines() == [
        "rvvm: its network is not connected: --netdev connects it",
        "rvvm: nothing is shared: --share FOLDER:us shares a folder",
    ]
    done = command("--load", "saved", "--netdev", "none", "--share", "shared:us", cwd=folder)
    assert (done.returncode, done.stderr) == (0, b"")


def test_names_of_a_file_do_not_reach_the_terminal_as_they_are(folder: Path) -> None:
    made(share="shared:host").save("saved")
    rewritten(Path("saved"), lambda it: it.update(share=["x:\x1b[2J" + "t" * 40]))
    with pytest.raises(rvvm.UserError) as caught:
        rvvm.Machine.load("saved")
    assert str(caught.value).isprintable() and "\\x1b[2J" in str(caught.value)


@pytest.mark.parametrize("seconds", [5, pytest.param(600, marks=pytest.mark.long)])
def test_forged_machines_are_one_line_or_run(folder: Path, seconds: float) -> None:
    forged.run(folder, seconds, first=random.randrange(1 << 30))


def test_no_file_is_waited_for(folder: Path) -> None:
    os.mkfifo("pipe")
    for name in ("pipe", "/dev/zero", "/dev/null", "/dev/stdin"):
        with pytest.raises(rvvm.UserError, match="no saved machine: not a regular file"):
            rvvm.Machine.load(name)
