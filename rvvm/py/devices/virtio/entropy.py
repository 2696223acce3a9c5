"""Entropy device (section 5.4): random bytes of the host's, or the same ones in every run."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

from rvvm.py.devices.virtio.function import Function
from rvvm.py.devices.virtio.queue import Queue
from rvvm.py.devices.virtio.ring import within

MOST = 1 << 16  # bytes at a time: a driver asks for less than a hundred
_BLOCK = 64  # bytes of a digest


class Repeatable:
    """A source whose bytes depend on nothing but how many were taken before.

    >>> source, other = Repeatable(), Repeatable()
    >>> source(3) + source(100) == other(103), source.position
    (True, 103)
    """

    position = 0

    def __call__(self, count: int) -> bytes:
        first, skipped = divmod(self.position, _BLOCK)
        self.position += count
        numbers = range(first, -(-self.position // _BLOCK))
        data = b"".join(blake2b(number.to_bytes(8, "little")).digest() for number in numbers)
        return data[skipped : skipped + count]


class Entropy(Function, kind=4):
    """Fills what the driver offers; ``source`` makes random bytes."""

    def __init__(self, source: Callable[[int], bytes] = os.urandom) -> None:
        self.source = source
        super().__init__(queues=1)

    def twin(self) -> Entropy:
        return Entropy(copy.copy(self.source))

    def state(self) -> dict[str, Any]:
        taken = self.source.position if isinstance(self.source, Repeatable) else 0
        return super().state() | {"taken": taken}

    def load_state(self, state: Mapping[str, Any]) -> None:
        super().load_state(state)
        self._check("taken", within([state["taken"]], 1 << 64))
        if isinstance(self.source, Repeatable):
            self.source.position = state["taken"]

    def serve(self, queue: Queue) -> None:
        for chain in queue:
            written = 0
            for view in chain.writable:
                if written == MOST:
                    break
                piece = view[: MOST - written]
                piece[:] = self.source(len(piece))
                written += len(piece)
            queue.push(chain, written)
