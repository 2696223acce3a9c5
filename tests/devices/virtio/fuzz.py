"""Every device, with registers and rings of anything: none may raise, hang or reach beyond RAM.

    PYTHONPATH=.:tests python -m devices.virtio.fuzz --minutes 10

runs sessions of their own seeds, on the RAM of a real core; what fails is told with ``--seed`` and
``--session``, which repeat it. ``./test`` shows how to have AddressSanitizer watch.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import os
import random
import resource
import socket
import struct
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from devices.access import Guest
from devices.test_fuzz import DEVICES as REGISTERS
from devices.virtio.driver import BASE, INDIRECT, NEEDS_RESET, SIZE, Bench, System
from devices.virtio.test_network import Wire
from net.packets import packet
from rvvm import _core
from rvvm.py.devices.pci.host import PciHost
from rvvm.py.devices.virtio.balloon import Balloon
from rvvm.py.devices.virtio.block import Block
from rvvm.py.devices.virtio.console import Console, Port
from rvvm.py.devices.virtio.entropy import Entropy
from rvvm.py.devices.virtio.function import Function
from rvvm.py.devices.virtio.network import Network
from rvvm.py.devices.virtio.pci import VirtioPci
from rvvm.py.devices.virtio.ring import MAX_CHAIN
from rvvm.py.devices.virtio.shared_folder import SharedFolder
from rvvm.py.devices.virtio.vsock import Vsock
from rvvm.py.disk import open_disk
from rvvm.py.net.gate import Gate
from rvvm.py.ninep import MESSAGES, Server
from rvvm.py.share import open_folder
from rvvm.py.stream import MemoryStream

Make = Callable[[Path], Function]
Random = random.Random


def _block(folder: Path) -> Function:
    (folder / "disk").write_bytes(bytes(1 << 20))
    return Block(open_disk(folder / "disk"), queues=2)


def _share(folder: Path) -> Function:
    (folder / "shared").mkdir()
    return SharedFolder(Server(open_folder(folder / "shared", read_only=False)), "tag")


DEVICES: dict[str, Make] = {
    "entropy": lambda _: Entropy(),
    "block": _block,
    "network": lambda _: Network(Wire(), bytes(6)),
    "network, headers": lambda _: Network(Wire(headers=True), bytes(6)),
    "console": lambda _: Console([Port(MemoryStream()), Port(MemoryStream(), "name")]),
    "share": _share,
    "balloon": lambda _: Balloon(reports=True, deflates=True),
    "vsock": lambda folder: Vsock(Gate(folder / "vm"), 5),
}


# Requests that get past the first check


def _likely_block(rng: Random) -> bytes:
    return struct.pack("<IIQ", rng.choice((0, 1, 4, 8, 11, 13, 99)), 0, rng.randrange(3000))


def _likely_network(rng: Random) -> bytes:
    version = rng.choice((4, 6))
    kind, tcp = rng.choice(((0, 34), (1, 34), (4, 54), (rng.randrange(256), rng.randrange(99))))
    head = struct.pack("<BBHHHHH", rng.randrange(4), kind, 0, rng.randrange(99), tcp, 16, 1)
    return head + packet(version, rng.randbytes(rng.randrange(300)))


def _likely_console(rng: Random) -> bytes:
    return struct.pack("<IHH", rng.randrange(3), rng.randrange(8), rng.randrange(2))


def _likely_share(rng: Random) -> bytes:
    kind = rng.choice((*MESSAGES, 116, 118))
    return struct.pack("<IBHII", 99, kind, 1, rng.randrange(3), rng.randrange(3))


def _likely_balloon(rng: Random) -> bytes:
    pages = rng.choices(range(BASE // 4096 + 768, (BASE + SIZE) // 4096), k=256)
    return struct.pack("<256I", *pages) if rng.random() < 0.9 else rng.randbytes(64)


def _likely_vsock(rng: Random) -> bytes:
    ports = rng.randrange(3), rng.choice((0, 1, 1 << 30, (1 << 30) + 1))
    size, kind = rng.choice((0, 0, 9, 500)), rng.choice((1, 1, 1, 2))
    return struct.pack("<QQIIIHHIII", 5, 2, *ports, size, kind, rng.randrange(9), 3, 1 << 16, 0)


LIKELY: dict[str, Callable[[Random], bytes]] = {
    "block": _likely_block,
    "network": _likely_network,
    "console": _likely_console,
    "share": _likely_share,
    "balloon": _likely_balloon,
    "vsock": _likely_vsock,
}


def likely(name: str, rng: Random) -> bytes:
    """The begin of a request for this device."""
    make = LIKELY.get(name.partition(",")[0])
    return make(rng) if make else rng.randbytes(8)


class CoreSystem(System):
    """The driver's RAM, as a core has it."""

    def __init__(self) -> None:
        super().__init__()
        self.core = _core.System()
        self.core.add_ram(BASE, SIZE)
        self.bytes = self.core.dma(BASE, SIZE)  # type: ignore[assignment]

    def written(self, address: int, size: int) -> None:
        self.core.written(address, size)

    def discard(self, address: int, size: int) -> None:
        self.core.discard(address, size)


