"""Memory balloon (section 5.5): memory that the guest does without is the host's again."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rvvm.py.devices.virtio.function import Function
from rvvm.py.devices.virtio.queue import Queue
from rvvm.py.devices.virtio.ram import ProtocolError
from rvvm.py.devices.virtio.ring import Chain, within
from rvvm.py.disk import cut
from rvvm.py.register import Register

STATS_VQ, DEFLATE_ON_OOM, PAGE_REPORTING = 1 << 1, 1 << 2, 1 << 5  # 5.5.3

# 5.5.2: queues. That of the reports is the fifth; Linux counts only queues that there are, and has
# it fourth, where that of the hints would be, which are not offered.
INFLATE, DEFLATE, STATS, REPORTS = 0, 1, 2, (3, 4)

PAGE = 4096  # 5.5.6: of the driver's numbers, whatever the guest's pages are
NUMBER = struct.Struct("<I")
MOST_NUMBERS = 1 << 16  # of a request
NUMBERS_AT_ONCE = 1 << 12
BYTES_AT_ONCE = 16 << 20  # where RAM is a file's they are not given back, but cleared

# 5.5.6.4: statistics
STATISTIC = struct.Struct("<HQ")
NAMES = (
    "swap_in",
    "swap_out",
    "major_faults",
    "minor_faults",
    "free",
    "total",
    "available",
    "caches",
    "hugetlb_allocations",
    "hugetlb_failures",
)


class Balloon(Function, kind=5):
    """``target`` is what the guest is asked to do with, ``actual`` what it has, both in bytes."""

    num_pages = Register(0x0, access="r", stored=False)
    actual_pages = Register(0x4)

    def __init__(self, reports: bool = False, deflates: bool = False) -> None:
        self.wanted = 0  # pages, in the balloon
        self.statistics: dict[str, int] = {}
        features = STATS_VQ | PAGE_REPORTING * reports | DEFLATE_ON_OOM * deflates
        super().__init__(queues=5, features=features)

    @property
    def target(self) -> int:
        return self._size - PAGE * self.wanted

    @target.setter
    def target(self, size: int) -> None:
        with self.lock:
            self.wanted = min(max(0, self._size - size) // PAGE, 0xFFFF_FFFF)
            self.changed()

    @property
    def actual(self) -> int:
        return self._size - PAGE * self.actual_pages

    @property
    def _size(self) -> int:
        return self.ram.size if self.ram is not None else 0

    def ask(self) -> None:
        """Have the guest renew ``statistics`` (5.5.6.3): its buffer is given back for that."""
        with self.lock:
            if self.running:
                queue = self.queues[STATS]
                self.guarded(queue, _give_back)
                self.publish(queue)

    def on_num_pages_read(self) -> int:
        return self.wanted

    def serve(self, queue: Queue) -> None:
        index = self.queues.index(queue)
        if index == STATS:
            self._learn(queue)
            return
        for chain in queue:
            end = 0
            if index == INFLATE:
                end = self._inflate(chain, queue.progress)
            elif index in REPORTS and self.has(PAGE_REPORTING):
                end = self._discard_reported(chain, queue.progress)
            if end:
                queue.postpone(chain, end)
            else:
                queue.push(chain)

    def _discard(self, runs: Iterable[tuple[int, int]]) -> None:
        assert self.ram is not None
        for address, size in runs:
            self.ram.discard(address, size)

    def _inflate(self, chain: Chain, start: int) -> int:
        """Some of a request's page numbers, from this one: where to go on, or 0."""
        size = sum([len(view) for view in chain.readable])
        if size % NUMBER.size or size > MOST_NUMBERS * NUMBER.size:
            raise ProtocolError(f"page numbers of {size} bytes")
        end = start + NUMBERS_AT_ONCE
        self._discard(_runs(b"".join(cut(chain.readable, 4 * start, 4 * end))))
        return end if NUMBER.size * end < size else 0

    def _discard_reported(self, chain: Chain, start: int) -> int:
        """Some of the whole pages that the driver has no use for (5.5.6.7), from this byte of all:
        where to go on, or 0."""
        pages = Chain()
        pages.spans = list(_whole_pages(chain))
        end = start + BYTES_AT_ONCE
        self._discard(pages.spans_between(start, end))
        return end if end < pages.room else 0

    def _learn(self, queue: Queue) -> None:
        """The buffer stays where it is, until there is a question."""
        mark = queue.mark()
        chain = queue.pop()
        if chain is None:
            return
        queue.back(mark)
        size = sum([len(view) for view in chain.readable])
        if size % STATISTIC.size or size > STATISTIC.size * 2 * len(NAMES):
            raise ProtocolError(f"statistics of {size} bytes")
        data = b"".join(chain.readable)
        self.statistics = {
            NAMES[tag]: value for tag, value in STATISTIC.iter_unpack(data) if tag < len(NAMES)
        }

    # Moments

    def twin(self) -> Balloon:
        twin = Balloon()
        twin.features = self.features
        return twin

    def state(self) -> dict[str, Any]:
        return super().state() | {"wanted": self.wanted}

    def load_state(self, state: Mapping[str, Any]) -> None:
        super().load_state(state)
        self._check("wanted", within([state["wanted"]], 1 << 32))
        self.wanted = state["wanted"]


def _give_back(queue: Queue) -> None:
    if (chain := queue.pop()) is not None:
        queue.push(chain)


def _runs(numbers: bytes) -> Iterator[tuple[int, int]]:
    """Pages as runs of bytes."""
    first = following = -1
    for (number,) in sorted(NUMBER.iter_unpack(numbers)):
        if number > following:
            if first >= 0:
                yield PAGE * first, PAGE * (following - first)
            first = number
        following = number + 1
    if first >= 0:
        yield PAGE * first, PAGE * (following - first)


def _whole_pages(chain: Chain) -> Iterator[tuple[int, int]]:
    for address, size in chain.spans:
        begin, end = -(-address // PAGE) * PAGE, (address + size) // PAGE * PAGE
        if begin < end:
            yield begin, end - begin
