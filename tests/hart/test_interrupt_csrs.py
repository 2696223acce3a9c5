"""mip, sip, hip, vsip, hvip and their enables: who writes which bit, and who sees it.

"Machine Interrupt (mip and mie) Registers", "Supervisor Interrupt Registers", hypervisor chapter
"Hypervisor Interrupt (hvip, hip, and hie) Registers" and "Virtual Supervisor Interrupt Registers".
"""

from __future__ import annotations

import pytest

from privileged.bench import Bench
from privileged.manual import ADDRESS, ONES, STCE, Irq, bits

SSI, VSSI, STI, VSTI, SEI, VSEI, SGEI, LCOFI = (
    1 << n for n in (Irq.SSI, Irq.VSSI, Irq.STI, Irq.VSTI, Irq.SEI, Irq.VSEI, Irq.SGEI, Irq.LCOFI)
)
MSI, MTI, MEI = (1 << n for n in (Irq.MSI, Irq.MTI, Irq.MEI))
DELEGABLE = SSI | STI | SEI | LCOFI


def quiet(**csrs: int) -> Bench:
    """A bench on which no timer compare is due: only what a test raises is pending."""
    bench = Bench()
    bench.set(stimecmp=ONES, vstimecmp=ONES, mip=0, hvip=0)
    bench.set(**csrs)
    return bench


@pytest.mark.parametrize(
    ("name", "setup", "writable"),
    [
        # Sstc in use (STCE=1): STIP is read-only and shows stimecmp
        ("mip", {"menvcfg": ONES}, SSI | VSSI | SEI | LCOFI),
        # STCE=0: STIP reverts to its behaviour without Sstc, writable from M-mode
        ("mip", {"menvcfg": 0}, SSI | VSSI | STI | SEI | LCOFI),
        ("sip", {"mideleg": ONES, "menvcfg": 0}, SSI | LCOFI),  # SEIP and STIP are read-only in sip
        ("sip", {"mideleg": 0, "menvcfg": 0}, 0),
        ("hvip", {}, VSSI | VSTI | VSEI),
        ("hip", {}, VSSI),  # an alias of hvip's; SGEIP, VSEIP and VSTIP are read-only
        ("vsip", {"hideleg": ONES}, SSI),
        ("vsip", {"hideleg": 0}, 0),
    ],
)
def test_writable_pending_bits(name: str, setup: dict[str, int], writable: int) -> None:
    bench = quiet(**setup)
    bench.set(**{name: ONES})
    assert bench.get(name) == writable
    bench.set(**{name: 0})
    assert bench.get(name) == 0


@pytest.mark.parametrize(("wire", "bit"), [(3, MSI), (7, MTI), (11, MEI), (9, SEI)])
def test_wires(wire: int, bit: int) -> None:
    """MSIP, MTIP, MEIP and the controller's SEIP follow their wires; software cannot clear them."""
    bench = quiet()
    bench.hart.set_interrupt(wire, True)
    assert bench.get("mip") & bit
    bench.set(mip=0)
    assert bench.get("mip") & bit
    bench.hart.set_interrupt(wire, False)
    assert bench.get("mip") & bit == 0


@pytest.mark.parametrize(
    ("line", "operand", "after"),
    [
        ("csrrs a0, mip, a1", 0, 0),  # the wire takes no part in the read-modify-write
        ("csrrs a0, mip, a1", SEI, SEI),
        ("csrrw a0, mip, a1", 0, 0),
        ("csrrw a0, mip, a1", SEI, SEI),
        ("csrrc a0, mip, a1", SEI, 0),
    ],
)
def test_seip_is_an_or(line: str, operand: int, after: int) -> None:
    """A read of mip shows SEIP as wire or software bit, but only the latter is written back."""
    bench = quiet()
    bench.hart.set_interrupt(9, True)
    assert bench.step(line, a1=operand) is None
    assert bench.x("a0") & SEI
    bench.hart.set_interrupt(9, False)
    assert bench.get("mip") & SEI == after


