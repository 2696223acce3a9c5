"""The C preprocessor for devicetree source: pcpp, made to stop at what is wrong."""

from __future__ import annotations

import copy
import io
import os
from collections.abc import Iterable
from typing import Any

import pcpp

from rvvm.py.errors import UserError


def preprocess(
    path: str, text: str, include: Iterable[str] = (), defines: Iterable[str] = ()
) -> str:
    """The text after ``#include``, ``#define`` and ``#if``, with ``#line`` marks."""
    preprocessor = _Preprocessor()
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


class _Preprocessor(pcpp.Preprocessor):  # type: ignore[misc]  # pcpp has no types
    """pcpp, with errors that stop and ``#address-cells = <TWO>`` read as text, as cpp does."""

    lastdirective: Any

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
