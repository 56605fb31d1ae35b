"""Numbers and times as people read them."""

from __future__ import annotations

import pytest

from orchestrator.cli import formats
from shared.errors import SkyharborError


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


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1000", 1000),
        ("7 b", 7),
        ("500M", 500 << 20),
        ("1.5GiB", 3 << 29),
        ("2mb", 2_000_000),
        ("1kB", 1000),
        ("3T", 3 << 40),
        ("0.0001K", 0),
    ],
)
def test_sizes_are_read_as_gnus_programs_do(text: str, count: int) -> None:
    assert formats.bytes_of(text) == count


@pytest.mark.parametrize("text", ["", "M", "-1", "1e9", "500X", "5 0M", "10iB", "٣M", "1.M", "9" * 30])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(SkyharborError) as caught:
        formats.bytes_of(text)
    assert (caught.value.code, repr(text) in caught.value.detail) == ("bad-request", True)
