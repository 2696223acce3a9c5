"""What a guest prints while it runs, on Python's stdout: a notebook's cell, or a shell."""

from __future__ import annotations

import codecs
import sys
import threading

_GATHER = 0.1
"""Seconds from one write to the next: a guest prints byte by byte, a notebook is sent messages."""


class Echo:
    """Bytes to stdout as text, from a thread of its own, while entered.

    >>> with Echo() as echo:
    ...     echo.put(b"h\\xc3")
    ...     echo.put(b"\\xa9")
    hé
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._buffer = bytearray()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rvvm-echo", daemon=True)

    def __enter__(self) -> Echo:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._write()

    def put(self, data: bytes) -> None:
        """Something was printed."""
        with self._lock:
            self._buffer += data

    def _run(self) -> None:
        while not self._over.wait(_GATHER):
            self._write()

    def _write(self) -> None:
        with self._lock:
            data = bytes(self._buffer)
            self._buffer.clear()
        if text := self._decoder.decode(data):
            sys.stdout.write(text)
            sys.stdout.flush()
