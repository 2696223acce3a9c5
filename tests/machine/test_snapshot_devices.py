"""What is outside of a machine, at its moments: disks, networks, folders, consoles."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

import rvvm
from machine import elves
from machine.moments import all_of, go_on
from rvvm.py import bases
from rvvm.py.devices.virtio.function import CONFIG_CHANGE, DRIVER_OK, Function
from rvvm.py.resources import resource


@pytest.fixture(autouse=True)
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RVVM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "disk.img"
    path.write_bytes(b"base" * (1 << 18))
    return path


def made(**options: Any) -> rvvm.Machine:
    kernel = resource("firmware/hello.elf")
    return rvvm.Machine(kernel=kernel, bios="none", memory="4M", clock="instructions", **options)


def functions(machine: rvvm.Machine) -> list[Any]:
    return [card.function for card in machine.board.host.cards]


def write(machine: rvvm.Machine, data: bytes, offset: int = 0) -> None:
    functions(machine)[0].disk.write([memoryview(data)], offset)


def first(machine: rvvm.Machine, size: int = 4) -> bytes:
    data = bytearray(size)
    functions(machine)[0].disk.read([memoryview(data)], 0)
    return bytes(data)


def test_a_disk_goes_back_and_on_with_its_machine(image: Path) -> None:
    machine = made(drive=image)
    write(machine, b"1111")
    snapshot = machine.snapshot()
    write(machine, b"2222")
    clone = machine.fork()
    write(clone, b"3333")
    machine.save("saved")
    machine.restore(snapshot)
    assert [first(it) for it in (machine, clone)] == [b"1111", b"3333"]
    clone.restore(snapshot)
    assert first(clone) == b"1111"
    loaded = rvvm.Machine.load("saved")
    assert first(loaded) == b"2222" and first(loaded, 8)[4:] == b"base"
    assert image.read_bytes()[:4] == b"base"


def test_a_base_that_is_elsewhere(image: Path, tmp_path: Path) -> None:
    machine = made(drive="file=disk.img,serial=one")
    write(machine, b"1111")
    machine.save("saved")
    here = tmp_path / "here"
    here.mkdir()
    for name in ("saved", "disk.img"):
        (tmp_path / name).rename(here / name)
    assert first(rvvm.Machine.load(here / "saved")) == b"1111", "beside the file"
    (here / "disk.img").rename(tmp_path / "other.img")
    assert first(rvvm.Machine.load(here / "saved", drive="other.img")) == b"1111", "as told"
    with pytest.raises(rvvm.UserError, match=r"disk\.img: No such file"):
        rvvm.Machine.load(here / "saved")


@pytest.mark.parametrize("change", ["a byte", "size", "another file"])
def test_a_base_that_has_changed(image: Path, change: str) -> None:
    """Its times say nothing: whoever wrote may have set them back."""
    made(drive=image).save("saved")
    status = image.stat()
    if change == "size":
        with image.open("ab") as file:
            file.write(bytes(512))
    elif change == "a byte":
        with image.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"x")
    else:
        image.unlink()
        image.write_bytes(bytes(status.st_size))
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(rvvm.UserError, match=r"disk\.img: has changed since the machine was saved"):
        rvvm.Machine.load("saved")


def test_a_copy_of_a_base_is_as_good(image: Path, tmp_path: Path) -> None:
    """With other times, and holes where there were zeroes."""
    with image.open("r+b") as file:
        file.write(bytes(1 << 19))
    made(drive=image).save("saved")
    copy = tmp_path / "copy.img"
    with copy.open("wb") as file:
        file.truncate(image.stat().st_size)
        file.seek(1 << 19)
        file.write(image.read_bytes()[1 << 19 :])
    image.unlink()
    assert first(rvvm.Machine.load("saved", drive="copy.img")) == bytes(4)


def test_a_digest_is_remembered(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the inode is as it was, and that was not just now."""
    read: list[int] = []
    digest = bases._digest
    monkeypatch.setattr(bases, "_digest", lambda *of: read.append(1) or digest(*of))
    machine = made(drive=image)
    for _ in range(2):
        machine.save("saved")
    assert len(read) == 2
    monkeypatch.setattr(bases, "_SETTLED", 0)
    for _ in range(3):
        machine.save("saved")
    assert len(read) == 3
    (memo,) = (Path("cache") / "digests").iterdir()
    memo.write_text("{}")
    rvvm.Machine.load("saved")
    os.utime(image, (1, 1))
    rvvm.Machine.load("saved")
    assert len(read) == 5


