"""Reservations among harts: SC fails when another hart has stored, whatever it stored.

Unprivileged ISA, "Load-Reserved/Store-Conditional Instructions": "An SC must fail if a store to the
reservation set from another hart can be observed to occur between the LR and SC."
"""

from __future__ import annotations

import threading
from typing import Any

import pytest

from engines.harts import DATA, PASS, TIMEOUT, Harts

ENGINES = [{"accel": "interp"}, {"accel": "jit", "hot": 1}]
ROUNDS = 40
SIGNALS = DATA + 0x1000
"""Where harts tell each other how far they are: not on the page with the reservation."""
MEETING = 0x3000000

pytestmark = pytest.mark.parametrize("engine", ENGINES, ids=["interp", "jit"])

#: What the other hart does to the reserved doubleword, which holds 0, with 9 in t2 and 0 in t3. The
#: value in the end is the same.
STORES = {
    "sd": "sd t2, (s0); sd t3, (s0)",
    "one sd of what is there": "sd t3, (s0)",
    "sb": "sb t3, (s0)",
    "fsd": "fmv.d.x fa0, t3; fsd fa0, (s0)",
    "misaligned": "lw t5, 2(s0); sw t5, 2(s0)",
    "from the page before": "lw t5, -2(s0); sw t5, -2(s0)",
    "amo": "amoswap.d x0, t2, (s0); amoswap.d x0, t3, (s0)",
    "amo of a byte": "amoor.b x0, x0, (s0)",
    "sc": "stack: lr.d t4, (s0); sc.d t5, t4, (s0); bnez t5, stack",
    "amocas": "mv t4, t3; amocas.d t4, t2, (s0); mv t4, t2; amocas.d t4, t3, (s0)",
    "amocas.q": "ld s4, (s0); ld s5, 8(s0); mv s6, s4; mv s7, s5; amocas.q s6, s4, (s0)",
    "cbo.zero": "cbo.zero (s0)",
    "hsv": "hsv.d t3, (s0)",
}
BETWEEN = """
        {signal}
        fence
    wait:
        pause
        ld   t1, 8(s1)
        bne  t1, s2, wait
        fence
"""


def contend(
    lr_to_sc: str, store: str, expect: str, engine: dict[str, Any], threads: bool = True
) -> None:
    """Hart 0 takes a reservation and lets hart 1 store; `expect` looks at t2, SC's result."""
    source = f"""
        li   s0, DATA
        li   s1, SIGNALS
        li   s2, ROUNDS
        li   t2, 9
        li   t3, 0
        li   t4, 0x6000
        csrs mstatus, t4
        li   t4, -1
        csrw pmpaddr0, t4
        csrwi pmpcfg0, 0x1f
        bnez a0, other
    next:
        {lr_to_sc}
        {expect}
        addi s2, s2, -1
        bnez s2, next
        {PASS}
    other:
        ld   t1, (s1)
        beq  t1, s2, store
        pause
        j    other
    store:
        fence
        {store}
        fence
        sd   s2, 8(s1)
        addi s2, s2, -1
        bnez s2, other
        {PASS.replace("over", "over2")}
    """
    Harts(2, source, engine=engine, threads=threads, ROUNDS=ROUNDS, SIGNALS=SIGNALS).run()


@pytest.mark.parametrize("threads", [True, False], ids=["threads", "turns"])
@pytest.mark.parametrize("store", STORES, ids=str)
def test_sc_fails_after_another_hart_has_stored(
    engine: dict[str, Any], store: str, threads: bool
) -> None:
    between = BETWEEN.format(signal="sd s2, (s1)")
    pair = f"lr.d t4, (s0); {between}; sc.d t2, t4, (s0)"
    contend(pair, STORES[store], "beqz t2, fail", engine, threads)


class Meeting:
    """A device: hart 0's load of the first word lets hart 1 go, and waits until it has stored."""

    def __init__(self, harts: Harts) -> None:
        self.go, self.done = threading.Semaphore(0), threading.Semaphore(0)
        harts.system.add_device("meeting", MEETING, 0x1000, self.read, self.write)

    def read(self, offset: int, width: int) -> int:
        if offset == 0:
            self.go.release()
        return int((self.go if offset else self.done).acquire(timeout=TIMEOUT))

    def write(self, offset: int, width: int, value: int) -> None:
        self.done.release()


