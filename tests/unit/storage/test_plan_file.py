"""Who is told of a plan keeps it in a file; who is not follows the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.model.bandwidth import UNLIMITED, BandwidthPlan, BandwidthWindow, Day
from shared.storage.plan_file import FollowedPlan, KeptPlan
from tests.support.clock import FakeClock

WINDOW = BandwidthWindow(days=(Day.MON,), start="08:00", end="18:00", zone="Europe/Berlin", upload=5, download=0)
SLOW = BandwidthPlan(upload=1 << 20, windows=(WINDOW,))
FAST = BandwidthPlan(upload=1 << 30)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "bandwidth" / "v.plan")


def test_a_follower_hears_of_every_change_within_a_quarter_of_a_second(path: str, clock: FakeClock) -> None:
    kept, followed = KeptPlan(path, SLOW), FollowedPlan(path, SLOW, now=clock.monotonic)
    heard = [followed.current()]
    for plan in (FAST, UNLIMITED, SLOW):
        kept.change(plan)
        clock.advance(0.25)
        heard.append(followed.current())
    assert heard == [SLOW, FAST, UNLIMITED, SLOW]


def test_a_follower_does_not_look_more_often(path: str, clock: FakeClock) -> None:
    kept, followed = KeptPlan(path, SLOW), FollowedPlan(path, SLOW, now=clock.monotonic)
    followed.current()
    kept.change(FAST)
    clock.advance(0.24)
    assert followed.current() == SLOW


def test_what_an_earlier_process_left_does_not_hold_for_the_followers_of_the_next(path: str, clock: FakeClock) -> None:
    KeptPlan(path, SLOW)
    KeptPlan(path, UNLIMITED)
    assert FollowedPlan(path, UNLIMITED, now=clock.monotonic).current() == UNLIMITED


def test_a_vault_that_was_never_limited_has_no_file(path: str) -> None:
    KeptPlan(path, UNLIMITED).change(UNLIMITED)
    assert not os.path.exists(os.path.dirname(path))


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"upload": "fast"}', b"\xff\xfe"])
def test_without_a_readable_file_a_follower_goes_on_with_what_it_knows(
    path: str, clock: FakeClock, content: bytes | None
) -> None:
    kept, followed = KeptPlan(path, FAST), FollowedPlan(path, SLOW, now=clock.monotonic)
    assert followed.current() == FAST
    os.unlink(path)
    if content is not None:
        Path(path).write_bytes(content)
    clock.advance(1)
    assert followed.current() == FAST
    kept.change(SLOW)
    clock.advance(1)
    assert followed.current() == SLOW


def test_where_nothing_can_be_written_the_plan_holds_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    kept = KeptPlan(str(tmp_path / "file" / "v.plan"), SLOW)
    kept.change(FAST)
    assert kept.current() == FAST


def test_no_temporary_file_is_left(path: str) -> None:
    KeptPlan(path, SLOW).change(FAST)
    assert os.listdir(os.path.dirname(path)) == ["v.plan"]
