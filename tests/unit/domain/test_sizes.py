"""A point of a strange size is told from the ordinary ups and downs."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.sizes import FEWEST_EARLIER, PointSize, strangeness
from shared.model.backup import BackupType

GIB = 1 << 30
USUAL = PointSize(BackupType.INCREMENTAL, 1000, 10 * GIB, GIB // 10)
EARLIER = (USUAL,) * 5


def size(
    *, files: int = 1000, size: int = 10 * GIB, moved: int = GIB // 10, type: BackupType = BackupType.INCREMENTAL
) -> PointSize:
    return PointSize(type, files, size, moved)


@pytest.mark.parametrize(
    ("point", "words"),
    [
        (size(), None),
        (size(files=501, size=6 * GIB), None),
        (size(files=499), "it has 499 files, usual are 1,000"),
        (size(files=0, size=0), "it has 0 files, usual are 1,000"),
        (size(size=4 * GIB), "it has 4,096.0 MiB, usual are 10,240.0 MiB"),
        (size(size=29 * GIB), None),
        (size(size=31 * GIB), "it has 31,744.0 MiB, usual are 10,240.0 MiB"),
        (size(files=3001), "it has 3,001 files, usual are 1,000"),
        (size(moved=9 * GIB), "9,216.0 MiB of it were new, usual are 102.4 MiB"),
        (size(moved=9 * GIB, type=BackupType.FULL), None),
    ],
)
def test_what_is_strange_is_said_in_numbers(point: PointSize, words: str | None) -> None:
    assert strangeness(point, EARLIER) == words


def test_small_things_may_change_as_they_like() -> None:
    few = (PointSize(BackupType.INCREMENTAL, 9, 9000, 100),) * 5
    assert strangeness(PointSize(BackupType.INCREMENTAL, 0, 0, 0), few) is None


def test_nothing_is_usual_before_there_are_three() -> None:
    assert strangeness(size(files=0), EARLIER[: FEWEST_EARLIER - 1]) is None
    assert strangeness(size(files=0), EARLIER[:FEWEST_EARLIER]) is not None


sizes = st.builds(
    PointSize,
    st.sampled_from(BackupType),
    st.integers(0, 10**7),
    st.integers(0, 10**14),
    st.integers(0, 10**14),
)


@given(newest=sizes, earlier=st.lists(sizes, max_size=10), seed=st.integers())
def test_the_order_of_the_earlier_points_means_nothing(newest: PointSize, earlier: list[PointSize], seed: int) -> None:
    shuffled = random.Random(seed).sample(earlier, len(earlier))
    assert strangeness(newest, earlier) == strangeness(newest, shuffled)


@given(point=sizes, count=st.integers(0, 10))
def test_a_point_like_all_before_it_is_never_strange(point: PointSize, count: int) -> None:
    assert strangeness(point, [point] * count) is None