def test_sc_fails_after_a_way_round_of_the_same_length(engine: dict[str, Any]) -> None:
    """From LR to SC there are as many instructions with a memory access as without."""
    source = f"""
        li   s0, DATA
        li   s1, MEETING
        li   s2, ROUNDS
        bnez a0, other
    next:
        lr.d t4, (s0)
        bnez s2, round
        nop
        nop
    back:
        sc.d t2, t4, (s0)
        beqz t2, fail
        addi s2, s2, -1
        bnez s2, next
        {PASS}
    round:
        ld   t1, (s1)
        j    back
    other:
        ld   t1, 8(s1)
        sd   x0, (s0)
        sd   x0, (s1)
        addi s2, s2, -1
        bnez s2, other
        {PASS.replace("over", "over2")}
    """
    harts = Harts(2, source, engine=engine, ROUNDS=ROUNDS, MEETING=MEETING)
    Meeting(harts)
    harts.run()


def test_sc_succeeds_when_nothing_was_stored(engine: dict[str, Any]) -> None:
    """Also where the code does not show how SC is reached: then it may fail at first."""
    between = BETWEEN.format(signal="sd s2, (s1)")
    pair = f"""
        li   s3, 3
    again:
        lr.d t4, (s0)
        {between}
        sc.d t2, t4, (s0)
        beqz t2, done
        addi s3, s3, -1
        bnez s3, again
    done:
    """
    contend(pair, "sd t3, 8(s0)", "bnez t2, fail", engine)


@pytest.mark.parametrize("harts", [2, 4])
def test_a_stack_of_nodes(engine: dict[str, Any], harts: int) -> None:
    """Pop reads the node's link between LR and SC: it would be stale if the node came and went."""
    source = f"""
        li   s0, DATA                 # the head
        li   s2, ROUNDS
    next:
    pop:
        lr.d.aq t0, (s0)
        beqz t0, empty
        ld   t1, (t0)
        sc.d.rl t2, t1, (s0)
        bnez t2, pop
        addi t5, t0, 8
        li   t3, 1
        amoswap.d t3, t3, (t5)        # the node is this hart's alone
        bnez t3, fail
        amoswap.d.rl x0, x0, (t5)
    push:
        ld   t1, (s0)
        sd   t1, (t0)
        fence
        lr.d t4, (s0)
        bne  t4, t1, push
        sc.d.aqrl t2, t0, (s0)
        bnez t2, push
        addi s2, s2, -1
        bnez s2, next
        {PASS}
    empty:
        pause
        j    pop
    """
    machine = Harts(harts, source, engine=engine, ROUNDS=10_000)
    nodes = [DATA + 0x100 + 0x40 * k for k in range(3)]
    for node, link in zip(nodes, [*nodes[1:], 0], strict=True):
        machine.system.write(node, link.to_bytes(8, "little") + bytes(8))
    machine.system.write(DATA, nodes[0].to_bytes(8, "little"))
    machine.run()
    seen, node = [], machine.word(DATA)
    while node:
        seen.append(node)
        node = machine.word(node)
    assert sorted(seen) == nodes


def test_pairs_without_memory_between_need_no_flag(engine: dict[str, Any]) -> None:
    """What compilers and Linux make of atomics takes no page's write permission away."""
    source = f"""
        li   s0, DATA
        li   s2, ROUNDS
    next:
        lr.w t0, (s0)
        blt  t0, x0, next
        addi t0, t0, 1
        sc.w t1, t0, (s0)
        bnez t1, next
        lr.d t0, (s0)                 # an LR alone
        addi s2, s2, -1
        bnez s2, next
        {PASS}
    """
    machine = Harts(2, source, engine=engine, ROUNDS=5000)
    machine.run()
    assert machine.word(DATA, 4) == 10_000
    pages_with_code = 2
    assert machine.system.stats()["flushes_code"] <= 2 * pages_with_code
