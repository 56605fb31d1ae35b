"""Hooks of the whole suite. They are here because the controller of pytest-xdist loads no other folder's."""

from __future__ import annotations

from tests.support.counts import pytest_terminal_summary

__all__ = ["pytest_terminal_summary"]
