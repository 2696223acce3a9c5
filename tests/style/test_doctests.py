"""The examples in rvvm's docstrings run as they stand."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import rvvm

MODULES = ["rvvm", *(module.name for module in pkgutil.walk_packages(rvvm.__path__, "rvvm."))]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0
