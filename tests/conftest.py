"""Hooks of the whole suite. They are here because the controller of pytest-xdist loads no other folder's."""

from __future__ import annotations

import pytest

from tests.support.counts import pytest_terminal_summary

__all__ = ["pytest_terminal_summary"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a storm be run again by its seed."""
    parser.addoption("--seed", type=int, action="append", default=[], help="run tests/storm with this seed; repeatable")
