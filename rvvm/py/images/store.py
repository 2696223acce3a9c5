"""Images in the cache: what is there, whether it is current, making and removing it.

A boot only asks what is there: what makes images is imported when one is made.

One image is one file in ``<cache>/images/<name>/`` beside ``about.json``, which says what it
was made from, and ``digest.json``, which says what its bytes are.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from rvvm.py.errors import UserError
from rvvm.py.images import cache, catalogue, pins, seal
from rvvm.py.images.catalogue import IMAGES, Image, Packages


@dataclass(frozen=True)
class Row:
    """What ``rvvm images list`` says of one image."""

    name: str
    version: str
    state: str
    size: int
    what: str


def path(name: str) -> Path:
    """The file of an image, fetched or built when it is missing or no longer what it should be.

    A current image needs no network. One that is there but stale (the project has a newer
    /init, say) serves on where it cannot be remade; one that is damaged does not.
    """
    image = catalogue.get(name)
    if (found := state(image)) == "ready":
        return image.path
    try:
        return fetch(name)
    except UserError as error:
        if found == "stale":
            return image.path
        if found == "damaged":
            raise UserError(
                f"{image.path}: damaged, and it cannot be made again: {error}"
            ) from None
        raise


def fetch(name: str, progress: bool = True, refresh: bool = False) -> Path:
    """The image, made when it is not current; `refresh` takes the packages' newest versions."""
    image = catalogue.get(name)
    with cache.lock(f"image-{image.name}"), cache.writing(image.path):
        if refresh or state(image) != "ready":
            _make(image, _packages(image, refresh), progress)
    return image.path


def build(name: str, progress: bool = True) -> Path:
    """Make the image again from its pinned packages, whatever is there."""
    image = catalogue.get(name)
    with cache.lock(f"image-{image.name}"), cache.writing(image.path):
        _make(image, _packages(image), progress)
    return image.path


def remove(name: str) -> None:
    """Remove an image from the cache, and the packages that no other image there needs."""
    import shutil

    image = catalogue.get(name)
    with cache.lock(f"image-{image.name}"), cache.writing(image.path):
        if image.path.parent.exists():
            shutil.rmtree(image.path.parent)
        needed = {name for other in IMAGES if other.path.exists() for name in other.packages}
        for unused in set(image.packages) - needed:
            if package := pins.pinned(unused):
                package.path.unlink(missing_ok=True)


def rows() -> tuple[Row, ...]:
    """All known images, cached or not."""
    return tuple(_row(image) for image in IMAGES)


def state(image: Image) -> str:
    """``missing``; ``damaged``: not the bytes that were made; ``stale``: made from other packages
    or parts than now hold, or by an rvvm that kept no digest; else ``ready``."""
    if not image.path.exists():
        return "missing"
    intact = seal.check(image.path)
    if intact is False:
        return "damaged"
    pinned = {name: pins.pinned(name) for name in image.packages}
    packages = {name: package for name, package in pinned.items() if package}
    current = len(packages) == len(pinned) and _about(image) == _described(image, packages)
    return "ready" if current and intact else "stale"


def _row(image: Image) -> Row:
    size = image.path.stat().st_size if image.path.exists() else 0
    return Row(image.name, _about(image).get("version", ""), state(image), size, image.what)


def _packages(image: Image, refresh: bool = False) -> Packages:
    """The packages to make an image from: as pinned, unless a pinned one can no longer be had.

    A mirror keeps only the newest version, so a pin whose file is gone moves on.
    """
    from rvvm.py.images import apt

    if refresh:
        apt.refresh()
    found = {}
    for name in image.packages:
        package = pins.resolve(name, refresh)
        if not refresh and not apt.is_cached(package):
            package = pins.resolve(name, refresh=True)
        found[name] = package
    return found


def _make(image: Image, packages: Packages, progress: bool) -> None:
    from rvvm.py.images import apt
    from rvvm.py.progress import step

    for package in packages.values():
        apt.fetch(package, progress)
    with step(f"making the image {image.name}", progress):
        seal.write(image.path, image.make(packages, progress))
    about = json.dumps(_described(image, packages), indent=1)
    cache.write(image.path.parent / "about.json", about.encode())


def _about(image: Image) -> dict[str, str]:
    """What the cached image was made from; empty when that is unknown."""
    try:
        return dict(json.loads((image.path.parent / "about.json").read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def _described(image: Image, packages: Packages) -> dict[str, str]:
    """Versions and hashes of everything that goes in; ``version`` is the first package's."""
    described = {"version": next(iter(packages.values())).version}
    for package in packages.values():
        described[package.name] = f"{package.version} sha256:{package.sha256}"
    for name, data in image.inputs().items():
        described[name] = f"sha256:{_digest(data)}"
    return described


def _digest(data: bytes) -> str:
    from hashlib import sha256

    return sha256(data).hexdigest()
