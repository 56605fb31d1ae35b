"""Stacks for the acceptance tests: one shared by the quiet tests of a module, one alone for each disaster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fleet import Fleet
from tests.support.stack import Stack


def _flown(folder: Path) -> Iterator[Fleet]:
    stack = Stack(folder / "home")
    stack.up()
    try:
        yield Fleet.settle(stack, folder / "fleet")
    finally:
        stack.down()


@pytest.fixture(scope="module")
def shared_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A running stack with a machine and a vault, for tests that leave it as useful as they found it."""
    yield from _flown(tmp_path_factory.mktemp("shared"))


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """A running stack with a machine and a vault, to be broken."""
    yield from _flown(tmp_path)
