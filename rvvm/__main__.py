"""``python -m rvvm`` is the command line."""

from rvvm.start import main

if __name__ == "__main__":
    raise SystemExit(main())
