"""The seed that a storm is replayed by."""

from __future__ import annotations

import pytest

from tests.support.counts import Tally, new_tally


@pytest.fixture
def tally(record_property: pytest.RecordProperty) -> Tally:
    """What the storm counts."""
    return new_tally("storm", record_property)
