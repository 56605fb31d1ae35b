"""What the auditor finds wrong in what it sees, and what it is patient with."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.domain.alarms import AlarmKind
from orchestrator.domain.oversight import (
    DamagedPoint,
    EndlessJob,
    Observations,
    OverdueItem,
    Patience,
    PlannerLag,
    PointHistory,
    findings,
    span,
)
from orchestrator.domain.sizes import PointSize
from shared.model.backup import BackupType

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AGO = {name: NOW - length for name, length in {"second": timedelta(seconds=1), "day": timedelta(days=1)}.items()}
CALM = Observations(
    overdue=(),
    lag=PlannerLag(0, 0),
    endless=(),
    histories=(),
    damaged=(),
    waiting=0,
    workers=1,
    led_until=NOW + timedelta(seconds=10),
    watched_since=AGO["day"],
)
USUAL = PointSize(BackupType.INCREMENTAL, 1000, 1 << 30, 0)
EMPTY = PointSize(BackupType.INCREMENTAL, 0, 0, 0)
LATE = OverdueItem(
    item_id="i", name="docs", created_at=AGO["day"], paused_at=None, newest=NOW - timedelta(hours=26), rpo=86400
)


def kinds(seen: Observations) -> list[AlarmKind]:
    return [finding.kind for finding in findings(seen, patience=Patience(), now=NOW)]


def test_when_all_is_well_nothing_is_said() -> None:
    assert kinds(CALM) == []


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (replace(CALM, overdue=[LATE]), [AlarmKind.RPO_MISSED]),
        (replace(CALM, lag=PlannerLag(1, 0)), [AlarmKind.PLANNER_BEHIND]),
        (replace(CALM, lag=PlannerLag(0, 1)), [AlarmKind.PLANNER_BEHIND]),
        (replace(CALM, endless=[EndlessJob("j", "docs", "running", AGO["day"])]), [AlarmKind.JOB_ENDLESS]),
        (replace(CALM, histories=[PointHistory("i", "docs", EMPTY, (USUAL,) * 3)]), [AlarmKind.SIZE_CHANGED]),
        (replace(CALM, histories=[PointHistory("i", "docs", USUAL, (USUAL,) * 3)]), []),
        (replace(CALM, damaged=[DamagedPoint("p", "docs")]), [AlarmKind.POINT_DAMAGED]),
        (replace(CALM, waiting=1, workers=0), [AlarmKind.NO_WORKER]),
        (replace(CALM, waiting=0, workers=0), []),
        (replace(CALM, waiting=1, workers=1), []),
        (replace(CALM, led_until=AGO["second"]), []),
        (replace(CALM, led_until=AGO["day"]), [AlarmKind.NO_LEADER]),
        (replace(CALM, led_until=None), [AlarmKind.NO_LEADER]),
        (replace(CALM, led_until=None, watched_since=AGO["second"]), []),
    ],
)
def test_each_thing_is_found_by_itself(seen: Observations, expected: list[AlarmKind]) -> None:
    assert kinds(seen) == expected


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (LATE, "the newest recovery point is 26 h old, promised are 24 h"),
        (
            replace(LATE, newest=None, created_at=NOW - timedelta(days=4, hours=2), paused_at=NOW),
            "there is no recovery point 4 d 2 h after it was added, promised are 24 h; it is paused",
        ),
    ],
)
def test_a_broken_promise_is_told_in_hours(item: OverdueItem, words: str) -> None:
    [finding] = findings(replace(CALM, overdue=[item]), patience=Patience(), now=NOW)
    assert (finding.target, finding.subject, finding.message) == ("i", "docs", words)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (3600, "1 h"),
        (26 * 3600 + 300, "26 h 05 min"),
        (72 * 3600, "3 d"),
        (98 * 3600, "4 d 2 h"),
    ],
)
def test_a_span_is_said_as_people_say_it(seconds: int, words: str) -> None:
    assert span(timedelta(seconds=seconds)) == words
