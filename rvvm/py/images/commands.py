"""``rvvm images``: see, fetch, build and remove the named images."""

from __future__ import annotations

import click
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from rvvm.py import images
from rvvm.py.images import catalogue

NAME = click.argument("name", metavar="NAME", type=str)
NAMES = click.argument("names", metavar="[NAME]...", nargs=-1)


@click.group(name="images", invoke_without_command=True)
@click.pass_context
def group(context: click.Context) -> None:
    """Kernels, firmware and initramfs by name, kept in a cache."""
    if context.invoked_subcommand is None:
        context.invoke(list_images)


@group.command(name="list")
def list_images() -> None:
    """What there is, and what of it is here."""
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "version", "state", "size", "what it is"):
        table.add_column(heading, no_wrap=heading != "what it is")
    for row in images.list():
        size = decimal(row.size) if row.size else "-"
        table.add_row(row.name, row.version or "-", row.state, size, row.what)
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
def build(names: tuple[str, ...]) -> None:
    """Make images again from the packages that are here."""
    for name in names or _all():
        click.echo(images.build(name))


@group.command()
@NAME
def path(name: str) -> None:
    """Print an image's file; fetches it when it is not here."""
    click.echo(images.path(name))


@group.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def remove(names: tuple[str, ...]) -> None:
    """Remove images from the cache."""
    for name in names:
        images.remove(name)


def _all() -> tuple[str, ...]:
    return tuple(image.name for image in catalogue.IMAGES)