@pytest.mark.parametrize("bit", [SSI, STI, SEI, LCOFI])
def test_sip_and_sie_are_views(bit: int) -> None:
    """sip and sie are the delegated part of mip and mie."""
    bench = quiet(menvcfg=0, mideleg=bit)
    bench.set(mip=DELEGABLE, mie=DELEGABLE)
    assert bench.get("sip") == bit
    assert bench.get("sie") == bit
    bench.set(sie=0)
    assert bench.get("mie") & DELEGABLE == DELEGABLE & ~bit


@pytest.mark.parametrize(
    ("hs", "vs", "name"),
    [
        (VSSI, SSI, "VSSI"),
        (VSTI, STI, "VSTI"),
        (VSEI, SEI, "VSEI"),
    ],
)
def test_vsip_and_vsie_are_aliases(hs: int, vs: int, name: str) -> None:
    """vsip and vsie show hip and hie one bit lower, where hideleg allows; zero otherwise."""
    bench = quiet(hvip=hs, hie=hs, hideleg=hs)
    assert (bench.get("vsip"), bench.get("vsie")) == (vs, vs)
    assert bench.get("hip") == bench.get("mip") == hs
    bench.set(vsie=0)
    assert (bench.get("hie"), bench.get("mie")) == (0, 0)
    bench.set(vsie=vs)
    assert (bench.get("hie"), bench.get("mie")) == (hs, hs)
    bench.set(hideleg=ONES & ~hs)
    assert (bench.get("vsip"), bench.get("vsie")) == (0, 0)
    bench.set(vsie=0)  # read-only zero: does not reach hie
    assert bench.get("hie") == hs


def test_vssip_is_one_bit_everywhere() -> None:
    """VSSIP in hip and mip is an alias (writable) of hvip's, and SSIP in vsip as well."""
    bench = quiet(hideleg=ONES)
    views = {"hvip": VSSI, "hip": VSSI, "mip": VSSI, "vsip": SSI}
    for writer, bit in views.items():
        bench.set(**{writer: bit})
        assert {view: bench.get(view) & 6 for view in views} == views, writer
        bench.set(**{writer: 0})
        assert all(bench.get(view) & 6 == 0 for view in views), writer


def test_mie_and_hie_share_bits() -> None:
    """SGEIE, VSEIE, VSTIE and VSSIE in mie are aliases of the bits in hie."""
    bench = quiet()
    for bit in (SGEI, VSEI, VSTI, VSSI):
        bench.set(mie=bit)
        assert bench.get("hie") == bit
        bench.set(mie=0, hie=bit)
        assert bench.get("mie") == bit
        bench.set(hie=0)


@pytest.mark.parametrize("guest", range(1, 6))
def test_guest_external_interrupts(guest: int) -> None:
    """hip.SGEIP is any of hgeip and hgeie; VSEIP is the hgeip bit that VGEIN selects, or hvip's."""
    bench = quiet()
    bench.hart.set_guest_interrupt(guest, True)
    assert bench.get("hgeip") == 1 << guest
    assert bench.get("hip") == 0
    for other in range(1, 6):
        bench.set(hgeie=1 << other, hstatus=other << 12)
        selected = SGEI | VSEI if other == guest else 0
        assert bench.get("hip") == bench.get("mip") == selected
    bench.set(hgeie=0, hstatus=guest << 12)  # hgeie does not affect the VS-level signal
    assert bench.get("hip") == VSEI
    bench.set(hgeip=0)
    assert bench.get("hgeip") == 1 << guest
    bench.hart.set_guest_interrupt(guest, False)
    assert bench.get("hip") == bench.get("hgeip") == 0


def test_vsip_shows_guest_external() -> None:
    """vsip.SEIP aliases hip.VSEIP, whatever its source."""
    bench = quiet(hideleg=ONES, hstatus=2 << 12)
    bench.hart.set_guest_interrupt(2, True)
    assert bench.get("vsip") == SEI


@pytest.mark.parametrize(
    ("now", "compare", "pending"),
    [
        (1000, 999, True),
        (1000, 1000, True),
        (1000, 1001, False),
        (1000, ONES, False),
        (ONES - 5, 5, True),
        (1000, 0, True),
    ],
)
def test_stimecmp(now: int, compare: int, pending: bool) -> None:
    """STIP is time >= stimecmp, unsigned ("Supervisor Timer (stimecmp) Register")."""
    bench = quiet(menvcfg=STCE.mask, mideleg=ONES)
    bench.system.time = now
    bench.set(stimecmp=compare)
    for name in ("mip", "sip"):
        assert bench.get(name) & STI == (STI if pending else 0)


