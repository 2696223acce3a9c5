"""Where the command begins: Ctrl-C ends it while modules load, too, which takes a moment."""

from __future__ import annotations

import signal
import sys

_INTERRUPTED = 128 + signal.SIGINT


def main() -> int:
    """The console script. Whatever signal ends it, there is no traceback."""
    python = signal.getsignal(signal.SIGINT)
    if python is signal.default_int_handler:  # else a shell has had it ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from rvvm.py.cli import main as command

    try:
        signal.signal(signal.SIGINT, python)
        status = command()
        if python is signal.default_int_handler:  # and while Python ends
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        return status
    except KeyboardInterrupt:
        return _INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
