"""Conditions on their own."""

from __future__ import annotations

import pytest

import rvvm


def test_they_show_themselves() -> None:
    condition = rvvm.pc(0x80) | rvvm.trap(13) | rvvm.instructions(5) | rvvm.pc("main")
    assert repr(condition) == "pc(0x80) | trap('load page fault') | instructions(5) | pc(main)"


@pytest.mark.parametrize(
    ("make", "argument"), [(rvvm.trap, "nonsense"), (rvvm.text, ""), (rvvm.instructions, -1)]
)
def test_nonsense_is_refused(make: object, argument: object) -> None:
    with pytest.raises(ValueError):
        make(argument)  # type: ignore[operator]
