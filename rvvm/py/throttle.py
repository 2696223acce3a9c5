"""Rates that are not to be exceeded: of a disk's requests and bytes, of a network's bits."""

from __future__ import annotations

SECOND = 10**9
"""Nanoseconds."""
_BURST = 0.1
"""Seconds of a rate that may be used at once: fewer waits, and none is long."""


class Bucket:
    """``rate`` a second. Who comes while there is something left takes all it wants; who comes next
    waits for what that was too much.

    >>> bucket = Bucket(100)
    >>> bucket.wait(0), bucket.spend(60), bucket.wait(0), bucket.wait(600_000_000)
    (0, None, 500000001, 0)
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._left = self._most = rate * _BURST
        self._since = 0

    def wait(self, now: int) -> int:
        """Nanoseconds until there is something; ``now`` never goes back."""
        self._left = min(self._left + (now - self._since) * self.rate / SECOND, self._most)
        self._since = now
        return 0 if self._left > 0 else int(-self._left * SECOND / self.rate) + 1

    def spend(self, amount: int) -> None:
        """So much was used."""
        self._left -= amount


class Throttle:
    """Of a disk: requests and bytes, each with a rate or none."""

    def __init__(self, requests: int | None, size: int | None) -> None:
        self._requests = Bucket(requests) if requests else None
        self._bytes = Bucket(size) if size else None

    def again(self) -> Throttle:
        """Another with the same rates."""
        requests, size = self._requests, self._bytes
        return Throttle(requests.rate if requests else None, size.rate if size else None)

    def wait(self, now: int) -> int:
        """Nanoseconds until the next request may go."""
        return max((b.wait(now) for b in (self._requests, self._bytes) if b), default=0)

    def spend(self, size: int) -> None:
        """A request of so many bytes has gone."""
        if self._requests:
            self._requests.spend(1)
        if self._bytes:
            self._bytes.spend(size)
