"""``rvvm images``: see, fetch, build and remove the named images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from rvvm.py import images, inputs
from rvvm.py.errors import UserError
from rvvm.py.images import catalogue

DISK = "debian"
"""What `build` makes a disk of."""


def _complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[Any]:
    """Names of images complete names, files what takes a FILE."""
    from rvvm.py.shell_completion import candidates

    if parameter.metavar == "FILE":
        return candidates(incomplete, (), "file")
    return candidates(incomplete, _all(), "")


NAME = click.argument("name", metavar="NAME", type=str, shell_complete=_complete)
NAMES = click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=_complete)


def _file(name: str, help: str, multiple: bool = False) -> Callable[[Any], Any]:
    return click.option(
        name, metavar="FILE", help=help, multiple=multiple, shell_complete=_complete
    )


@click.group(name="images", invoke_without_command=True)
@click.pass_context
def group(context: click.Context) -> None:
    """Kernels, firmware and initramfs by name, kept in a cache."""
    if context.invoked_subcommand is None:
        context.invoke(list_images)


@group.command(name="list")
def list_images() -> None:
    """What there is, and what of it is here."""
    from rvvm.py import disk_builder

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "version", "state", "size", "what it is"):
        table.add_column(heading, no_wrap=heading != "what it is")
    for row in images.list():
        size = decimal(row.size) if row.size else "-"
        table.add_row(row.name, row.version or "-", row.state, size, row.what)
    for disk in disk_builder.disks():
        size = decimal(_taken(disk))
        table.add_row(disk.name, "-", "ready", size, f"a disk with a Debian, in {disk.parent}")
    Console().print(table)


@group.command()
@NAMES
@click.option("--refresh", is_flag=True, help="Take the newest versions, even of what is here.")
def fetch(names: tuple[str, ...], refresh: bool) -> None:
    """Fetch images (all when none is named)."""
    for name in names or _all():
        click.echo(images.fetch(name, refresh=refresh))


@group.command()
@NAMES
@_file("--output", "The disk's file.  [default: debian.img]")
@click.option("--size", default="4G", show_default=True, metavar="SIZE", help="The disk's size.")
@click.option("--user", default="debian", show_default=True, metavar="NAME", help="Who logs in.")
@click.option("--password", metavar="TEXT", help="Without one, the console asks for none.")
@_file("--ssh-key", "A public key that may log in.", multiple=True)
@click.option("--hostname", default="debian", show_default=True, metavar="NAME")
@click.option("--package", multiple=True, metavar="NAME", help="One more package.")
@_file("--user-data", "More of it, as a cloud-config of cloud-init's.")
def build(names: tuple[str, ...], **options: Any) -> None:
    """Make a disk with a Debian to start, or other images anew.

    `build debian` makes a disk; the options are for it. With other names, the images are made again
    from the packages that are here.
    """
    if DISK in names and len(names) > 1:
        raise UserError(f"images build: {DISK} is a disk, which is made alone")
    if names == (DISK,):
        click.echo(_build_disk(**options))
        return
    for name in names or _all():
        click.echo(images.build(name))


def _build_disk(
    output: str | None,
    size: str,
    user: str,
    password: str | None,
    ssh_key: tuple[str, ...],
    hostname: str,
    package: tuple[str, ...],
    user_data: str | None,
) -> Path:
    from rvvm.py import disk_builder
    from rvvm.py.images.recipe import Recipe, User
    from rvvm.py.options import parse_size

    keys = tuple(key for name in ssh_key for key in _public_keys(Path(name)))
    # No password: an empty one, for the console only, unless a key says who may come in.
    secret = password if password is not None else ("" if not keys else None)
    who = User(user, secret, keys, groups=("sudo",))
    recipe = Recipe(parse_size(size, "--size"), hostname, (who,), package)
    if user_data is not None:
        from rvvm.py.images.user_data import apply

        recipe = apply(recipe, Path(user_data))
    target = Path(output or f"{DISK}.img")
    disk_builder.build(recipe, target)
    return target


def _public_keys(path: Path) -> list[str]:
    try:
        lines = inputs.read(path, "--ssh-key: ").decode().splitlines()
    except UnicodeDecodeError:
        raise UserError(f"--ssh-key: {path}: not a text") from None
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not keys or any("PRIVATE KEY" in key for key in keys):
        raise UserError(f"--ssh-key: {path}: not a public key")
    return keys


@group.command()
@NAME
def path(name: str) -> None:
    """Print an image's file; fetches it when it is not here."""
    click.echo(images.path(name))


@group.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=_complete)
def remove(names: tuple[str, ...]) -> None:
    """Remove images from the cache."""
    for name in names:
        images.remove(name)


def _taken(path: Path) -> int:
    """What a file takes on the host's disk."""
    return path.stat().st_blocks * 512


def _all() -> tuple[str, ...]:
    return tuple(image.name for image in catalogue.IMAGES)
