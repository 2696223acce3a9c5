"""Traps by name: privileged manual, tables of mcause values, the hypervisor chapter's included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rvvm.py import arguments
from rvvm.py.views.table import Table, hexadecimal

INTERRUPT = 1 << 63
"""The top bit of a cause register: set for an interrupt."""

EXCEPTIONS = {
    "instruction_address_misaligned": 0,
    "instruction_access_fault": 1,
    "illegal_instruction": 2,
    "breakpoint": 3,
    "load_address_misaligned": 4,
    "load_access_fault": 5,
    "store_address_misaligned": 6,
    "store_access_fault": 7,
    "ecall_from_u": 8,
    "ecall_from_hs": 9,
    "ecall_from_vs": 10,
    "ecall_from_m": 11,
    "instruction_page_fault": 12,
    "load_page_fault": 13,
    "store_page_fault": 15,
    "double_trap": 16,
    "software_check": 18,
    "hardware_error": 19,
    "instruction_guest_page_fault": 20,
    "load_guest_page_fault": 21,
    "virtual_instruction": 22,
    "store_guest_page_fault": 23,
}
INTERRUPTS = {
    "supervisor_software_interrupt": 1,
    "vs_software_interrupt": 2,
    "machine_software_interrupt": 3,
    "supervisor_timer_interrupt": 5,
    "vs_timer_interrupt": 6,
    "machine_timer_interrupt": 7,
    "supervisor_external_interrupt": 9,
    "vs_external_interrupt": 10,
    "machine_external_interrupt": 11,
    "supervisor_guest_external_interrupt": 12,
    "counter_overflow_interrupt": 13,
}
CAUSES: Mapping[str, int] = EXCEPTIONS | {
    name: INTERRUPT | number for name, number in INTERRUPTS.items()
}
"""Every cause by name, as a cause register holds it."""

_NAMES = {cause: name.replace("_", " ") for name, cause in CAUSES.items()}


def cause_name(cause: int) -> str:
    """The cause in words.

    >>> cause_name(13), cause_name(1 << 63 | 7), cause_name(62)
    ('load page fault', 'machine timer interrupt', 'exception 62')
    """
    kind = "interrupt" if cause & INTERRUPT else "exception"
    return _NAMES.get(cause, f"{kind} {cause & ~INTERRUPT}")


def cause_number(cause: str | int) -> int:
    """The number of a cause given by name or number; ValueError for a name nobody has.

    >>> cause_number("load page fault"), cause_number(2)
    (13, 2)
    """
    if not isinstance(cause, str):
        try:
            return arguments.integer("trap", cause)
        except TypeError:
            raise arguments.wrong_type("trap", "a cause's name or number", cause) from None
    number = CAUSES.get(cause.lower().replace(" ", "_").replace("-", "_"))
    if number is None:
        raise ValueError(f"unknown trap cause {cause!r}; one of: {', '.join(CAUSES)}")
    return number


def trap_table(trap: Mapping[str, Any] | None) -> Table:
    """The last trap a hart took, as ``_core.Hart.last_trap`` tells it."""
    if trap is None:
        return Table("no trap yet", (), ())
    cause = (INTERRUPT if trap["interrupt"] else 0) | trap["cause"]
    numbers = [(name, hexadecimal(trap[name])) for name in ("epc", "tval", "tval2", "tinst")]
    rows = [("cause", cause_name(cause)), ("to", trap["to"]), *numbers, ("gva", trap["gva"])]
    return Table("last trap", ("", ""), rows)
