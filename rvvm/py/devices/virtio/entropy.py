"""Entropy device (section 5.4): random bytes of the host's."""

from __future__ import annotations

import os
from collections.abc import Callable

from rvvm.py.devices.virtio.function import Function
from rvvm.py.devices.virtio.queue import Queue

MOST = 1 << 16  # bytes at a time: a driver asks for less than a hundred


class Entropy(Function, kind=4):
    """Fills what the driver offers; ``source`` makes random bytes."""

    def __init__(self, source: Callable[[int], bytes] = os.urandom) -> None:
        self.source = source
        super().__init__(queues=1)

    def serve(self, queue: Queue) -> None:
        for chain in queue:
            written = 0
            for view in chain.writable:
                piece = view[: MOST - written]
                piece[:] = self.source(len(piece))
                written += len(piece)
            queue.push(chain, written)
