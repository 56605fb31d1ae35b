"""Numbers and times as people read them."""

from __future__ import annotations

import pytest

from orchestrator.cli import formats


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1288490189, "1.2 GiB"), (1 << 60, "1024.0 PiB"), (None, "-")],
)
def test_sizes_are_in_binary_units(count: int | None, text: str) -> None:
    assert formats.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(1.93, "1.9 s"), (59.9, "59.9 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (None, "-")]
)
def test_durations_grow_coarser(seconds: float | None, text: str) -> None:
    assert formats.seconds(seconds) == text


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_time_is_a_dash(nothing: str | None) -> None:
    assert formats.moment(nothing) == "-"
