"""Policies as people write them: what is understood, and what is said about what is not."""

# ruff: noqa: PT017 - an error is allowed here, and only this one

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.policy import (
    BlackoutSpec,
    OnMissed,
    PolicySpec,
    RetentionSpec,
    RetrySpec,
    ScheduleSpec,
    WindowSpec,
)
from orchestrator.domain.policy_text import parse_policy
from shared.errors import SkyharborError
from shared.model.backup import BackupType

WHOLE = """\
name: nightly
type: differential
schedules:
  - cron: "30 1 * * *"
    zone: Europe/Berlin
  - {cron: "@weekly", type: full}
on_missed: run_all
jitter: 10m
window: {start: 22:00, end: "06:00"}
retention: {last: 3, daily: 7}
priority: 2
items: {tags: [databases, site=berlin]}
rpo: 26h
start_within: 2h
finish_within: 8h
blackouts:
  - {days: mon-fri, start: "08:00", end: "18:00"}
  - {from: 2026-12-24, until: 2026-12-27 06:00, zone: UTC}
retry: {attempts: 5, longest_pause: 1h}
"""


def mistakes(document: str) -> list[tuple[int, str]]:
    with pytest.raises(SkyharborError) as error:
        parse_policy(document)
    assert error.value.code == "policy-invalid"
    found = error.value.fields["errors"]
    assert isinstance(found, list)
    return [(entry["line"], entry["message"]) for entry in found]


def test_a_whole_policy_is_understood() -> None:
    assert parse_policy(WHOLE) == PolicySpec(
        name="nightly",
        schedules=(
            ScheduleSpec(cron="30 1 * * *", zone="Europe/Berlin", type=BackupType.DIFFERENTIAL),
            ScheduleSpec(cron="0 0 * * 0", zone="UTC", type=BackupType.FULL),
        ),
        on_missed=OnMissed.RUN_ALL,
        jitter=600,
        window=WindowSpec(start="22:00", end="06:00", zone="Europe/Berlin"),
        retention=RetentionSpec(last=3, daily=7),
        priority=2,
        tags=("databases", "site=berlin"),
        rpo=26 * 3600,
        start_within=7200,
        finish_within=8 * 3600,
        blackouts=(
            BlackoutSpec(zone="Europe/Berlin", days=("mon", "tue", "wed", "thu", "fri"), start="08:00", end="18:00"),
            BlackoutSpec(zone="UTC", begin="2026-12-24 00:00", until="2026-12-27 06:00"),
        ),
        retry=RetrySpec(attempts=5, longest_pause=3600),
    )


def test_a_calendar_stands_for_as_many_schedules_as_it_has_minutes() -> None:
    spec = parse_policy("name: p\nschedule: {calendar: 'daily 02:30,14:45', zone: Europe/Paris}")
    assert [(schedule.cron, schedule.zone) for schedule in spec.schedules] == [
        ("30 2 * * *", "Europe/Paris"),
        ("45 14 * * *", "Europe/Paris"),
    ]
    assert [schedule.cron for schedule in parse_policy("name: p\nschedule: weekdays 22:00").schedules] == [
        "0 22 * * 1,2,3,4,5"
    ]


def test_a_policy_without_schedules_is_for_on_demand_items() -> None:
    assert parse_policy("name: p").schedules == ()


@pytest.mark.parametrize(
    ("document", "line", "words"),
    [
        ("name: p\nretentoin: {}", 2, "did you mean 'retention'"),
        ("name: p\nschedule: {cron: '61 * * * *'}", 2, "Bad minute"),
        ("name: p\nschedule:\n  cron: '0 1 * * *'\n  zone: Mars/Base", 4, "IANA"),
        ("schedule: {cron: '0 1 * * *'}", 1, "name: nightly"),
        ("name: p\njitter: soon", 2, "10m"),
        ("name: p\nname: q", 2, "twice"),
        ("name: p\nwindow: {start: 25:00, end: 06:00}", 2, "time of day"),
        ("name: p\non_missed: maybe", 2, "run_once"),
        ("name: p\nretention: {daily: -1}", 2, "between 0"),
        ("name: p\nschedules: nightly", 2, "- cron"),
        ("name: p\nschedule: {zone: UTC}", 2, "needs cron"),
        ("name: p\nschedule: {cron: '0 1 * * *', calendar: daily 01:00}", 2, "cron: or calendar:"),
        ("name: p\nschedule: every 7m", 2, "part of an hour"),
        ("name: p\nitems: [a]", 2, "keys and values"),
        ("name: p\nitems: {tags: []}", 2, "at least one tag"),
        ("name: p\nitems: {tags: [a b]}", 2, "is not a tag"),
        ("name: p\nblackouts:\n  - {from: 2026-12-24}", 3, "a blackout is"),
        ("name: p\nblackouts:\n  - {from: 2026-12-24, until: 2026-12-23}", 3, "later than from"),
        ("name: p\nblackouts:\n  - {days: someday}", 3, "names no days"),
        ("name: p\nstart_within: 2h\nfinish_within: 1h", 3, "longer than start_within"),
        ("name: p\nretry: {attempts: 0}", 2, "between 1 and 100"),
        ("name: p\nrpo: 3000d", 2, "up to 999d"),
        ("- a\n- b", 1, "keys and values"),
        ("name: [", 1, "not YAML"),
        ("name: latest", 1, "cannot be"),
        ("", 1, "name"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_what_to_write(document: str, line: int, words: str) -> None:
    found = mistakes(document)
    assert [(at, words in message) for at, message in found if at == line][:1] == [(line, True)], found


def test_all_mistakes_are_found_in_one_go() -> None:
    assert [line for line, _ in mistakes("name: p\njitter: x\npriority: 9\nfoo: 1\n")] == [2, 3, 4]


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(document: str) -> None:
    try:
        parse_policy(document)
    except SkyharborError as error:
        assert error.code == "policy-invalid"
