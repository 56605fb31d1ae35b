"""Cleans up what ordinary cleaning cannot: immutable files and very deep trees."""

from __future__ import annotations

import pytest

from tests.support.clearing import clear


@pytest.fixture(autouse=True)
def _cleared(tmp_path):
    yield
    clear(tmp_path)
