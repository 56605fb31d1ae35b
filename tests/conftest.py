"""Hooks of the whole suite. They are here because the controller of pytest-xdist loads no other folder's."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.exam.table import print_table
from tests.support.counts import print_counts

# An example takes as long as it takes: how busy the machine is, is no property of the code.
settings.register_profile("skyharbor", deadline=None)
settings.load_profile("skyharbor")

_LONG_FIRST = ("exam", "acceptance", "workloads", "storm", "faults", "integration")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the folders whose files take minutes, so that all processes have work until the end."""
    folders = [f"{item.path.relative_to(item.config.rootpath).as_posix()}/".split("/")[1] for item in items]
    ranks = [_LONG_FIRST.index(folder) if folder in _LONG_FIRST else len(_LONG_FIRST) for folder in folders]
    items[:] = [item for _, item in sorted(zip(ranks, items, strict=True), key=lambda pair: pair[0])]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the exam of the sources and the matrices of faults have found."""
    print_table(terminalreporter)
    print_counts(terminalreporter)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a storm be run again by its seed."""
    parser.addoption("--seed", type=int, action="append", default=[], help="run tests/storm with this seed; repeatable")
