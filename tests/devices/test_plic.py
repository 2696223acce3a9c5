"""The PLIC, paragraph by paragraph (RISC-V PLIC Specification 1.0.0)."""

from __future__ import annotations

import random

import pytest

from devices.access import Guest, levels
from rvvm.py.devices.plic import Plic

PRIORITY, PENDING, ENABLE, THRESHOLD, CLAIM = 0, 0x1000, 0x2000, 0x20_0000, 0x20_0004


class Bench(Guest):
    def __init__(self, last: int = 95, contexts: int = 2) -> None:
        self.plic = Plic(last, contexts)
        super().__init__(self.plic)

    def enable(self, source: int, context: int = 0, priority: int = 1) -> None:
        self.store(PRIORITY + 4 * source, priority)
        at = ENABLE + 0x80 * context + source // 32 * 4
        self.store(at, self.load(at) | 1 << source % 32)

    def wire(self, source: int, level: bool) -> None:
        sink = self.plic.input(source)
        assert sink is not None
        sink(level)

    def claim(self, context: int = 0) -> int:
        return self.load(CLAIM + 0x1000 * context)

    def complete(self, source: int, context: int = 0) -> None:
        self.store(CLAIM + 0x1000 * context, source)

    def pending(self, source: int) -> int:
        return self.load(PENDING + source // 32 * 4) >> source % 32 & 1

    def eip(self, context: int = 0) -> bool:
        return levels(self.plic)[f"context{context}"]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_priorities_are_warl(bench: Bench) -> None:
    for source in (1, 95):
        bench.store(PRIORITY + 4 * source, 0xFFFF_FFFF)
        assert bench.load(PRIORITY + 4 * source) == 7
    for nothing in (0, 96, 1023):
        bench.store(PRIORITY + 4 * nothing, 7)
        assert bench.load(PRIORITY + 4 * nothing) == 0


def test_thresholds_are_warl_and_separate(bench: Bench) -> None:
    bench.store(THRESHOLD, 0xFF)
    assert (bench.load(THRESHOLD), bench.load(THRESHOLD + 0x1000)) == (7, 0)


def test_enables(bench: Bench) -> None:
    for word in range(3):
        bench.store(ENABLE + 4 * word, 0xFFFF_FFFF)
    read = [bench.load(ENABLE + 4 * word) for word in range(4)]
    assert read == [0xFFFF_FFFE, 0xFFFF_FFFF, 0xFFFF_FFFF, 0], "sources 1 to 95"
    assert bench.load(ENABLE + 0x80) == 0, "the other context's"
    bench.store(ENABLE + 1, 0, width=1)
    assert bench.load(ENABLE) == 0xFFFF_00FE


def test_pending_is_read_only(bench: Bench) -> None:
    bench.wire(33, True)
    bench.store(PENDING + 4, 0)
    assert bench.load(PENDING + 4) == 2


def test_claim_and_complete(bench: Bench) -> None:
    bench.enable(10)
    bench.wire(10, True)
    assert bench.eip() and bench.pending(10)
    assert bench.claim() == 10
    assert not bench.eip() and not bench.pending(10) and bench.claim() == 0
    bench.wire(10, False)
    bench.complete(10)
    assert not bench.eip() and bench.claim() == 0


def test_level_still_asserted_at_completion_is_a_new_request(bench: Bench) -> None:
    bench.enable(10)
    bench.wire(10, True)
    assert bench.claim() == 10
    bench.complete(10)
    assert bench.eip() and bench.claim() == 10


def test_gateway_forwards_nothing_until_completion(bench: Bench) -> None:
    bench.enable(10)
    bench.wire(10, True)
    bench.claim()
    bench.wire(10, False)
    bench.wire(10, True)
    assert not bench.pending(10)
    bench.complete(10)
    assert bench.pending(10)


def test_gateway_cannot_retract_a_request(bench: Bench) -> None:
    bench.enable(10)
    bench.wire(10, True)
    bench.wire(10, False)
    assert bench.eip() and bench.claim() == 10


def test_completion_is_ignored_unless_enabled_for_that_context(bench: Bench) -> None:
    bench.enable(10)
    bench.wire(10, True)
    bench.claim()
    bench.complete(10, context=1)
    assert not bench.pending(10)
    for nonsense in (0, 11, 96, 0xFFFF_FFFF):
        bench.complete(nonsense)
    assert not bench.pending(10)
    bench.enable(10, context=1)
    bench.complete(10, context=1)
    assert bench.pending(10), "it need not be the context that claimed"


def test_completion_without_claim_changes_nothing(bench: Bench) -> None:
    bench.enable(10)
    bench.wire(10, True)
    bench.wire(10, False)
    bench.complete(10)
    assert bench.pending(10)


def test_highest_priority_then_lowest_id(bench: Bench) -> None:
    for source, priority in ((3, 2), (40, 5), (41, 5), (90, 1)):
        bench.enable(source, priority=priority)
        bench.wire(source, True)
    assert [bench.claim() for _ in range(5)] == [40, 41, 3, 90, 0]


def test_priority_zero_never_interrupts(bench: Bench) -> None:
    bench.enable(10, priority=0)
    bench.wire(10, True)
    assert bench.pending(10) and not bench.eip() and bench.claim() == 0


def test_threshold_masks_notification_not_claim(bench: Bench) -> None:
    bench.enable(10, priority=3)
    bench.store(THRESHOLD, 3)
    bench.wire(10, True)
    assert not bench.eip()
    bench.store(THRESHOLD, 2)
    assert bench.eip()
    bench.store(THRESHOLD, 7)
    assert not bench.eip() and bench.claim() == 10


def test_every_enabled_context_is_notified_one_claims(bench: Bench) -> None:
    for context in (0, 1):
        bench.enable(10, context)
    bench.wire(10, True)
    assert bench.eip(0) and bench.eip(1)
    assert bench.claim(1) == 10
    assert not bench.eip(0) and bench.claim(0) == 0


def test_disabling_and_priority_changes_reach_the_wire(bench: Bench) -> None:
    bench.enable(10)
    bench.wire(10, True)
    bench.store(ENABLE, 0)
    assert not bench.eip() and bench.pending(10)
    bench.store(ENABLE, 1 << 10)
    assert bench.eip()
    bench.store(PRIORITY + 40, 0)
    assert not bench.eip()


def test_inputs_that_do_not_exist(bench: Bench) -> None:
    assert [bench.plic.input(*cells) for cells in ((0,), (96,), (1, 2))] == [None] * 3


def test_the_largest(bench: Bench) -> None:
    large = Bench(last=1023, contexts=256)
    large.enable(1023, context=255)
    large.wire(1023, True)
    assert large.eip(255) and large.claim(255) == 1023


def test_reset_keeps_the_wires(bench: Bench) -> None:
    bench.enable(10)
    bench.wire(10, True)
    bench.claim()
    bench.plic.reset()
    assert bench.pending(10) and not bench.eip() and bench.load(ENABLE) == 0


def test_against_a_plain_model() -> None:
    """Random histories, against sets and max()."""
    rng = random.Random(1)
    bench = Bench(last=40, contexts=3)
    model = Model(40, 3)
    for _ in range(4000):
        source, context = rng.randint(1, 40), rng.randrange(3)
        value = rng.randrange(8)
        match rng.randrange(7):
            case 0 | 1:
                level = rng.random() < 0.5
                bench.wire(source, level)
                model.wire(source, level)
            case 2:
                bench.store(PRIORITY + 4 * source, value)
                model.priority[source] = value
            case 3:
                bench.store(THRESHOLD + 0x1000 * context, value)
                model.threshold[context] = value
            case 4:
                word, bits = rng.randrange(2), rng.getrandbits(32)
                bench.store(ENABLE + 0x80 * context + 4 * word, bits)
                model.enable(context, word, bits)
            case 5:
                assert bench.claim(context) == model.claim(context)
            case 6:
                done = rng.choice([source, *model.busy])
                bench.complete(done, context)
                model.complete(done, context)
        assert [bench.eip(i) for i in range(3)] == [model.eip(i) for i in range(3)]
        assert {i for i in range(41) if bench.pending(i)} == model.pending


class Model:
    def __init__(self, last: int, contexts: int) -> None:
        self.last = last
        self.priority = [0] * (last + 1)
        self.threshold = [0] * contexts
        self.enabled: list[set[int]] = [set() for _ in range(contexts)]
        self.high: set[int] = set()
        self.pending: set[int] = set()
        self.busy: set[int] = set()

    def wire(self, source: int, level: bool) -> None:
        (self.high.add if level else self.high.discard)(source)
        if level and source not in self.busy:
            self.pending.add(source)

    def enable(self, context: int, word: int, bits: int) -> None:
        ids = range(32 * word, 32 * word + 32)
        self.enabled[context] -= set(ids)
        self.enabled[context] |= {i for i in ids if bits >> i % 32 & 1 and 0 < i <= self.last}

    def eip(self, context: int) -> bool:
        ready = self.pending & self.enabled[context]
        return any(self.priority[i] > self.threshold[context] for i in ready)

    def claim(self, context: int) -> int:
        ready = [i for i in self.pending & self.enabled[context] if self.priority[i]]
        best = max(ready, key=lambda i: (self.priority[i], -i), default=0)
        if best:
            self.pending.discard(best)
            self.busy.add(best)
        return best

    def complete(self, source: int, context: int) -> None:
        if source in self.enabled[context] and source in self.busy:
            self.busy.discard(source)
            if source in self.high:
                self.pending.add(source)
