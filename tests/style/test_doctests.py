"""The examples in rvvm's docstrings run as they stand."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import rvvm

FOUND = [module.name for module in pkgutil.walk_packages(rvvm.__path__, "rvvm.")]
MODULES = ["rvvm", *(name for name in FOUND if not name.endswith(".__main__"))]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0
