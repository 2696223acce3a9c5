"""Split virtqueues (section 2.7): a table of descriptors, a ring of the driver's, one of ours."""

from __future__ import annotations

import struct

from rvvm.py.devices.virtio.ram import ProtocolError, Ram
from rvvm.py.devices.virtio.ring import (
    DESCRIPTOR_SIZE,
    INDIRECT,
    NEXT,
    SPLIT_DESCRIPTOR,
    Chain,
    aligned,
    fence,
    indirect_table,
    passed,
    within,
)

NO_INTERRUPT = 1  # 2.7.6: avail.flags
WRAP = 0xFFFF  # positions count modulo 2**16
FLAGS, IDX, RING = 0, 1, 2  # halfwords of both rings
_used_element = struct.Struct("<II").pack_into


class SplitRing:
    """``event_index`` and ``indirect`` say whether those features were negotiated."""

    def __init__(
        self, ram: Ram, size: int, places: tuple[int, int, int], event_index: bool, indirect: bool
    ) -> None:
        if size & size - 1 or not 0 < size <= 1 << 15:
            raise ProtocolError(f"a split ring of {size} descriptors")
        table, avail, used = places
        self.size = size
        self._ram = ram
        self._table = ram.view(aligned("descriptor table", table, 16), DESCRIPTOR_SIZE * size)
        self._avail = ram.view(aligned("available ring", avail, 2), 6 + 2 * size).cast("H")
        self._used = ram.view(aligned("used ring", used, 4), 6 + 8 * size)
        self._used_words = self._used.cast("H")
        self._event_index, self._indirect = event_index, indirect
        self._next = self._seen = 0  # the driver's ring: taken up to here, known up to there
        self._done = self._published = 0  # ours: written up to here, shown up to there

    def pop(self) -> Chain | None:
        if self._next == self._seen and not self._look():
            return None
        head = self._avail[RING + self._next % self.size]
        self._next = self._next + 1 & WRAP
        return self._walk(head)

    def _look(self) -> bool:
        """Whether there is more. If not, the driver is to tell us of the next one (2.7.10)."""
        index = self._avail[IDX]
        if index == self._next and self._event_index:
            self._used_words[RING + 4 * self.size] = self._next
            fence()
            index = self._avail[IDX]
        if (index - self._next) & WRAP > self.size:
            raise ProtocolError(
                f"avail.idx went from {self._next} to {index} in a ring of {self.size}"
            )
        self._seen = index
        return index != self._next

    def _walk(self, index: int) -> Chain:
        table, count, left = self._table, self.size, self.size
        nested = False
        chain = Chain(index)
        while True:
            if index >= count:
                raise ProtocolError(f"descriptor {index} of a table of {count}")
            address, size, flags, following = SPLIT_DESCRIPTOR(table, DESCRIPTOR_SIZE * index)
            if flags & INDIRECT:
                # 2.7.5.3.1: neither within an indirect table, nor with a next one
                if nested or flags & NEXT or not self._indirect:
                    raise ProtocolError("an indirect descriptor where none may be")
                table, count = indirect_table(self._ram, address, size)
                index, left, nested = 0, count, True
                continue
            chain.add(self._ram, address, size, flags)
            if not flags & NEXT:
                return chain
            left -= 1
            if left == 0:
                raise ProtocolError("descriptors that go round in a circle")
            index = following

    def unpop(self, chain: Chain) -> None:
        self._next = self._next - 1 & WRAP

    def mark(self) -> list[int]:
        return [self._next]

    def back(self, mark: list[int]) -> None:
        (self._next,) = mark

    def push(self, chain: Chain, written: int) -> None:
        chain.tell(self._ram, written)
        _used_element(self._used, 4 + 8 * (self._done % self.size), chain.id, written)
        self._done = self._done + 1 & WRAP

    def show(self) -> None:
        self._used_words[IDX] = self._done

    def publish(self) -> bool:
        old, new = self._published, self._done
        if old == new:
            return False
        self._used_words[IDX] = self._published = new
        fence()
        if self._event_index:
            return passed(self._avail[RING + self.size], new, old)
        return not self._avail[FLAGS] & NO_INTERRUPT

    def state(self) -> list[int]:
        return [self._next, self._done, self._published]

    def load_state(self, state: list[int]) -> None:
        if len(state) != 3 or not within(state, WRAP + 1):
            raise ValueError("no state of a split ring")
        self._next, self._done, self._published = state
        self._seen = self._next