@pytest.mark.parametrize("places", [[], [0], [1 << 17], [5, (1 << 20) - 1], [3 << 17, 5 << 17]])
def test_a_digest_is_of_what_is_there(image: Path, places: list[int]) -> None:
    def digest(path: Path) -> str:
        with path.open("rb") as file:
            return bases._digest(file.fileno(), path.stat().st_size)

    whole, sparse = bytearray(1 << 20), image.with_name("sparse")
    with sparse.open("wb") as file:
        file.truncate(len(whole))
        for place in places:
            whole[place] = 1
            file.seek(place)
            file.write(b"\1")
    image.write_bytes(whole)
    assert digest(image) == digest(sparse)
    image.write_bytes(whole[:-1] + b"\2")
    assert digest(image) != digest(sparse)


def test_a_disk_that_is_written_in_place(image: Path) -> None:
    machine = made(drive=image, commit=True)
    for attempt in (machine.snapshot, machine.fork, lambda: machine.save("saved")):
        with pytest.raises(rvvm.UserError, match="written in place"):
            attempt()
    assert not Path("saved").exists()


def test_a_network_is_unplugged_in_a_clone(tmp_path: Path) -> None:
    machine = made(netdev="socket,path=net.sock")
    (network,) = functions(machine)
    network.status = DRIVER_OK
    clone = machine.fork()
    (twin,) = functions(clone)
    assert twin.address == network.address
    assert network.on_mac_read() >> 48 == 1 and twin.on_mac_read() >> 48 == 0
    assert twin.pending & CONFIG_CHANGE and not network.pending
    assert twin.link.send([[memoryview(b"frame")]]), "what is sent is lost"
    snapshot = machine.snapshot()
    machine.restore(snapshot)
    assert network.connected and not network.pending


def test_a_loaded_machine_has_a_new_cable() -> None:
    machine = made(netdev="socket,path=net.sock")
    machine.save("saved")
    functions(machine)[0].link.close()
    del machine
    (network,) = functions(rvvm.Machine.load("saved", netdev="socket,path=other.sock"))
    assert network.connected and not network.pending and Path("other.sock").exists()


def test_a_shared_folder_has_to_be_mounted_anew(tmp_path: Path) -> None:
    machine = made(share=f"{tmp_path}:host")
    (folder,) = functions(machine)
    folder.server.fids[1] = folder.server.root.again()
    snapshot = machine.snapshot()
    (twin,) = functions(machine.fork())
    assert twin.name == b"host" and not twin.server.fids
    assert os.path.samestat(twin.server.root.stat(), folder.server.root.stat())
    machine.restore(snapshot)
    assert not folder.server.fids


def test_a_console_of_a_clone_ends_in_memory(tmp_path: Path) -> None:
    machine = made(device="virtio-console,path=con.sock,name=agent")
    (console,) = functions(machine.fork())
    console.ports[0].stream.send(b"typed")
    assert console.ports[0].name == "agent"


def test_a_vsock_of_a_clone_has_nobody_on_the_host(tmp_path: Path) -> None:
    machine = made(device="virtio-vsock,guest-cid=7,path=vm")
    (twin,) = functions(machine.fork())
    assert twin.on_guest_cid_read() == 7 and twin.gate.dial(1) is None


def test_a_balloon_and_its_clone_give_back_memory_of_their_own() -> None:
    machine = made(device="virtio-balloon,free-page-reporting=on")
    base = machine.board.memory[0].base
    machine.system.write(base + 0x3F_0000, b"\1" * 8192)
    clone = machine.fork()
    (balloon,), (twin,) = functions(machine), functions(clone)
    assert twin.features == balloon.features
    clone.system.discard(base + 0x3F_0000, 4096)
    assert clone.system.read(base + 0x3F_0FFF, 2) == b"\0\1"
    assert machine.system.read(base + 0x3F_0FFF, 2) == b"\1\1"
    snapshot = clone.snapshot()
    clone.system.write(base + 0x3F_0000, b"\2")
    clone.restore(snapshot)
    assert clone.system.read(base + 0x3F_0FFF, 2) == b"\0\1"