# Rings

DATA = BASE + 0x20_0000  # requests, one every kilobyte
PLACES = 64
LONG = BASE + 0x30_0000  # an indirect table that names the same RAM many times
LARGEST = 128 << 20  # how much more of the host's memory a session may take at its peak


def _descriptor(rng: Random, packed: bool, size: int) -> bytes:
    address = DATA + 1024 * rng.randrange(PLACES)
    if rng.random() < 0.05:
        address = rng.choice((0, BASE - 1, BASE + SIZE - 1, BASE + SIZE, (1 << 64) - 1, DATA + 3))
    length = rng.choice((0, 1, 16, 44, 64, 600, 1024, 4096))
    if rng.random() < 0.03:
        return struct.pack("<QIHH", LONG, 16 * MAX_CHAIN, *_long_flags(rng, packed))
    if rng.random() < 0.02:
        length = rng.choice((0xFFFF_FFFF, 1 << 31, SIZE))
    flags = rng.choice((0, 1, 1, 2, 2, 3, 4, rng.randrange(8)))
    if packed:
        flags |= rng.choice((0x80, 0x80, 0x8000, 0x8080, 0))
        return struct.pack("<QIHH", address, length, rng.randrange(size), flags)
    following = rng.randrange(size) if rng.random() < 0.98 else rng.randrange(1 << 16)
    return struct.pack("<QIHH", address, length, flags, following)


def _long_flags(rng: Random, packed: bool) -> tuple[int, int]:
    if packed:
        return rng.randrange(16), 4 | rng.choice((0x80, 0x8000))
    return 4, 0


def _long_table(rng: Random) -> bytes:
    """A request of gigabytes: a beginning that is likely, then the same bytes for ever."""
    reads, size = rng.randrange(MAX_CHAIN), rng.choice((4096, 1 << 20, SIZE, SIZE - 4096))
    rows = [(DATA + 1024, rng.choice((8, 12, 16, 44)), 0)]
    rows += [(BASE + SIZE - size, size, 2 * (k >= reads)) for k in range(MAX_CHAIN - 2)]
    rows += [(DATA, 1, 2)]
    packed = [
        struct.pack("<QIHH", at, n, flags | 1, k + 1) for k, (at, n, flags) in enumerate(rows)
    ]
    return b"".join(packed)[:-4] + struct.pack("<HH", 2, 0)


def _fill(it: Bench, rng: Random, name: str) -> None:
    """Requests, and indirect tables."""
    for place in range(PLACES):
        data = likely(name, rng) if place % 2 else b""
        if place % 8 == 0:
            data = b"".join(_descriptor(rng, False, 8) for _ in range(8))
        it.system.store(DATA + 1024 * place, data[:1024])
    it.system.store(LONG, _long_table(rng))


def _scribble(it: Bench, rng: Random, index: int, packed: bool) -> None:
    """Some of a ring of the driver's, as none writes it."""
    size, system = 16, it.system
    table, driver, _ = it.queues[index].places
    for _ in range(rng.randrange(1, 8)):
        system.store(table + 16 * rng.randrange(size), _descriptor(rng, packed, size))
    if packed:
        system.store(driver, rng.randbytes(4) if rng.random() < 0.3 else bytes(4))
        return
    for place in range(size):
        system.put("H", driver + 4 + 2 * place, rng.randrange(size + (rng.random() < 0.05)))
    (position,) = system.get("H", driver + 2)
    position += rng.randrange(4) if rng.random() < 0.98 else rng.randrange(1 << 16)
    system.put("HH", driver, rng.randrange(2), position & 0xFFFF)
    system.put("H", driver + 4 + 2 * size, rng.randrange(1 << 16))


def _outside(function: Function, rng: Random, folder: Path) -> None:
    """Something comes from the host."""
    if isinstance(function, Network) and isinstance(function.link, Wire) and function.link.receiver:
        frames = [_likely_network(rng)[rng.choice((0, 12)) :] for _ in range(rng.randrange(1, 9))]
        function.link.bring(*frames)
    elif isinstance(function, Console):
        function.ports[rng.randrange(2)].stream.send(rng.randbytes(9))  # type: ignore[attr-defined]
    elif isinstance(function, Balloon):
        function.target = rng.randrange(2 * SIZE)
        function.ask()
    elif isinstance(function, Vsock):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as end:
            end.connect(str(folder / "vm"))
            end.sendall(b"CONNECT %d\n" % rng.randrange(3) + rng.randbytes(rng.randrange(900)))


