"""What a user can get wrong, said in one line."""

from __future__ import annotations

EXIT_STATUS = 2
"""The process exit status of every UserError, as of a usage error of any Unix tool."""


class UserError(Exception):
    """Bad input: a missing file, a broken tree, an image too big, an impossible option.

    The message is one line that names the thing; the command line prints it after ``rvvm: ``
    and ends with status 2. Newlines are folded, so that a library's message may be quoted.

    >>> str(UserError("board.dts:\\n  no memory node"))
    'board.dts: no memory node'
    """

    def __init__(self, message: object) -> None:
        super().__init__(printable(" ".join(str(message).split())))


def printable(text: str) -> str:
    r"""The text with escapes for what a terminal would obey: names come from files, too.

    >>> printable("a name\x1b[2J")
    'a name\\x1b[2J'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
