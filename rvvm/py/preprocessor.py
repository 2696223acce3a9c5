"""The C preprocessor for devicetree source: pcpp, made to stop at what is wrong."""

from __future__ import annotations

import copy
import io
import os
from collections.abc import Iterable
from typing import Any

import pcpp
from pcpp.evaluator import Value

from rvvm.py.errors import UserError
from rvvm.py.included import Included

_DEEPEST = 100
_MOST_SHIFT = 64  # of which nothing is left
_MOST_TOKENS = 1 << 21
"""That macros are expanded to, also on the way: a few lines can double each other."""


def preprocess(
    path: str,
    text: str,
    include: Iterable[str] = (),
    defines: Iterable[str] = (),
    files: Included | None = None,
) -> str:
    """The text after ``#include``, ``#define`` and ``#if``, with ``#line`` marks."""
    preprocessor = _Preprocessor(files or Included(path, include))
    for folder in [os.path.dirname(path) or ".", *include]:
        preprocessor.add_path(folder)
    preprocessor.rewrite_paths = []  # name files as they were named to us
    for define in defines:
        preprocessor.define(define.replace("=", " ", 1) if "=" in define else f"{define} 1")
    out = io.StringIO()
    preprocessor.parse(text, path)
    try:
        preprocessor.write(out)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        # What pcpp does with a directive that lacks its argument, as in a bare "#ifdef".
        at = preprocessor.lastdirective
        raise UserError(f"{at.source}:{at.lineno}: malformed #{at.value}") from None
    return out.getvalue()


def _shift_left(value: Any, count: Any) -> Any:
    """As pcpp does, which shifts by as much as it is told, and has no memory left then."""
    return _LEFT(value, Value(min(int(count), _MOST_SHIFT)))


_LEFT = Value.__lshift__
Value.__lshift__ = _shift_left


class _Preprocessor(pcpp.Preprocessor):  # type: ignore[misc]  # pcpp has no types
    """pcpp, with errors that stop and ``#address-cells = <TWO>`` read as text, as cpp does."""

    lastdirective: Any

    def __init__(self, files: Included) -> None:
        super().__init__()
        self._files = files
        self._tokens = 0

    def on_file_open(self, is_system_include: bool, path: str) -> io.StringIO:
        if not os.path.exists(path):
            raise FileNotFoundError(path)
        if len(self.temp_path) > _DEEPEST:
            self.on_error("", 0, "#include nested too deeply; a file in itself?")
        try:
            return io.StringIO(self._files.read(path).decode())
        except UnicodeDecodeError:
            raise UserError(f"{path}: it is not UTF-8 text") from None

    def expand_macros(self, tokens: Any, expanding_from: Any = ()) -> Any:
        expanded = super().expand_macros(tokens, list(expanding_from))
        self._tokens += len(expanded)
        if self._tokens > _MOST_TOKENS:
            self.on_error("", 0, "macros that stand for too much")
        return expanded

    def on_error(self, file: str, line: int, message: str) -> None:
        if not line:  # an expression's error: it does not know where it is
            file, line = self.lastdirective.source, self.lastdirective.lineno
        raise UserError(f"{file}:{line}: {message}")

    def on_directive_unknown(self, directive: Any, tokens: Any, *_: Any) -> None:
        if directive.value == "error":
            message = "".join(token.value for token in tokens)
            raise UserError(f"{directive.source}:{directive.lineno}: #error {message}")
        if directive.value == "warning" or not tokens:
            return
        expanded = self.expand_macros([copy.copy(token) for token in tokens])
        tokens[0].value = "".join(token.value for token in expanded)
        for token in tokens[1:]:
            token.value = ""
