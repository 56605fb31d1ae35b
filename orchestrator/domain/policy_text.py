"""Policies as people write them: YAML in, a ``PolicySpec`` out, or every mistake with its line.

Rule of the file: which keys there are and what they mean; how documents and values are read is ``marked_yaml`` and
``readings``.
"""

from __future__ import annotations

from datetime import datetime

from orchestrator.domain.calendar import crons_of
from orchestrator.domain.marked_yaml import Mistakes, Node, compose, is_scalar, mapping, member, sequence, value
from orchestrator.domain.names import check_name, check_tag
from orchestrator.domain.policy import (
    BlackoutSpec,
    OnMissed,
    PolicySpec,
    RetentionSpec,
    RetrySpec,
    ScheduleSpec,
    WindowSpec,
)
from orchestrator.domain.readings import clock_time, days, duration, local_time, whole_number, zone
from orchestrator.domain.schedule import check_cron
from shared.model.backup import BackupType

MOST_SCHEDULES = 32
MOST_BLACKOUTS = 64
MOST_TAGS = 32
_KEYS = (
    "name", "items", "schedules", "schedule", "type", "on_missed", "jitter", "rpo", "window", "start_within",
    "finish_within", "blackouts", "retry", "retention", "priority",
)  # fmt: skip
_LONGEST_JITTER = "12h"
_LONGEST_WITHIN = "31d"
_LONGEST_RPO = "999d"


def parse_policy(document: str) -> PolicySpec:
    """Read a policy. ``policy-invalid`` carries the field ``errors``: a list of {line, message}, by line."""
    mistakes = Mistakes()
    root = compose(document, mistakes)
    spec = None if root is None else read_policy(root, mistakes)
    mistakes.refuse("policy-invalid")
    if spec is None:
        raise AssertionError("a document that is no policy has a mistake")
    return spec


def read_policy(root: Node, mistakes: Mistakes) -> PolicySpec:
    """Read a policy that is part of a longer document; what is wrong with it is added to the mistakes."""
    keys = mapping(root, _KEYS, mistakes)
    if "name" not in keys:
        mistakes.add(root, "give the policy a name: name: nightly")
    default = member(keys.get("type"), BackupType, BackupType.INCREMENTAL, mistakes)
    schedules = _schedules(root, keys, default, mistakes)
    where = schedules[0].zone if schedules else "UTC"
    start = value(keys.get("start_within"), None, duration(_LONGEST_WITHIN), mistakes)
    finish = value(keys.get("finish_within"), None, duration(_LONGEST_WITHIN), mistakes)
    if start is not None and finish is not None and finish <= start:
        mistakes.add(keys["finish_within"], "finish_within has to be longer than start_within")
    return PolicySpec(
        name=value(keys.get("name"), "", lambda text: check_name(text, noun="policy"), mistakes),
        tags=_items(keys.get("items"), mistakes),
        schedules=schedules,
        on_missed=member(keys.get("on_missed"), OnMissed, OnMissed.RUN_ONCE, mistakes),
        jitter=value(keys.get("jitter"), 0, duration(_LONGEST_JITTER), mistakes),
        rpo=value(keys.get("rpo"), None, duration(_LONGEST_RPO), mistakes),
        window=_window(keys.get("window"), where, mistakes),
        start_within=start,
        finish_within=finish,
        blackouts=_blackouts(keys.get("blackouts"), where, mistakes),
        retry=_retry(keys.get("retry"), mistakes),
        retention=_retention(keys.get("retention"), mistakes),
        priority=value(keys.get("priority"), 0, whole_number(-4, 4), mistakes),
    )


def _items(node: Node | None, mistakes: Mistakes) -> tuple[str, ...]:
    if node is None:
        return ()
    keys = mapping(node, ("tags",), mistakes)
    if "tags" not in keys:
        mistakes.add(node, "items: selects by tags, such as items: {tags: [databases, berlin]}")
        return ()
    nodes = sequence(keys["tags"], mistakes, most=MOST_TAGS, hint="tags: is a list, such as [databases, berlin]")
    tags = [value(each, "", check_tag, mistakes) for each in nodes]
    if not tags and isinstance(keys["tags"].value, list):
        mistakes.add(keys["tags"], "name at least one tag: a policy that selects everything is a policy of each item")
    return tuple(dict.fromkeys(tags))


def _schedules(root: Node, keys: dict[str, Node], default: BackupType, mistakes: Mistakes) -> tuple[ScheduleSpec, ...]:
    several, one = keys.get("schedules"), keys.get("schedule")
    if several is not None and one is not None:
        mistakes.add(one, "write either schedule: or schedules:, not both")
    hint = "schedules: is a list; begin each with '- cron: …', or write schedule: for a single one"
    nodes = sequence(several, mistakes, most=MOST_SCHEDULES, hint=hint)
    if several is None and one is not None:
        nodes = [one]
    read = [schedule for node in nodes for schedule in _schedule(node, default, mistakes)]
    if len(read) > MOST_SCHEDULES:
        mistakes.add(root, f"at most {MOST_SCHEDULES} schedules in one policy, different minutes counted each")
    return tuple(read)


