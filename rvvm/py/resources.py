"""The files that come with rvvm: boards, firmware.

An installed package carries them inside itself; a checkout keeps its boards at the top, where
they are edited.
"""

from __future__ import annotations

from pathlib import Path

# resolve(): a sanitizer build runs this file through a link, and boards are not linked.
PACKAGE = Path(__file__).resolve().parents[1]


def resource(name: str) -> Path:
    """The path of a file that comes with rvvm.

    >>> resource("devicetree/virt.dts").name
    'virt.dts'
    """
    for home in (PACKAGE, PACKAGE.parent):
        if (home / name).is_file():
            return home / name
    raise FileNotFoundError(f"rvvm carries no {name}: looked in {PACKAGE} and {PACKAGE.parent}")
