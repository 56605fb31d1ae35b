"""The queue's own collection: always what a sorted list would be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from orchestrator.simulation.sorted_rows import Key, SortedRows

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def key(number: int) -> Key:
    return (number % 3, NOW + timedelta(seconds=number % 101), f"{number:06d}")


def test_it_is_in_order_whatever_is_added_and_removed() -> None:
    chance, rows, kept = Random(5), SortedRows[int](), set[int]()
    for number in chance.sample(range(6000), 6000):
        rows.add(key(number), number)
        kept.add(number)
        if chance.random() < 0.4:
            gone = chance.choice(sorted(kept))
            rows.remove(key(gone))
            kept.discard(gone)
    assert list(rows) == sorted(kept, key=key)
    assert len(rows) == len(kept)


def test_what_is_not_there_cannot_be_removed() -> None:
    rows = SortedRows[int]()
    rows.add(key(1), 1)
    with pytest.raises(KeyError):
        rows.remove(key(2))
