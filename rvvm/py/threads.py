"""Threads of the host's that end with what has started them."""

from __future__ import annotations

import threading
from collections.abc import Callable

from rvvm.py.errors import UserError

_PATIENCE = 5.0
"""Seconds that a thread may take to see that it is not wanted any more."""


class Threads:
    """Daemon threads, to be waited for once they have been told to end."""

    def __init__(self) -> None:
        self._running: list[threading.Thread] = []

    @property
    def any(self) -> bool:
        """Whether one runs."""
        self._running = [thread for thread in self._running if thread.is_alive()]
        return bool(self._running)

    def start(self, target: Callable[..., None], *arguments: object, name: str = "") -> None:
        """Call ``target`` in a thread of its own."""
        thread = threading.Thread(target=target, args=arguments, name=name or None, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # "can't start new thread"
            raise UserError(f"this host has no room for a thread: {error}") from None
        self._running = [*(it for it in self._running if it.is_alive()), thread]

    def join(self) -> None:
        """Wait until all have ended, but the one that asks."""
        for thread in self._running:
            if thread is not threading.current_thread() and thread.ident is not None:
                thread.join(_PATIENCE)
