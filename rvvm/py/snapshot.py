"""A machine at some moment: to come back to, to go on from in another machine, or as a file.

Memory is kept by the core, which copies no page that has not changed; disks keep what was written
so far. All else is plain data.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rvvm import _core
from rvvm.py import bases, dtb, saved_options, savefile
from rvvm.py.errors import UserError
from rvvm.py.host import Card
from rvvm.py.options import Options
from rvvm.py.tree import Tree

if TYPE_CHECKING:
    from rvvm.py.machine import Machine

_PIECE = 1 << 24
_PLACE, _DISK_PLACE = struct.Struct("<Q"), struct.Struct("<IQ")
INFO, TREE, STATE, RAM, DISK = b"info", b"tree", b"stat", b"ram.", b"disk"
_LONGEST_REASON = 200  # characters: it may quote the file
_HEAD = (INFO, TREE, STATE)  # the first parts
_DAMAGES = (ValueError, KeyError, TypeError, IndexError, AttributeError, struct.error, RuntimeError)


@dataclass(frozen=True)
class Snapshot:
    """What ``Machine.snapshot`` gives. It does not need the machine any more."""

    shape: bytes
    state: Mapping[str, Any]
    memory: _core.MemoryImage
    media: list[Any]

    @property
    def instret(self) -> int:
        """Instructions retired by then."""
        return sum(int(hart["retired"]) for hart in self.state["harts"])

    def __repr__(self) -> str:
        shared, own = self.memory.base_pages >> 8, self.memory.own_pages << 2
        return f"Snapshot(at {self.instret:,} instructions: {shared} MiB shared, {own} KiB its own)"


def take(machine: Machine, to_share: bool = False) -> Snapshot:
    """The machine as it is. What is ``to_share`` is laid out for machines that begin there."""
    with machine.board.lock, _room():
        media = [card.function.keep() for card in machine.board.host.cards]
        return Snapshot(machine.shape, _state(machine), machine.system.image(to_share), media)


def put(machine: Machine, snapshot: Snapshot) -> None:
    """The machine as it was."""
    if snapshot.shape != machine.shape:
        raise UserError("the snapshot is of another machine")
    with machine.board.lock, _room():
        for card, kept in zip(machine.board.host.cards, snapshot.media, strict=True):
            card.function.back(kept)
        machine.system.become(snapshot.memory)
        _load_state(machine, snapshot.state)


@contextlib.contextmanager
def _room() -> Iterator[None]:
    """What this host has not got."""
    try:
        yield
    except (MemoryError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else "not enough memory or descriptors"
        raise UserError(f"this host has no room to keep the machine: {why}") from None


def _state(machine: Machine) -> dict[str, Any]:
    return {
        "progress": machine.system.progress(),
        "harts": [hart.state() for hart in machine.system.harts],
        "devices": machine.board.state(),
        "console": machine.console.state(),
        "status": machine.status,
    }


def _load_state(machine: Machine, state: Mapping[str, Any]) -> None:
    """Time first: timers are compared with it. Devices last: they drive the harts' wires."""
    machine.system.resume(state["progress"])
    for hart, saved in zip(machine.system.harts, state["harts"], strict=True):
        hart.load_state(saved)
    machine.board.load_state(state["devices"])
    machine.console.load_state(state["console"])
    if (status := state["status"]) is not None and type(status) is not int:
        raise ValueError("no status of a machine")
    machine.status = status


# Files


def save(machine: Machine, path: Path) -> None:
    """Everything that another host needs, but the bases of disks and the images to boot from."""
    with machine.board.lock, _room():
        functions = [card.function for card in machine.board.host.cards]
        media = [function.keep() for function in functions]
        info = {
            "options": saved_options.plain(machine.options),
            "symbols": dict(machine.symbols),
            "bases": [bases.describe(function.files()) for function in functions],
        }
        with savefile.writing(path) as file:
            file.put(INFO, savefile.encode(info))
            file.put(TREE, machine.shape)
            file.put(STATE, savefile.encode(_state(machine)))
            for piece in _memory_pieces(machine):
                file.put(RAM, piece)
            for number, kept in enumerate(media):
                for offset, data in kept.changes() if kept is not None else ():
                    file.put(DISK, _DISK_PLACE.pack(number, offset) + data)


