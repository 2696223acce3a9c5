"""Debian's control-file syntax (deb822(5)), which apt's sources and package records share."""

from __future__ import annotations

from collections.abc import Iterator


def paragraphs(text: str) -> Iterator[dict[str, str]]:
    """The paragraphs of a control file; continuation lines stay joined by newlines.

    >>> list(paragraphs("Package: a\\nDepends: b,\\n c\\n\\n# a comment\\nPackage: d\\n"))
    [{'Package': 'a', 'Depends': 'b,\\nc'}, {'Package': 'd'}]
    """
    fields: dict[str, str] = {}
    name = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if fields:
                yield fields
            fields, name = {}, ""
        elif line[0] in " \t" and name:
            fields[name] = f"{fields[name]}\n{line.strip()}".lstrip("\n")
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip()
            fields[name] = value.strip()


def depends(record: dict[str, str]) -> Iterator[str]:
    """The package names in a record's Depends, versions and alternatives' order dropped.

    >>> list(depends({"Depends": "linux-image-6.12 (= 6.12-1), kmod | busybox"}))
    ['linux-image-6.12', 'kmod', 'busybox']
    """
    for relation in record.get("Depends", "").replace("|", ",").split(","):
        if words := relation.split():
            yield words[0]
