"""Counters: cycle, time, instret, the hpm counters, their controls and their overflow.

"Hardware Performance Monitor", "Machine Counter-Inhibit Register", hypervisor chapter "Hypervisor
Time Delta Register", Sscofpmf.  Which events exist is the implementation's choice: the tests find
one that counts instructions or cycles and use that.
"""

from __future__ import annotations

import pytest

from privileged.bench import CODE, Bench, open_bench
from privileged.manual import BELOW_M, HS, MODES, ONES, VS, VU, Irq, M, Mode, U, bits

LCOFI = 1 << Irq.LCOFI
OF, MINH, SINH, UINH, VSINH, VUINH = (1 << n for n in (63, 62, 61, 60, 59, 58))


def nops(bench: Bench, count: int, mode: Mode = M) -> None:
    bench.load("nop\n" * count)
    bench.enter(mode, CODE)
    bench.hart.step(count)
    assert bench.hart.pc == CODE + 4 * count


# cycle and instret


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_instret_counts_in_every_mode(mode: Mode) -> None:
    bench = Bench()
    before = bench.get("minstret"), bench.get("mcycle")
    nops(bench, 10, mode)
    assert bench.get("minstret") == before[0] + 10
    assert bench.get("mcycle") > before[1]


@pytest.mark.parametrize(
    ("csr", "shadow"),
    [
        ("mcycle", "cycle"),
        ("minstret", "instret"),
        ("mhpmcounter3", "hpmcounter3"),
        ("mhpmcounter31", "hpmcounter31"),
    ],
)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_shadows(csr: str, shadow: str, mode: Mode) -> None:
    """The unprivileged counters are read-only shadows of the machine's, from every mode."""
    bench = open_bench(mcountinhibit=ONES)
    bench.set(**{csr: 0x1234_5678_9ABC_DEF0})
    assert bench.step(f"csrrs a0, {shadow}, x0", mode) is None
    assert bench.x("a0") == 0x1234_5678_9ABC_DEF0


def test_write_of_minstret_takes_effect_after_the_instruction() -> None:
    """The write suppresses its instruction's own increment; the next one reads its value."""
    bench = Bench()
    bench.load("csrrw x0, minstret, a1; csrrs a0, minstret, x0; csrrs a2, minstret, x0")
    bench.regs(a1=1000)
    bench.enter(M, CODE)
    bench.hart.step(3)
    assert (bench.x("a0"), bench.x("a2")) == (1000, 1001)


def test_read_of_minstret_sees_the_instructions_before_it() -> None:
    bench = Bench()
    bench.set(minstret=50)
    assert bench.step("csrrs a0, minstret, x0") is None
    assert bench.x("a0") == 50
    assert bench.get("minstret") == 51


@pytest.mark.parametrize(("csr", "bit"), [("mcycle", 0), ("minstret", 2)])
def test_inhibit(csr: str, bit: int) -> None:
    """mcountinhibit stops exactly its counter; time cannot be inhibited."""
    bench = Bench()
    bench.set(mcountinhibit=1 << bit, mcycle=100, minstret=100)
    nops(bench, 10)
    other = {"mcycle": "minstret", "minstret": "mcycle"}[csr]
    assert bench.get(csr) == 100
    assert bench.get(other) > 100
    bench.set(mcountinhibit=0)
    nops(bench, 10)
    assert bench.get(csr) > 100


def test_counters_wrap() -> None:
    """64 bits, unsigned, and no interrupt from cycle or instret."""
    bench = Bench()
    bench.set(mip=0, minstret=ONES, mcycle=ONES)
    nops(bench, 3)
    assert bench.get("minstret") == 2
    assert bench.get("mcycle") < 100
    assert bench.get("mip") & LCOFI == 0


# time


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("delta", [0, 5000, -5000, ONES])
def test_time_and_htimedelta(mode: Mode, delta: int) -> None:
    """Reading time in VS or VU returns the sum of htimedelta and time (overflow is ignored)."""
    bench = open_bench(htimedelta=delta)
    bench.system.time = 1 << 40
    assert bench.step("csrrs a0, time, x0", mode) is None
    wanted = (1 << 40) + (delta if mode.virtual else 0)
    assert 0 <= (bench.x("a0") - wanted) % (1 << 64) < 1000


def test_time_is_the_debuggers_too() -> None:
    bench = Bench()
    bench.system.time = 12345
    assert bench.get("time") == bench.system.time


# hpm counters


def counting_event(bench: Bench) -> int:
    """An event that happens when instructions execute."""
    for event in range(1, 256):
        bench.set(mhpmevent3=event, mhpmcounter3=0)
        if bench.get("mhpmevent3") & 0xFF == event:
            nops(bench, 8)
            if bench.get("mhpmcounter3"):
                bench.set(mhpmcounter3=0, mhpmevent3=0, mip=0)
                return event
    pytest.fail("no event counts anything on eight instructions")