def _memory_pieces(machine: Machine) -> Iterator[bytes]:
    """Memory that is not zero: in each piece the number of runs, their places, their bytes."""
    runs: list[tuple[int, int]] = []
    room = _PIECE
    for address, size in machine.system.filled():
        while size:
            part = min(size, room)
            runs.append((address, part))
            address, size, room = address + part, size - part, room - part
            if not room:
                yield _memory_piece(machine, runs)
                runs, room = [], _PIECE
    if runs:
        yield _memory_piece(machine, runs)


def _memory_piece(machine: Machine, runs: list[tuple[int, int]]) -> bytes:
    places = savefile.encode(runs)
    views = (machine.system.view(address, size) for address, size in runs)
    return b"".join([_PLACE.pack(len(places)), places, *views])


def _fill_memory(system: _core.System, piece: bytes) -> None:
    (size,) = _PLACE.unpack_from(piece)
    data = memoryview(piece)[_PLACE.size + size :]
    runs = savefile.decode(piece[_PLACE.size : _PLACE.size + size])
    numbers = [number for run in runs for number in run]
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError("places of memory that are no numbers")
    if sum(length for _, length in runs) != len(data):
        raise ValueError("places of more or less memory than there is")
    at = 0
    for address, length in runs:
        system.write(address, data[at : at + length])
        at += length


Maker = Callable[[Options, Tree, bytes, list[Card], Mapping[str, int]], "Machine"]


def load(path: Path, changes: Mapping[str, Any], make: Maker) -> Machine:
    """A machine from a file. ``make`` makes it from options, tree, shape, cards, symbols."""
    parts = savefile.read(path)
    with _damaged(path):
        head = {part.kind: part.data() for part in parts[:3] if part.kind in _HEAD}
        info, state = savefile.decode(head[INFO]), savefile.decode(head[STATE])
        options = saved_options.read(info["options"], changes, path.parent)
        symbols = _symbols(info["symbols"])
        tree = dtb.parse(head[TREE], str(path))
        known = _bases(info["bases"])
    cards = options.cards()
    _check_bases(path, cards, known)
    machine = make(options, tree, head[TREE], cards, symbols)
    with _damaged(path), machine.board.lock, _room():
        _fill(machine, parts[3:], cards)
        _load_state(machine, state)
    machine.detached = saved_options.detached(options, changes)
    return machine


def _symbols(found: Any) -> dict[str, int]:
    if not all(type(value) is int and 0 <= value < 1 << 64 for value in found.values()):
        raise ValueError("symbols that are no addresses")
    return {str(name): value for name, value in found.items()}


def _bases(found: Any) -> list[list[dict[str, Any]]]:
    kinds = {"file": str, "size": int, "digest": str}
    for base in chain.from_iterable(found):
        if {name: type(value) for name, value in base.items()} != kinds:
            raise ValueError("bases that are none")
    return list(found)


def _fill(machine: Machine, parts: list[savefile.Part], cards: list[Card]) -> None:
    for part in parts:
        if part.kind == RAM:
            _fill_memory(machine.system, part.data())
        elif part.kind == DISK:
            data = part.data()
            number, offset = _DISK_PLACE.unpack_from(data)
            cards[number].function.refill(offset, memoryview(data)[_DISK_PLACE.size :])
        else:
            raise ValueError(f"a part {part.kind!r}")


def _check_bases(path: Path, cards: list[Card], known: list[Any]) -> None:
    if len(cards) != len(known):
        raise UserError(f"{path}: the saved machine has {len(known)} devices, not {len(cards)}")
    for card, then in zip(cards, known, strict=True):
        now = card.function.files()
        if bool(now) != bool(then):
            raise UserError(f"{path}: the saved machine's devices come in another order")
        if len(now) != len(then):
            raise UserError(f"{now[0].name}: is based on {len(now) - 1} files, not {len(then) - 1}")
        bases.check(now, then)


@contextlib.contextmanager
def _damaged(path: Path) -> Iterator[None]:
    """What the checksums do not find is of another version of rvvm, or was made by hand."""
    try:
        yield
    except _DAMAGES as error:
        what = f"{type(error).__name__}: {error}"[:_LONGEST_REASON]
        raise UserError(f"{path}: not a machine of this version of rvvm ({what})") from None
