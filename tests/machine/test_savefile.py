"""Files of saved machines: whole, or one line that says why not."""

from __future__ import annotations

import os
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

import rvvm
from machine.moments import all_of, go_on
from rvvm.py import savefile
from rvvm.py.resources import resource


def made(**options: object) -> rvvm.Machine:
    kernel = resource("firmware/hello.elf")
    return rvvm.Machine(kernel=kernel, bios="none", memory="4M", clock="instructions", **options)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    machine = made()
    machine.run(until=rvvm.instructions(20_000))
    machine.save(tmp_path / "saved")
    return tmp_path / "saved"


def refused(path: Path) -> str:
    """The line that is told."""
    with pytest.raises(rvvm.UserError) as problem:
        rvvm.Machine.load(path)
    line = str(problem.value)
    assert line.startswith(f"{path}: ") and "\n" not in line and len(line) < 300
    return line


def test_every_byte_that_is_flipped_is_found(saved: Path) -> None:
    data = saved.read_bytes()
    pick = random.Random(1)
    for at in range(len(data)):
        with saved.open("r+b") as file:
            file.seek(at)
            file.write(bytes([data[at] ^ pick.randrange(1, 256)]))
        refused(saved)
        saved.write_bytes(data) if at % 997 == 0 else _put(saved, at, data[at])
    rvvm.Machine.load(saved)


def _put(path: Path, at: int, byte: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes([byte]))


def test_every_truncation_is_found(saved: Path) -> None:
    for size in reversed(range(saved.stat().st_size)):
        os.truncate(saved, size)
        refused(saved)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda data: b"", "no saved machine"),
        (lambda data: b"\x7fELF" + data, "no saved machine"),
        (lambda data: data[:8] + struct.pack("<I", 1) + data[12:], "saved as version 1; this rvvm"),
        (lambda data: data[:-1], "cut short or damaged"),
        (lambda data: data[: 12 + 36], "cut short"),
        (lambda data: data + b"\0", "more behind its end"),
        (lambda data: data[:12], "cut short"),
    ],
)
def test_what_is_told(saved: Path, change: Callable[[bytes], bytes], told: str) -> None:
    saved.write_bytes(change(saved.read_bytes()))
    assert told in refused(saved)


def rewritten(path: Path, change: Callable[[bytes, bytes], bytes]) -> None:
    """The file with other parts, and right checksums."""
    parts = [(part.kind, part.data()) for part in savefile.read(path)]
    with savefile.writing(path) as file:
        for kind, data in parts:
            file.put(kind, change(kind, data))


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        (b"stat", b'"pc"', b'"pd"'),
        (b"stat", b'"privilege": 3', b'"privilege": 2'),
        (b"stat", b'"privilege": 3', b'"privilege": -1'),
        (b"stat", b'"satp": 0', b'"satp": 17293822569102704640'),
        (b"stat", b'"hgatp": 0', b'"hgatp": 17293822569102704640'),
        (b"stat", b'"hstatus": 0', b'"hstatus": 258048'),
        (b"stat", b'"mepc": 0', b'"mepc": 0.5'),
        (b"stat", b'"status": null', b'"status": NaN'),
        (b"stat", b'"cursor": 0', b'"cursor": 99999999'),
        (b"info", b'"main": 2', b'"main": -2'),
        (b"stat", b'"fifo": []', b'"fifa": []'),
        (b"stat", b'"turn": 0', b'"turn": {}'),
        (b"info", b'"memory": ', b'"memoir": '),
        (b"info", b"{", b"["),
        (b"tree", b"serial@", b"cereal@"),
        (b"ram.", b"[[2147", b"[[1147"),
    ],
)
def test_another_version_with_the_same_number(
    saved: Path, kind: bytes, old: bytes, new: bytes
) -> None:
    def change(part: bytes, data: bytes) -> bytes:
        assert part != kind or old in data
        return data.replace(old, new) if part == kind else data

    rewritten(saved, change)
    refused(saved)


def test_a_part_of_another_size_than_it_says(saved: Path) -> None:
    part = savefile.read(saved)[0]
    with pytest.raises(ValueError, match="of another size"):
        part._replace(size=part.size + 1).data()
    with pytest.raises(ValueError):
        part._replace(size=part.size - 1).data()


def test_the_old_file_stays_until_the_new_one_is_whole(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(rvvm.UserError, match="No space left on device"):
        made().save(saved)
    assert saved.read_bytes() == before and os.listdir(saved.parent) == [saved.name]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(rvvm.UserError, match="nowhere/saved: No such file"):
        made().save(tmp_path / "nowhere/saved")
    with pytest.raises(rvvm.UserError, match="No such file"):
        rvvm.Machine.load(tmp_path / "nothing")


def test_a_loaded_machine_needs_neither_tree_nor_images(tmp_path: Path) -> None:
    """It is whole until it is reset: then it boots what its user has named."""
    kernel, board = tmp_path / "kernel.elf", tmp_path / "board.dtb"
    shutil.copy(resource("firmware/hello.elf"), kernel)
    shutil.copy(resource("devicetree/virt.dts"), board.with_suffix(".dts"))
    machine = rvvm.Machine(
        dtb=board.with_suffix(".dts"), kernel=kernel, bios="none", clock="instructions", memory="4M"
    )
    machine.run(until=rvvm.instructions(20_000))
    machine.save(tmp_path / "saved")
    kernel.unlink()
    board.with_suffix(".dts").unlink()
    loaded = rvvm.Machine.load(tmp_path / "saved", accel="interp")
    assert loaded.symbols["main"] == machine.symbols["main"]
    assert go_on(loaded, [50_000]) == go_on(machine, [50_000])
    shutil.copy(resource("firmware/hello.elf"), kernel)
    with pytest.raises(rvvm.UserError, match=r"^--kernel: kernel\.elf: a saved machine names it"):
        loaded.reset()
    loaded = rvvm.Machine.load(tmp_path / "saved", kernel=kernel)
    go_on(loaded, [50_000])
    loaded.reset()
    machine.reset()
    assert go_on(loaded, [50_000]) == go_on(machine, [50_000])


def test_options_that_a_loaded_machine_has(saved: Path) -> None:
    for name in ("memory", "harts", "dtb", "clock"):
        with pytest.raises(rvvm.UserError, match=f"--{name}: a loaded machine has that"):
            rvvm.Machine.load(saved, **{name: 1})
    with pytest.raises(rvvm.UserError, match="has 0 devices, not 1"):
        rvvm.Machine.load(saved, device="virtio-rng")


def test_saved_again_it_is_the_same(saved: Path, tmp_path: Path) -> None:
    rvvm.Machine.load(saved).save(tmp_path / "again")
    assert all_of(rvvm.Machine.load(tmp_path / "again")) == all_of(rvvm.Machine.load(saved))
    assert (tmp_path / "again").read_bytes() == saved.read_bytes()
