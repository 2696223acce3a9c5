"""What a shell completes when Tab is pressed: ``rvvm completion bash`` prints the script for it.

click asks the command itself for candidates. Its script for bash is replaced: words there end at
``=`` and ``:``, and candidates of ours and files go together.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import click
from click.shell_completion import (
    CompletionItem,
    ShellComplete,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

VARIABLE = "_RVVM_COMPLETE"

_BASH = r"""%(complete_func)s() {
    local IFS=$'\n' type value
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o filenames; COMPREPLY+=($(compgen -d -- "$2")) ;;
            file) compopt -o filenames; COMPREPLY+=($(compgen -f -- "$2")) ;;
            plain)
                [[ -z $value ]] || COMPREPLY+=("$value")
                [[ $value != *[=:] ]] || compopt -o nospace
                ;;
        esac
    done < <(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD \
        %(complete_var)s=bash_complete "$1")
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


@add_completion_class
class Bash(ShellComplete):
    """bash, whose words come in pieces: ``file=x`` as ``file``, ``=``, ``x``."""

    name = "bash"
    source_template = _BASH
    _given = ""
    """The part of the word that bash will keep."""

    def get_completion_args(self) -> tuple[list[str], str]:
        number = int(os.environ["COMP_CWORD"])
        pieces = split_arg_string(os.environ["COMP_WORDS"])[: number + 1]
        pieces += [""] * (number + 1 - len(pieces))
        *words, incomplete = joined(pieces)
        value = incomplete.partition("=")[2] if incomplete.startswith("-") else incomplete
        self._given = value[: max(value.rfind("="), value.rfind(":")) + 1]
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem) -> str:
        return f"{item.type},{item.value.removeprefix(self._given)}"


def joined(pieces: Iterable[str]) -> list[str]:
    """Words again.

    >>> joined(["rvvm", "--netdev", "user,hostfwd", "=", "tcp", "::", "22", "--kernel"])
    ['rvvm', '--netdev', 'user,hostfwd=tcp::22', '--kernel']
    """
    words: list[str] = []
    glue = False
    for piece in pieces:
        separator = bool(piece) and not piece.strip("=:")
        if words and (glue or separator):
            words[-1] += piece
        else:
            words.append(piece)
        glue = separator
    return words


def script(shell: str, command: click.Command) -> str:
    """What the shell is to evaluate."""
    kind = get_completion_class(shell)
    assert kind is not None
    return kind(command, {}, "rvvm", VARIABLE).source()


def candidates(incomplete: str, values: Iterable[str], files: str) -> list[CompletionItem]:
    """The values that fit, and ``files`` of the host's: ``file`` or ``dir``, or none."""
    found = [CompletionItem(value) for value in values if value.startswith(incomplete)]
    return [*found, *([CompletionItem(incomplete, type=files)] if files else [])]