def _schedule(node: Node, default: BackupType, mistakes: Mistakes) -> list[ScheduleSpec]:
    """Return the schedules of one entry; a calendar expression may stand for several."""
    crons: tuple[str, ...] = ()
    if is_scalar(node):
        crons = value(node, crons, _crons, mistakes)
        return [ScheduleSpec(cron=cron, zone="UTC", type=default) for cron in crons]
    keys = mapping(node, ("cron", "calendar", "zone", "type"), mistakes)
    if ("cron" in keys) == ("calendar" in keys):
        mistakes.add(node, 'a schedule needs cron: or calendar:, such as cron: "30 1 * * *" or calendar: daily 01:30')
        return []
    crons = value(keys.get("cron"), crons, _cron, mistakes)
    crons = value(keys.get("calendar"), crons, _calendar, mistakes)
    where = value(keys.get("zone"), "UTC", zone, mistakes)
    backup_type = member(keys.get("type"), BackupType, default, mistakes)
    return [ScheduleSpec(cron=cron, zone=where, type=backup_type) for cron in crons]


def _crons(text: str) -> tuple[str, ...]:
    """Read a schedule written as one text: cron's five fields, a nickname, or a calendar expression."""
    return _cron(text) if text.strip()[:1] in tuple("@*0123456789") else _calendar(text)


def _cron(text: str) -> tuple[str, ...]:
    return (check_cron(text),)


def _calendar(text: str) -> tuple[str, ...]:
    return tuple(check_cron(cron) for cron in crons_of(text))


def _window(node: Node | None, default_zone: str, mistakes: Mistakes) -> WindowSpec | None:
    if node is None:
        return None
    keys = mapping(node, ("start", "end", "zone"), mistakes)
    for name in ("start", "end"):
        if name not in keys:
            mistakes.add(node, f'a window needs {name}:, such as {name}: "22:00"')
            return None
    return WindowSpec(
        start=value(keys["start"], "00:00", clock_time, mistakes),
        end=value(keys["end"], "00:00", clock_time, mistakes),
        zone=value(keys.get("zone"), default_zone, zone, mistakes),
    )


def _blackouts(node: Node | None, default_zone: str, mistakes: Mistakes) -> tuple[BlackoutSpec, ...]:
    hint = "blackouts: is a list; begin each with '- days: …' or '- from: …'"
    read = [
        _blackout(each, default_zone, mistakes) for each in sequence(node, mistakes, most=MOST_BLACKOUTS, hint=hint)
    ]
    return tuple(blackout for blackout in read if blackout is not None)


def _blackout(node: Node, default_zone: str, mistakes: Mistakes) -> BlackoutSpec | None:
    keys = mapping(node, ("days", "start", "end", "from", "until", "zone"), mistakes)
    where = value(keys.get("zone"), default_zone, zone, mistakes)
    if "from" in keys and "until" in keys and not {"days", "start", "end"} & keys.keys():
        begin = value(keys["from"], "", local_time, mistakes)
        until = value(keys["until"], "", local_time, mistakes)
        if begin and until and datetime.fromisoformat(until) <= datetime.fromisoformat(begin):
            mistakes.add(keys["until"], "until has to be later than from")
        return BlackoutSpec(zone=where, begin=begin, until=until)
    if {"from", "until"} & keys.keys() or not {"days", "start", "end"} & keys.keys():
        mistakes.add(
            node,
            'a blackout is {from: "2026-12-24", until: "2026-12-27"} or {days: mon-fri, start: "08:00", end: "18:00"}',
        )
        return None
    return BlackoutSpec(
        zone=where,
        days=value(keys.get("days"), days("daily"), days, mistakes),
        start=value(keys.get("start"), "00:00", clock_time, mistakes),
        end=value(keys.get("end"), "00:00", clock_time, mistakes),
    )


def _retry(node: Node | None, mistakes: Mistakes) -> RetrySpec:
    if node is None:
        return RetrySpec()
    keys = mapping(node, ("attempts", "longest_pause"), mistakes)
    return RetrySpec(
        attempts=value(keys.get("attempts"), 3, whole_number(1, 100), mistakes),
        longest_pause=value(keys.get("longest_pause"), 600, duration("24h"), mistakes),
    )


def _retention(node: Node | None, mistakes: Mistakes) -> RetentionSpec:
    if node is None:
        return RetentionSpec()
    keys = mapping(node, RetentionSpec.__struct_fields__, mistakes)
    counts = {name: value(each, 0, whole_number(0, 100_000), mistakes) for name, each in keys.items()}
    return RetentionSpec(**counts)
