"""Formatting: ruff decides for Python; for C++ the rules that no formatter's version disputes."""

from __future__ import annotations

import ast
import re
import sys

from style.tree import ROOT, cpp_files, files, lines, run

LINE_LENGTH = 100
FILE_LENGTH = 700
FUNCTION_LENGTH = 100


def test_python_is_formatted() -> None:
    run(sys.executable, "-m", "ruff", "format", "--check", "--output-format=concise", ".")


def test_python_is_linted() -> None:
    run(sys.executable, "-m", "ruff", "check", "--output-format=concise", ".")


def test_cpp_lines() -> None:
    bad = re.compile(rf"\t|\s$|.{{{LINE_LENGTH + 1}}}")
    wrong = [
        f"{place}: {line}"
        for path in cpp_files()
        for place, line in lines(path)
        if bad.search(line)
    ]
    assert not wrong, "a tab, a blank at the end or a line too long:\n" + "\n".join(wrong)


def test_headers_guard_themselves() -> None:
    headers = [path for path in cpp_files() if path.suffix == ".hpp"]
    assert not [path for path in headers if "#pragma once" not in path.read_text(encoding="utf-8")]


def test_files_end_with_one_newline() -> None:
    ends = {path: path.read_bytes()[-2:] for path in (*cpp_files(), *files("*.md", "*.dts*"))}
    assert not [path for path, end in ends.items() if end[1:] != b"\n" or end == b"\n\n"]


def test_files_are_short() -> None:
    code = [
        path
        for path in (*cpp_files(), *files("*.py", "*.S", "*.c", "*.h"))
        if path.suffix != ".inc"
    ]
    long = {str(path.relative_to(ROOT)): len(lines(path)) - 1 for path in code}
    assert not {name: length for name, length in long.items() if length > FILE_LENGTH}


def test_python_functions_are_short() -> None:
    wrong = []
    for path in files("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LENGTH:
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}: {length}")
    assert not wrong, "\n".join(wrong)
