"""Rates that are not to be exceeded: of a disk's requests and bytes, of a network's bits."""

from __future__ import annotations

from collections.abc import Mapping

SECOND = 10**9
"""Nanoseconds."""
_MOST_LEFT = 1 << 80
_BURST = SECOND // 10
"""How long a rate may be used at once: fewer waits, and none is long."""


class Bucket:
    """``rate`` a second. Who comes while there is something left takes all it wants; who comes next
    waits for what that was too much.

    >>> bucket = Bucket(100)
    >>> bucket.wait(0), bucket.spend(60), bucket.wait(0), bucket.wait(600_000_000)
    (0, None, 500000001, 0)
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.left = self._most = rate * _BURST  # billionths, whole ones: no rounding adds up
        self._since = 0

    def wait(self, now: int) -> int:
        """Nanoseconds until there is something."""
        passed = max(now - self._since, 0)  # a host's clock may be set back
        self.left = min(self.left + passed * self.rate, self._most)
        self._since = now
        return 0 if self.left > 0 else -self.left // self.rate + 1

    def spend(self, amount: int) -> None:
        """So much was used."""
        self.left -= amount * SECOND

    def put(self, left: int, now: int) -> None:
        """So much is left at this moment."""
        self.left, self._since = min(left, self._most), now


class Throttle:
    """Of a disk: requests and bytes, each with a rate or none."""

    def __init__(self, requests: int | None, size: int | None) -> None:
        rates = {"requests": requests, "bytes": size}
        self._buckets = {name: Bucket(rate) for name, rate in rates.items() if rate}

    def again(self) -> Throttle:
        """Another with the same rates."""
        rates = self.rates()
        return Throttle(rates.get("requests"), rates.get("bytes"))

    def rates(self) -> dict[str, int]:
        """What is limited: how much a second."""
        return {name: bucket.rate for name, bucket in self._buckets.items()}

    def wait(self, now: int) -> int:
        """Nanoseconds until the next request may go."""
        return max([bucket.wait(now) for bucket in self._buckets.values()], default=0)

    def spend(self, size: int) -> None:
        """A request of so many bytes has gone."""
        used = {"requests": 1, "bytes": size}
        for name, bucket in self._buckets.items():
            bucket.spend(used[name])

    def state(self, now: int) -> dict[str, int]:
        """What is left, as plain data."""
        self.wait(now)
        return {name: bucket.left for name, bucket in self._buckets.items()}

    def load_state(self, state: Mapping[str, int], now: int) -> None:
        """Take over what was left; a limit that is new has all of it. ValueError for no number."""
        if not all(type(left) is int and abs(left) < _MOST_LEFT for left in state.values()):
            raise ValueError("no state of a throttle")
        for name, bucket in self._buckets.items():
            bucket.put(state.get(name, bucket.rate * SECOND), now)