def test_random_bytes_that_repeat_go_on_where_they_were() -> None:
    machine = made(device="virtio-rng")
    (source,) = (it.source for it in functions(machine))
    source(100)
    snapshot = machine.snapshot()
    machine.save("saved")
    others = [machine.fork(), rvvm.Machine.load("saved")]
    wanted = source(10)
    machine.restore(snapshot)
    assert source(10) == wanted
    assert [functions(it)[0].source(10) for it in others] == [wanted] * 2


def test_a_device_that_has_no_twin() -> None:
    class Odd(Function, kind=42):
        pass

    machine = made()
    machine.board.host.cards = [rvvm.py.host.Card(Odd(queues=1))]  # type: ignore[attr-defined]
    with pytest.raises(rvvm.UserError, match="the device Odd cannot be cloned"):
        machine.fork()


ALARM = """
        li      t0, RTC
        li      t1, 1
        sw      t1, 0x10(t0)            # irq_enabled
        lw      t2, 0(t0)
        lw      t3, 4(t0)
        sw      t3, 0xc(t0)             # alarm_high
        li      t4, 4000000
        add     t2, t2, t4
        sw      t2, 8(t0)               # alarm_low: in 4 ms
    spin:
        li      t4, 5000
    wait:
        addi    t4, t4, -1
        bnez    t4, wait
        lw      t5, 0x18(t0)            # alarm_status
        bnez    t5, spin
        li      t0, FINISHER
        li      t3, 0x5555
        sw      t3, 0(t0)
"""


def test_an_alarm_that_is_set_rings_in_all(tmp_path: Path) -> None:
    source = ALARM.replace("RTC", "0x101000")
    program = elves.write(tmp_path / "program.elf", source)
    machine = rvvm.Machine(kernel=program, bios="none", memory="4M", clock="instructions")
    machine.run(until=rvvm.instructions(1_000_000))
    machine.save("saved")
    others = [machine.fork(), rvvm.Machine.load("saved")]
    assert machine.status is None
    wanted = go_on(machine, [1_500_000, 10_000_000])
    assert wanted[-1]["status"] == 0
    for other in others:
        assert go_on(other, [1_500_000, 10_000_000]) == wanted


def test_the_state_of_every_device_is_plain() -> None:
    """It survives being a file, and nothing of it is shared with the device."""
    machine = made(device=["virtio-rng", "virtio-console"], share=".:host", drive="disk.img")
    before = all_of(machine)
    machine.save("saved")
    assert all_of(rvvm.Machine.load("saved")) == before
    assert not re.search("0x[0-9a-f]+>", repr(machine.board.state()))


TYPED = """
    la      t0, tohost
    li      t1, 0x0101000000000068  # h
    sd      t1, 0(t0)
again:
    ld      t2, 0(t0)
    bnez    t2, again
    li      t3, 2000
spin:
    addi    t3, t3, -1
    bnez    t3, spin
"""


def test_a_programs_tohost_goes_on(tmp_path: Path) -> None:
    program = elves.write(tmp_path / "program.elf", TYPED + elves.TOHOST)
    machine = rvvm.Machine(kernel=program, bios="none", memory="4M", clock="instructions")
    machine.run(until=rvvm.instructions(500))
    assert machine.console.text == "h" and machine.status is None
    snapshot = machine.snapshot()
    machine.save("saved")
    others = [machine.fork(), rvvm.Machine.load("saved", kernel=program)]
    wanted = go_on(machine, [100, 10_000])
    assert machine.status == 3
    for other in others:
        assert go_on(other, [100, 10_000]) == wanted
    for one in (machine, *others):
        one.restore(snapshot)
        assert go_on(one, [100, 10_000]) == wanted
        one.reset()
        one.run(timeout=60)
        assert one.status == 3