def rings(name: str, rng: Random, folder: Path, rounds: int = 200) -> int:
    """How often it had to be reset."""
    function = DEVICES[name](folder)
    it, packed = Bench(function, CoreSystem()), rng.random() < 0.5
    it.by_turns = True
    stopped = 0
    for _ in range(rounds):
        with it.lock:
            if not it.status or it.status & NEEDS_RESET:
                stopped += 1
                it.system._free = BASE + 0x1000
                wanted = it.offered() & ~(1 << 34)
                dropped = rng.getrandbits(30) if rng.random() < 0.5 else 0
                it.start((wanted & ~dropped) | 1 << 32 | INDIRECT, packed)
                _fill(it, rng, name)
            index = rng.randrange(len(it.queues))
            _scribble(it, rng, index, packed)
            it.kick(index)
            for _ in range(rng.randrange(4)):
                it.end_turn()
            it.guest.load(rng.choice((0x60, 0x70, 0xFC, 0x100 + rng.randrange(64))), 1)
            if rng.random() < 0.03:
                it.slot.load_state(it.slot.state())
            if rng.random() < 0.02:
                it.guest.store(0x70, 0)
        if rng.random() < 0.3:
            _outside(function, rng, folder)
        it.acknowledge()
    _close(function)
    return stopped


def _close(function: Function) -> None:
    if isinstance(function, Block):
        function.disk.close()
    elif isinstance(function, Vsock):
        function.gate.close()


# Registers


def registers(name: str, rng: Random, folder: Path, count: int = 3000) -> int:
    make, size = REGISTERS[name]
    _access(Guest(make()), rng, size, count)
    return 0


def pci(name: str, rng: Random, folder: Path, count: int = 3000) -> int:
    """Configuration space, then what is behind the BAR."""
    function = DEVICES[name](folder)
    it = Bench(function, CoreSystem())
    bridge = PciHost([VirtioPci(function)])
    ecam, bars = bridge.window().locked(it.lock), bridge.bars.locked(it.lock)
    ecam[1](0x8010, 4, 0x10000)
    for _ in range(count):
        read, write = ecam if rng.random() < 0.2 else bars
        offset = rng.choice((0x8000, 0x10000)) + rng.choice((0, 0x1000, 0x2000, 0x3000))
        offset += rng.choice((rng.randrange(0x60), rng.randrange(0x60) & ~3))
        width = rng.choice((1, 2, 4, 8))
        if rng.random() < 0.4:
            assert 0 <= read(offset, width) < 1 << 8 * width
        else:
            values = (0, 1, 3, 11, 15, BASE + 0x1000, rng.getrandbits(8 * width))
            write(offset, width, rng.choice(values) & (1 << 8 * width) - 1)
        if rng.random() < 0.01:
            ecam[1](0x8004, 2, 6)
            ecam[1](0x8010, 4, 0x10000)
    bridge.load_state(bridge.state())
    _close(function)
    return 0


def _access(guest: Guest, rng: Random, size: int, count: int) -> None:
    for _ in range(count):
        width, offset = rng.choice((1, 2, 4, 8)), rng.randrange(size)
        if rng.random() < 0.7:
            offset = offset % 0x200 & ~3
        if rng.random() < 0.5:
            assert 0 <= guest.load(offset, width) < 1 << 8 * width
        else:
            guest.store(offset, rng.choice((0, 1, rng.getrandbits(8 * width))), width)


Session = tuple[str, Callable[[str, Random, Path], int]]
SESSIONS: tuple[Session, ...] = (
    *((name, rings) for name in DEVICES),
    *((name, pci) for name in DEVICES),
    *((name, registers) for name in REGISTERS),
)


def run(seed: int, session: int) -> tuple[str, int]:
    """One of them; what it was, and how often the device stopped."""
    name, how = SESSIONS[session % len(SESSIONS)]
    rng = Random(f"{seed} {session}")
    before = _peak()
    with tempfile.TemporaryDirectory(prefix="rvvm-fuzz-") as folder:
        stopped = how(name, rng, Path(folder))
    assert _peak() - before < LARGEST
    return f"{how.__name__} {name}", stopped


def _peak() -> int:
    """Bytes of the host's memory that this process had at most."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _numbers(first: int | None, minutes: float) -> Iterator[int]:
    if first is not None:
        yield first
        return
    number, end = 0, time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        yield number
        number += 1


def _end(problem: threading.ExceptHookArgs) -> None:
    """What a thread of a device's raises is a failure, too."""
    threading.__excepthook__(problem)
    os._exit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--session", type=int)
    asked = parser.parse_args()
    print(f"seed {asked.seed}, core {_core.__file__}", flush=True)
    threading.excepthook = _end
    done, stops = Counter[str](), Counter[str]()
    for number in _numbers(asked.session, asked.minutes):
        faulthandler.dump_traceback_later(120, exit=True)
        try:
            name, stopped = run(asked.seed, number)
        except BaseException:
            print(f"--seed {asked.seed} --session {number}: {SESSIONS[number % len(SESSIONS)][0]}")
            raise
        done[name] += 1
        stops[name] += stopped
    for name, count in done.items():
        print(f"{name:30} {count:6} sessions, {stops[name]:8} starts")


if __name__ == "__main__":
    main()