def test_event_zero_counts_nothing() -> None:
    bench = Bench()
    bench.set(mhpmevent3=0, mhpmcounter3=7)
    nops(bench, 20)
    assert bench.get("mhpmcounter3") == 7


@pytest.mark.parametrize("n", [3, 4, 17, 31])
def test_every_counter_counts(n: int) -> None:
    bench = Bench()
    event = counting_event(bench)
    bench.set(**{f"mhpmevent{n}": event, f"mhpmcounter{n}": 0})
    nops(bench, 8)
    assert bench.get(f"mhpmcounter{n}") > 0
    before = bench.get(f"mhpmcounter{n}")
    bench.set(mcountinhibit=1 << n)
    nops(bench, 8)
    assert bench.get(f"mhpmcounter{n}") == before


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize(
    ("bit", "inhibited"),
    [
        (0, ()),
        (MINH, (M,)),
        (SINH, (HS,)),
        (UINH, (U,)),
        (VSINH, (VS,)),
        (VUINH, (VU,)),
        (MINH | SINH | UINH | VSINH | VUINH, MODES),
    ],
    ids=str,
)
def test_mode_filters(mode: Mode, bit: int, inhibited: tuple[Mode, ...]) -> None:
    """Each xINH bit inhibits counting in its mode and in no other."""
    bench = Bench()
    bench.set(mhpmevent3=counting_event(bench) | bit, mhpmcounter3=0)
    nops(bench, 8, mode)
    assert (bench.get("mhpmcounter3") == 0) == (mode in inhibited)


@pytest.mark.parametrize("n", [3, 31])
def test_overflow_sets_of_and_lcofip(n: int) -> None:
    """OF and LCOFIP are set by the overflow, which happens once; the counter goes on."""
    bench = Bench()
    event = counting_event(bench)
    bench.set(**{f"mhpmevent{n}": event, f"mhpmcounter{n}": ONES - 2})
    nops(bench, 8)
    assert bench.get(f"mhpmevent{n}") == event | OF
    assert bench.get(f"mhpmcounter{n}") < 1000
    assert bench.get("mip") & LCOFI
    assert bench.get("scountovf") == 1 << n


def test_overflow_with_of_set_requests_nothing() -> None:
    """If the OF bit is one, then no interrupt request is generated."""
    bench = Bench()
    bench.set(mhpmevent3=counting_event(bench) | OF, mhpmcounter3=ONES - 2, mip=0)
    nops(bench, 8)
    assert bench.get("mip") & LCOFI == 0
    assert bench.get("mhpmcounter3") < 1000


def test_writes_never_overflow() -> None:
    """Count overflow never results from writes to mhpmcounter or mhpmevent."""
    bench = Bench()
    for value in (ONES, 0, ONES):
        bench.set(mhpmcounter3=value, mhpmevent3=OF)
        bench.set(mhpmevent3=0)
        assert bench.get("mip") & LCOFI == 0
        assert bench.get("scountovf") == 0


def test_overflow_interrupt_is_taken() -> None:
    """LCOFI, delegated to HS, interrupts the running program there."""
    bench = Bench()
    event = counting_event(bench)
    bench.set(mideleg=LCOFI, mie=LCOFI, mstatus=0, mhpmevent3=event, mhpmcounter3=ONES - 3)
    bench.load("nop\n" * 32)
    bench.enter(U, CODE)
    bench.run()
    assert bench.trap().to == "HS"
    assert bench.get("scause") == 1 << 63 | Irq.LCOFI
    assert CODE < bench.get("sepc") < CODE + 128


@pytest.mark.parametrize(
    ("mode", "visible"),
    [
        (M, {3, 4, 5, 6}),
        (HS, {3, 4}),
        (VS, {3}),
    ],
    ids=str,
)
def test_scountovf_by_counter_enables(mode: Mode, visible: set[int]) -> None:
    """In HS bit X needs mcounteren, in VS hcounteren as well; in M all are readable."""
    bench = open_bench()
    for n in (3, 4, 5, 6):
        bench.set(**{f"mhpmevent{n}": OF})
    bench.set(mcounteren=bits(3, 4), hcounteren=bits(3, 5))
    assert bench.step("csrrs a0, scountovf, x0", mode) is None
    assert bench.x("a0") == bits(*visible)


@pytest.mark.parametrize("mode", BELOW_M, ids=str)
def test_disabled_counters_still_count(mode: Mode) -> None:
    """The counter-enables control accessibility only: counters increment all the same."""
    bench = Bench()
    bench.set(mcounteren=0, hcounteren=0, scounteren=0)
    before = bench.get("minstret")
    nops(bench, 5, mode)
    assert bench.get("minstret") == before + 5
