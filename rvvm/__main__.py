"""``python -m rvvm`` is the command line."""

from rvvm.py.cli import main

raise SystemExit(main())
