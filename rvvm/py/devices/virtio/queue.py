"""A virtqueue as a transport configures it and a device uses it, whatever its ring's layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rvvm.py.devices.virtio.packed import PackedRing
from rvvm.py.devices.virtio.ram import ProtocolError, Ram
from rvvm.py.devices.virtio.ring import Chain, Ring, within
from rvvm.py.devices.virtio.split import SplitRing

# Chapter 6, as bits of the 64
INDIRECT_DESC, EVENT_IDX = 1 << 28, 1 << 29
VERSION_1, RING_PACKED, RING_RESET = 1 << 32, 1 << 34, 1 << 40
RING_FEATURES = INDIRECT_DESC | EVENT_IDX | VERSION_1 | RING_PACKED | RING_RESET

MAX_SIZE = 256
WORK = 2 << 20
"""Bytes that a device moves at a time, and what else takes as long: then it waits until the hart
has had its next turn, so that nothing a guest asks for keeps a machine from pausing."""
REQUEST_WORK = 1 << 14
"""What a request costs besides its descriptors and bytes."""
PLACES = ("descriptor", "driver", "device")


def with_half(word: int, half: int, value: int) -> int:
    """A 64-bit word with 32 of its bits replaced.

    >>> hex(with_half(0x11111111_22222222, 1, 0x33333333))
    '0x3333333322222222'
    """
    return word & ~(0xFFFF_FFFF << 32 * half) | value << 32 * half


class Queue:
    """``size`` and the three addresses are the driver's to set; ``enable`` makes them count."""

    def __init__(self, max_size: int = MAX_SIZE) -> None:
        self.max_size = max_size
        self.reset()

    def reset(self) -> None:
        """Not in use, as large as it may be."""
        self.size = self.max_size
        self.places = [0, 0, 0]  # descriptor, driver and device area
        self.ring: Ring | None = None
        self.progress = 0  # how much of the next request is done
        self.more = False  # there was enough to do for one turn: there may be more
        self.vector = 0xFFFF  # MSI-X, for the PCI transport

    @property
    def ready(self) -> bool:
        """Whether the driver has enabled it."""
        return self.ring is not None

    def disable(self) -> None:
        """It is not used any more; where it is stays."""
        self.ring, self.progress, self.more = None, 0, False

    def enable(self, ram: Ram, features: int) -> None:
        """Begin to use it; ProtocolError when its areas cannot be. When it is in use, the features
        have changed."""
        if not 0 < self.size <= self.max_size:
            raise ProtocolError(f"a size of {self.size}; at most {self.max_size}")
        layout = PackedRing if features & RING_PACKED else SplitRing
        descriptor, driver, device = self.places
        before = self.ring
        self.ring = layout(
            ram,
            self.size,
            (descriptor, driver, device),
            bool(features & EVENT_IDX),
            bool(features & INDIRECT_DESC),
        )
        if before is not None and type(before) is layout:
            self.ring.load_state(before.state())

    def set_place(self, index: int, low: bool, value: int) -> None:
        """Half of the address of an area; not while it is in use."""
        if self.ring is None:
            self.places[index] = with_half(self.places[index], int(not low), value)

    # The device's side

    def pop(self) -> Chain | None:
        """The next request. With None the driver knows to kick when there is one."""
        return self.ring.pop() if self.ring is not None else None

    def __iter__(self) -> Iterator[Chain]:
        """The requests that are there, also those that come meanwhile: as many as are work for one
        turn. Of the first so much is done already as ``progress`` says."""
        left = WORK
        while (chain := self.pop()) is not None:
            yield chain
            left -= REQUEST_WORK + chain.work
            if left <= 0 or self.more:
                self.more = True
                return

    def postpone(self, chain: Chain, progress: int) -> None:
        """So much of a request is done, and the rest is for a later turn: it comes again."""
        if self.ring is not None:
            self.ring.unpop(chain)
        self.progress, self.more = progress, True

    def mark(self) -> list[int]:
        """Where ``pop`` is."""
        return self.ring.mark() if self.ring is not None else []

    def back(self, mark: list[int]) -> None:
        """Give back what was popped since, and not pushed: it comes again."""
        if self.ring is not None:
            self.ring.back(mark)

    def push(self, chain: Chain, written: int = 0) -> None:
        """A request is done, and its first ``written`` writable bytes are; ``publish`` tells."""
        if self.ring is not None:
            self.ring.push(chain, written)
            self.progress = 0

    def show(self) -> None:
        """Let the driver see what was pushed."""
        if self.ring is not None:
            self.ring.show()

    def publish(self) -> bool:
        """Show the driver what was pushed; whether it wants an interrupt."""
        return self.ring is not None and self.ring.publish()

    # State

    def state(self) -> dict[str, Any]:
        """Plain data. A request that is done in part is still in the ring."""
        position = self.ring.state() if self.ring is not None else None
        return {
            "size": self.size,
            "places": list(self.places),
            "position": position,
            "progress": self.progress,
        }

    def load_state(self, state: Mapping[str, Any], ram: Ram | None, features: int) -> None:
        """Take over a saved state; ProtocolError or ValueError for one that cannot be."""
        self.reset()
        size, places = state["size"], list(state["places"])
        if not within([size], 1 << 32) or len(places) != len(PLACES) or not within(places, 1 << 64):
            raise ValueError("no state of a queue")
        self.size, self.places = size, places
        if state["position"] is not None and ram is not None:
            self.enable(ram, features)
            assert self.ring is not None
            self.ring.load_state(list(state["position"]))
            self.progress = state.get("progress", 0)

    def __repr__(self) -> str:
        return f"<Queue of {self.size}, {'ready' if self.ready else 'off'}>"
