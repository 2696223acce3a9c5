"""Other machines to compare with: ``--peer NAME=COMMAND``, as often as there are any.

COMMAND starts a machine whose console is its standard input and output. ``{kernel}``, ``{bios}``,
``{initrd}``, ``{append}`` and ``{memory}`` in it stand for what rvvm and QEMU are given; a machine
that takes these in another way may be given files of its own, as long as they hold the same.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from benchmarks import guest


@dataclass(frozen=True)
class Peer:
    """A name for the table's head, and a command's words."""

    name: str
    template: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Peer:
        """
        >>> Peer.parse("other=emulator -k {kernel} 'two words'")
        Peer(name='other', template=('emulator', '-k', '{kernel}', 'two words'))
        """
        name, _, command = text.partition("=")
        words = tuple(shlex.split(command))
        if not name or not words or name in ("rvvm", "QEMU", "native"):
            raise click.BadParameter(f"{text}: expected NAME=COMMAND, with a new name")
        return cls(name, words)

    def command(self, software: guest.Software) -> list[str]:
        """The command for this software."""
        known = {
            **{"kernel": software.kernel, "bios": software.bios, "initrd": software.initrd},
            **{"append": guest.APPEND, "memory": guest.MEMORY},
        }
        return [word.format(**known) for word in self.template]


def option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The ``--peer`` option."""
    return click.option(
        "--peer",
        "peers",
        multiple=True,
        metavar="NAME=COMMAND",
        callback=lambda _context, _option, texts: [Peer.parse(text) for text in texts],
        help="Another machine, its console on stdin and stdout; see README.md.",
    )(command)


def commands(software: guest.Software, peers: Sequence[Peer]) -> dict[str, list[str]]:
    """The contestants by name: rvvm, QEMU, then the peers."""
    others = {peer.name: peer.command(software) for peer in peers}
    return {**guest.commands(software), **others}
