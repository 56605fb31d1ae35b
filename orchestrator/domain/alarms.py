"""Alarms: what is wrong, once for each thing it is wrong with, from when it was found until it is gone.

Rule of the file: pure. A finding is what is wrong at this moment; an alarm is what is remembered of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class AlarmKind(StrEnum):
    """What may be wrong, and what the target of such an alarm is."""

    RPO_MISSED = "rpo-missed"  # item: no point as young as promised
    PLANNER_BEHIND = "planner-behind"  # tower: fires are not planned or not filed
    JOB_ENDLESS = "job-endless"  # job: filed by a schedule and not ended for very long
    SIZE_CHANGED = "size-changed"  # item: its newest point is much smaller or larger than usual
    POINT_DAMAGED = "point-damaged"  # point
    RETENTION_HELD = "retention-held"  # item: so many points would go at once that a person has to apply it
    COLLECT_FAILED = "collect-failed"  # vault: the last collection of its garbage failed for good
    NO_WORKER = "no-worker"  # fleet: jobs wait and no worker lives
    NO_LEADER = "no-leader"  # tower


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong now. ``subject`` is what people call the target, ``message`` a sentence about it."""

    kind: AlarmKind
    target: str
    subject: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """A finding that is remembered, in the words in which it was found.

    ``told_at`` is when a message about it was last made; open while ``closed_at`` is None.
    """

    id: str
    kind: AlarmKind
    target: str
    subject: str
    message: str
    opened_at: datetime
    closed_at: datetime | None = None
    told_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """What a round changes: findings that are new, and alarms whose finding is gone."""

    opened: Sequence[Finding]
    closed: Sequence[Alarm]


def compare(findings: Iterable[Finding], open_alarms: Iterable[Alarm], *, held: Collection[AlarmKind] = ()) -> Changes:
    """Return what is new and what is gone; what is known already is neither, however its words have changed.

    What is new of the kinds ``held`` is left for a later round.
    """
    found = {(finding.kind, finding.target): finding for finding in findings}
    known = {(alarm.kind, alarm.target): alarm for alarm in open_alarms}
    return Changes(
        opened=[finding for key, finding in found.items() if key not in known and finding.kind not in held],
        closed=[alarm for key, alarm in known.items() if key not in found],
    )
