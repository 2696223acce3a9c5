"""Words not to be in the tree: hosts of package registries, one machine's paths, promises."""

from __future__ import annotations

import re

from style.tree import files, lines

FORBIDDEN = {
    "the host of a package registry": r"\b(pypi|pythonhosted|npmjs|crates)\.(org|com|io)\b"
    r"|\b(deb|ftp|security|snapshot|archive)\.(debian|ubuntu)\.(org|com)\b",
    "a path of one machine": r"(?<![\w.])/(work|opt)/\w|/root/\.|(?<![\w.])/home/\w",
    "a promise: do it or say it in an issue": r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b",
}


def test_forbidden_words() -> None:
    rules = {what: re.compile(pattern) for what, pattern in FORBIDDEN.items()}
    wrong = []
    for path in files():
        try:
            text = lines(path)
        except UnicodeDecodeError:
            continue
        for place, line in text:
            wrong += [
                f"{place}: {what}: {line}" for what, rule in rules.items() if rule.search(line)
            ]
    assert not wrong, "\n".join(wrong)
