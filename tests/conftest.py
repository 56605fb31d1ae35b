"""Hooks of the whole suite. They are here because the controller of pytest-xdist loads no other folder's."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.exam.table import print_table
from tests.support.counts import print_counts

# An example takes as long as it takes: how busy the machine is, is no property of the code.
settings.register_profile("skyharbor", deadline=None)
settings.load_profile("skyharbor")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the exam of the sources and the matrices of faults have found."""
    print_table(terminalreporter)
    print_counts(terminalreporter)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a storm be run again by its seed."""
    parser.addoption("--seed", type=int, action="append", default=[], help="run tests/storm with this seed; repeatable")
