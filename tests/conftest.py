"""Options and reports of the whole suite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import rvvm._core
from privileged.bench import PLAIN_HOST

left_out = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run the long tests too")


def pytest_report_header() -> str:
    return f"core: {rvvm._core.__file__}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves the long tests out, unless asked for: with --all, by -m, or by its full name."""
    asked = config.option.all or config.option.markexpr or any("::" in name for name in config.args)
    long = [] if asked else [item for item in items if item.get_closest_marker("long")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if not item.get_closest_marker("long")]
    config.stash[left_out] = len(long)


ACCEL = ["interp", "jit", pytest.param("jit on a plain host", marks=pytest.mark.long)]


@pytest.fixture(params=ACCEL)
def accel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Benches have this engine; the translating one takes up a block when it first comes."""
    name, _, plain = request.param.partition(" ")
    engine = {"accel": name, "hot": 1, **(PLAIN_HOST if plain else {})}
    monkeypatch.setattr("privileged.bench.ENGINE", engine)


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> Iterator[None]:
    if count := config.stash.get(left_out, 0):
        terminalreporter.write_line(f"left out: {count} long tests (run them with --all)")
    yield
