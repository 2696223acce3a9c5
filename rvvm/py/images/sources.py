"""The Debian mirror that this host's own apt sources name.

No mirror is written down in this project: a host that has Debian's packages at all knows one
that is near, allowed and reachable. sources.list(5) describes both syntaxes read here.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rvvm.py.errors import UserError
from rvvm.py.images import deb822

KEYRINGS = (
    "/usr/share/keyrings/debian-archive-keyring.pgp",
    "/usr/share/keyrings/debian-archive-keyring.gpg",
)
"""Where the package debian-archive-keyring puts Debian's own keys."""

SUITES = {"stable", "oldstable", "testing", "unstable", "sid", "trixie", "bookworm", "bullseye"}
"""Suites of Debian's main archive; others' repositories mostly use names of their own."""


@dataclass(frozen=True)
class Source:
    """One repository line: where it is, which suites and components, signed by which keys."""

    uri: str
    suites: frozenset[str]
    components: frozenset[str]
    signed_by: str = ""

    @property
    def rank(self) -> int:
        """How surely this is Debian's main archive; 0 means it is not."""
        if not (self.suites & SUITES and "main" in self.components):
            return 0
        if self.uri.startswith("cdrom:"):
            return 0
        by_debian = "debian-archive" in self.signed_by
        return 1 + 2 * by_debian + self.uri.rstrip("/").endswith("/debian")


def one_line(text: str) -> Iterator[Source]:
    """Sources in the one-line style: ``deb [signed-by=...] uri suite component...``"""
    for line in text.splitlines():
        kind, _, rest = line.partition("#")[0].strip().partition(" ")
        if kind != "deb":
            continue
        options, rest = _options(rest.strip())
        uri, *words = rest.split()
        if words:
            suite, *components = words
            yield Source(uri, frozenset({suite}), frozenset(components), options)


def _options(rest: str) -> tuple[str, str]:
    """The signed-by of a bracketed option list, and what follows the list."""
    if not rest.startswith("["):
        return "", rest
    inside, _, rest = rest[1:].partition("]")
    options = dict(word.split("=", 1) for word in inside.split() if "=" in word)
    return options.get("signed-by", ""), rest


def stanzas(text: str) -> Iterator[Source]:
    """Sources in the deb822 style (``*.sources`` files)."""
    for fields in deb822.paragraphs(text):
        low = {name.lower(): value for name, value in fields.items()}
        if low.get("enabled", "yes").lower() in ("no", "false", "0", "off"):
            continue
        if "deb" not in low.get("types", "").split():
            continue
        suites = frozenset(low.get("suites", "").split())
        components = frozenset(low.get("components", "").split())
        for uri in low.get("uris", "").split():
            yield Source(uri, suites, components, low.get("signed-by", ""))


def mirror(sources: Iterable[Source]) -> str:
    """The address of Debian's archive among `sources`."""
    best = max(sources, key=lambda source: source.rank, default=None)
    if best is None or best.rank == 0:
        raise UserError(
            "no Debian mirror among this host's apt sources: name one in RVVM_DEBIAN_MIRROR"
        )
    return best.uri


def host_mirror() -> str:
    """The mirror to use on this host: ``RVVM_DEBIAN_MIRROR``, else what apt is set up with."""
    return os.environ.get("RVVM_DEBIAN_MIRROR") or mirror(_host_sources())


def host_security_mirror() -> str | None:
    """Where this host has Debian's security updates from, when its sources say so."""
    for source in _host_sources():
        if any(suite.endswith("-security") for suite in source.suites) and (
            "main" in source.components and not source.uri.startswith("cdrom:")
        ):
            return source.uri
    return None


def keyring() -> str:
    """Debian's keyring on this host."""
    for path in KEYRINGS:
        if Path(path).exists():
            return path
    raise UserError("Debian's keys are missing here: install the package debian-archive-keyring")


def _host_sources() -> Iterator[Source]:
    """All sources of the host's apt; unreadable files (secrets of root's) are passed over."""
    keys = ["LIST", "Dir::Etc::SourceList/f", "PARTS", "Dir::Etc::SourceParts/d"]
    try:
        shell = subprocess.run(
            ["apt-config", "shell", *keys], check=True, capture_output=True, text=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError("apt-get is needed to fetch Debian packages; it is not here") from error
    where = dict(word.split("=", 1) for word in shlex.split(shell))
    parts = sorted(Path(where["PARTS"]).glob("*")) if "PARTS" in where else []
    for path in [Path(where.get("LIST", "/dev/null")), *parts]:
        read = {".sources": stanzas, ".list": one_line}.get(path.suffix)
        if read and os.access(path, os.R_OK) and path.is_file():
            yield from read(path.read_text(errors="replace"))
