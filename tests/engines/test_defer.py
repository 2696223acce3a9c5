"""What a device puts off is done when the hart's turn is over, or it waits, or the run ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import rvvm
from asm import assemble
from machine import elves
from rvvm.py.devices.virtio.block import Block
from rvvm.py.disk import open_disk


def machine(folder: Path, code: str, **options: object) -> rvvm.Machine:
    path = folder / "program.elf"
    path.write_bytes(elves.elf(assemble(code).code))
    return rvvm.Machine(kernel=path, bios="none", memory="16M", **options)


KICK_AND_SPIN = f"li t0, {elves.UART}\n li t1, 65\n sb t1, 0(t0)\n spin: j spin"
KICK_AND_WAIT = f"li t0, {elves.UART}\n li t1, 65\n sb t1, 0(t0)\n wait: wfi\n j wait"


def put_off(it: rvvm.Machine, done: list[int]) -> None:
    """The byte that the guest prints is the kick of a device."""

    def kick(data: bytes) -> None:
        it.system.defer(lambda: done.append(it.instret))
        it.system.defer(lambda: done.append(it.instret))

    it.console.listeners.append(kick)


@pytest.mark.parametrize("code", [KICK_AND_SPIN, KICK_AND_WAIT])
@pytest.mark.parametrize("harts", [1, 2])
@pytest.mark.parametrize("accel", ["interp", "auto"])
def test_soon_and_once(tmp_path: Path, code: str, harts: int, accel: str) -> None:
    it = machine(tmp_path, code, harts=harts, accel=accel)
    done: list[int] = []
    put_off(it, done)
    it.run(until=rvvm.seconds(0.3))
    assert len(done) == 2 * harts
    assert all(count <= 2 * harts * 50_000 for count in done) or harts > 1


def test_at_the_end_of_a_run(tmp_path: Path) -> None:
    it = machine(tmp_path, KICK_AND_SPIN)
    done: list[int] = []
    put_off(it, done)
    while not it.console.text:
        it.step()
        assert bool(done) == bool(it.console.text)
    it.reset()
    it.run(until=rvvm.instructions(10))
    assert done[2:] == [10, 10]


def test_an_error_ends_the_run(tmp_path: Path) -> None:
    it = machine(tmp_path, KICK_AND_SPIN)
    it.console.listeners.append(lambda data: it.system.defer(lambda: 1 / 0))  # type: ignore[arg-type,return-value]
    with pytest.raises(ZeroDivisionError):
        it.run(until=rvvm.seconds(60))


def test_an_error_elsewhere_does_not_lose_it(tmp_path: Path) -> None:
    it = machine(tmp_path, KICK_AND_WAIT)
    done: list[int] = []
    put_off(it, done)
    it.console.listeners.append(lambda data: 1 / 0)  # type: ignore[arg-type,return-value]
    with pytest.raises(ZeroDivisionError):
        it.run(until=rvvm.seconds(60))
    assert len(done) == 2
    it.run(until=rvvm.seconds(0.1))
    assert len(done) == 2


@pytest.mark.parametrize("code", [KICK_AND_SPIN, KICK_AND_WAIT])
@pytest.mark.parametrize("accel", ["interp", "auto"])
def test_by_instructions_the_moment_is_the_guest_s(tmp_path: Path, code: str, accel: str) -> None:
    """However the run is cut: at the end of no piece, but when a turn of 50,000 would be over."""

    def moments(run: Callable[[rvvm.Machine], object]) -> list[tuple[int, int]]:
        it = machine(tmp_path, code, accel=accel, clock="instructions")
        done: list[tuple[int, int]] = []

        def late() -> None:
            done.append((it.instret, it.system.time))
            it.system.pause()

        it.console.listeners.append(lambda data: it.system.defer(late))
        for _ in range(5000):
            if not done:
                run(it)
        return done

    whole = moments(lambda it: it.run(until=rvvm.seconds(0.2)))
    assert [time for _, time in whole] == [500]
    assert moments(lambda it: it.system.run(77)) == whole
    assert moments(lambda it: it.step(501)) == whole


def test_what_is_put_off_is_kept_in_a_moment(tmp_path: Path) -> None:
    """A disk's requests that wait for the end of a turn are a part of the state."""
    image = tmp_path / "disk"
    image.write_bytes(bytes(1 << 20))
    disk, other = Block(open_disk(image)), Block(open_disk(image))
    disk.later = lambda action: None
    disk.kick(0)
    asked: list[object] = []
    other.later = asked.append
    other.load_state(disk.state())
    assert other.state()["kicked"] == [0] and len(asked) == 1
