"""``python -m rvvm`` is the command line."""

from rvvm.py.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