def test_stip_without_stce_ignores_stimecmp() -> None:
    """With menvcfg.STCE=0, STIP reverts to its behaviour without Sstc."""
    bench = quiet(menvcfg=0)
    bench.system.time = 1000
    bench.set(stimecmp=0)
    assert bench.get("mip") & STI == 0


@pytest.mark.parametrize(
    ("delta", "compare", "pending"),
    [
        (0, 1000, True),
        (0, 1001, False),
        (10, 1010, True),
        (10, 1011, False),
        (-10, 990, True),
        (-10, 991, False),
        (-1001, ONES, True),
        (-1001, 0, True),
        (-1000, 1, False),
    ],
)
def test_vstimecmp(delta: int, compare: int, pending: bool) -> None:
    """VSTIP is time + htimedelta (64 bits) >= vstimecmp; it stays defined while V=0."""
    bench = quiet(menvcfg=ONES, henvcfg=ONES, hideleg=ONES)
    bench.system.time = 1000
    bench.set(htimedelta=delta, vstimecmp=compare)
    assert bench.get("hip") == (VSTI if pending else 0)
    assert bench.get("vsip") == (STI if pending else 0)
    bench.set(hvip=VSTI)  # the logical OR of both
    assert bench.get("hip") == VSTI


@pytest.mark.parametrize("closed", ["henvcfg", "menvcfg"])
def test_vstip_without_stce_ignores_vstimecmp(closed: str) -> None:
    """henvcfg.STCE=0 (also because of menvcfg.STCE=0) leaves VSTIP to hvip alone."""
    bench = quiet(menvcfg=ONES, henvcfg=ONES)
    bench.system.time = 1000
    bench.set(vstimecmp=0, **{closed: 0})
    assert bench.get("hip") == 0
    bench.set(hvip=VSTI)
    assert bench.get("hip") == VSTI


def test_mtimer_follows_the_deadline() -> None:
    """MTIP is time >= mtimecmp ("Machine Timer Registers")."""
    bench = quiet()
    bench.system.time = 500
    bench.hart.set_timer(501)
    assert bench.get("mip") & MTI == 0
    bench.hart.set_timer(500)
    assert bench.get("mip") & MTI
    bench.hart.set_timer(ONES)
    assert bench.get("mip") & MTI == 0


def test_hideleg_needs_mideleg() -> None:
    """For zero bits of mideleg the bits of hideleg, hip and hie are zero; the VS ones are ones."""
    bench = quiet(mideleg=0)
    bench.set(hideleg=ONES, hie=ONES, hvip=ONES)
    every = VSSI | VSTI | VSEI
    assert (bench.get("hideleg"), bench.get("hie")) == (every, every | SGEI)
    assert bench.get("hip") == every
    assert bench.get("mideleg") == bits(2, 6, 10, 12)


@pytest.mark.parametrize("how", ["csrs", "csrc", "change"])
def test_other_bits_do_not_latch_the_wire(how: str) -> None:
    """ "mip": the value that csrrs and csrrc write back has the software bit of SEIP alone."""
    bench = quiet(mip=SSI if how == "csrc" else 0)
    bench.hart.set_interrupt(9, True)
    if how == "change":
        bench.hart.change_csr(ADDRESS["mip"], SSI, SSI)
    else:
        bench.step(f"{how} mip, a0", a0=SSI)
    assert bench.get("mip") == SEI | (0 if how == "csrc" else SSI)
    bench.hart.set_interrupt(9, False)
    assert not bench.get("mip") & SEI


def test_all_bits_may_latch_it() -> None:
    """csrrw writes what it is given: reading mip and writing it whole keeps the wire's level."""
    bench = quiet()
    bench.hart.set_interrupt(9, True)
    bench.set(mip=bench.get("mip"))
    bench.hart.set_interrupt(9, False)
    assert bench.get("mip") == SEI
