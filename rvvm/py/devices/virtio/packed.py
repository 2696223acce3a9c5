"""Packed virtqueues (section 2.8): one ring of descriptors that both sides write."""

from __future__ import annotations

import struct

from rvvm.py.devices.virtio.ram import ProtocolError, Ram
from rvvm.py.devices.virtio.ring import (
    DESCRIPTOR_SIZE,
    INDIRECT,
    NEXT,
    PACKED_DESCRIPTOR,
    WRITE,
    Chain,
    aligned,
    fence,
    indirect_table,
    passed,
    within,
)

AVAIL, USED = 1 << 7, 1 << 15  # 2.8.1: flags against the wrap counter
ENABLE, DISABLE, DESCRIPTOR = 0, 1, 2  # 2.8.14: flags of an event suppression area
OFFSET, FLAGS = 0, 1  # its halfwords
WRAP = 1 << 15
_used_element = struct.Struct("<IH").pack_into


class PackedRing:
    """``event_index`` and ``indirect`` say whether those features were negotiated."""

    def __init__(
        self, ram: Ram, size: int, places: tuple[int, int, int], event_index: bool, indirect: bool
    ) -> None:
        if not 0 < size <= 1 << 15:
            raise ProtocolError(f"a packed ring of {size} descriptors")
        ring, driver, device = places
        self.size = size
        self._ram = ram
        self._ring = ram.view(aligned("descriptor ring", ring, 16), DESCRIPTOR_SIZE * size)
        self._words = self._ring.cast("H")
        self._driver = ram.view(aligned("driver's event area", driver, 4), 4).cast("H")
        self._device = ram.view(aligned("device's event area", device, 4), 4).cast("H")
        self._event_index, self._indirect = event_index, indirect
        self._next, self._next_wrap = 0, 1
        self._done, self._done_wrap = 0, 1
        self._unpublished = 0  # places
        self._hidden: tuple[int, int] | None = None  # the first one's flags: where, and which

    def pop(self) -> Chain | None:
        if not self._available() and not self._look():
            return None
        return self._walk()

    def _available(self) -> bool:
        flags = self._words[8 * self._next + 7]
        return flags & (AVAIL | USED) == (AVAIL if self._next_wrap else USED)

    def _look(self) -> bool:
        """Nothing there: the driver is to tell us of the next one. Look again then (2.8.10)."""
        if self._event_index:
            self._device[OFFSET] = self._next | self._next_wrap << 15
            self._device[FLAGS] = DESCRIPTOR
        else:
            self._device[FLAGS] = ENABLE
        fence()
        return self._available()

    def _walk(self) -> Chain:
        chain = Chain()
        chain.count = 0
        while True:
            at = DESCRIPTOR_SIZE * self._next
            address, size, chain.id, flags = PACKED_DESCRIPTOR(self._ring, at)
            self._next += 1
            if self._next == self.size:
                self._next, self._next_wrap = 0, self._next_wrap ^ 1
            chain.count += 1
            if flags & INDIRECT:
                # 2.8.19: neither with a next one; tables have no flags but WRITE (2.8.7)
                if flags & NEXT or not self._indirect:
                    raise ProtocolError("an indirect descriptor where none may be")
                return self._add_table(chain, address, size)
            chain.add(self._ram, address, size, flags)
            if not flags & NEXT:
                return chain
            if chain.count == self.size:
                raise ProtocolError("descriptors that go round in a circle")

    def _add_table(self, chain: Chain, address: int, size: int) -> Chain:
        table, _ = indirect_table(self._ram, address, size)
        chain.add_table(self._ram, table)
        return chain

    def unpop(self, chain: Chain) -> None:
        self._next -= chain.count
        if self._next < 0:
            self._next, self._next_wrap = self._next + self.size, self._next_wrap ^ 1

    def mark(self) -> list[int]:
        return [self._next, self._next_wrap]

    def back(self, mark: list[int]) -> None:
        self._next, self._next_wrap = mark

    def push(self, chain: Chain, written: int) -> None:
        chain.tell(self._ram, written)
        flags = (AVAIL | USED if self._done_wrap else 0) | (WRITE if chain.writable else 0)
        _used_element(self._ring, DESCRIPTOR_SIZE * self._done + 8, written, chain.id)
        if self._unpublished:
            self._words[8 * self._done + 7] = flags
        else:
            self._hidden = 8 * self._done + 7, flags
        self._done += chain.count
        self._unpublished += chain.count
        if self._done >= self.size:
            self._done, self._done_wrap = self._done - self.size, self._done_wrap ^ 1

    def publish(self) -> bool:
        places, self._unpublished = self._unpublished, 0
        if not places:
            return False
        self.show()
        fence()
        flags = self._driver[FLAGS]
        if flags != DESCRIPTOR or not self._event_index:
            return flags == ENABLE
        event = self._driver[OFFSET]
        position = event & ~WRAP
        if event >> 15 != self._done_wrap:
            position -= self.size  # 2.8.10: in the round before
        return passed(position, self._done, self._done - places)

    def show(self) -> None:
        """The first last, for it shows the rest. A driver must not see a part of what belongs
        together (5.1.6.4.1: the buffers of a frame)."""
        if self._hidden is not None:
            place, flags = self._hidden
            self._words[place] = flags
            self._hidden = None

    def state(self) -> list[int]:
        self.show()
        return [self._next, self._next_wrap, self._done, self._done_wrap, self._unpublished]

    def load_state(self, state: list[int]) -> None:
        if not within(state, self.size, 2, self.size, 2, self.size + 1):
            raise ValueError("no state of a packed ring")
        self._next, self._next_wrap, self._done, self._done_wrap, self._unpublished = state
