"""What passt is told; that it works is seen in ``boot/test_network.py``."""

from __future__ import annotations

import socket

import pytest

from rvvm.py.net.passt import LONG_MTU, _mtu


class End:
    """A socket of a host that allows so large a buffer."""

    def __init__(self, most: int) -> None:
        self.most, self.room = most, 212_992

    def setsockopt(self, level: int, option: int, value: int) -> None:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_SNDBUF)
        self.room = 2 * min(value, self.most)  # socket(7): the kernel doubles it

    def getsockopt(self, level: int, option: int) -> int:
        return self.room


@pytest.mark.parametrize(
    ("most", "mtu"), [(212_992, 9000), (1 << 22, LONG_MTU), (1 << 30, LONG_MTU)]
)
def test_frames_are_as_long_as_many_fit(most: int, mtu: int) -> None:
    end = End(most)
    assert _mtu(end) == mtu  # type: ignore[arg-type]
    assert end.room >= 2 * 212_992 or mtu == 9000
    assert (mtu + 14 + 12) % 4096 == 0 or mtu == 9000
