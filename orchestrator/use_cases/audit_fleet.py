"""One round of the auditor: look, remember what is new and what is gone, decide what is told.

Rule of the file: it asks and never mends. Alarms, audit lines and messages are one transaction: killed at any point, a
round was done whole or not at all, and the next one sees the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.domain.alarm_text import compose
from orchestrator.domain.alarms import Alarm, Finding, compare
from orchestrator.domain.oversight import Observations, Patience, findings, held
from orchestrator.use_cases.ports import UnitOfWork

MOST_LINES = 20
"""More changes than this of one round are one audit line for each kind: its lines are appended one after the other."""

KEPT_DAYS = 30
_FIRST_LOOK = timedelta(hours=24)
_OVERLAP = timedelta(minutes=2)
"""A point is dated before its transaction ends: looking a little further back than needed misses none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """Who is told: whether there is anybody, and after how long they are reminded of what is still open."""

    anybody: bool
    again: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Round:
    """What a round changed."""

    opened: int
    closed: int
    still: int


def audit_fleet(uow: UnitOfWork, *, patience: Patience, telling: Telling, watched_since: datetime) -> Round | None:
    """Do one round; None when another auditor is at it.

    ``watched_since`` is when this process began to look, or to look again after it was away. Messages are made only
    once all earlier ones are delivered: what happens while nobody can be reached becomes one digest.
    """
    if not uow.sights.enter():
        return None
    now = uow.now()
    seen = _look(uow, patience, now, watched_since)
    known = uow.alarms.all_open()
    found = findings(seen, patience=patience, now=now)
    changes = compare(found, known, held=held(seen, patience=patience, now=now))
    uow.alarms.open(changes.opened)
    uow.alarms.close(changes.closed, telling=telling.anybody)
    if telling.anybody:
        uow.alarms.remind(told_before=now - telling.again)
        if uow.messages.pending_since() is None:
            _tell(uow)
    uow.messages.sweep(days=KEPT_DAYS)
    uow.sights.note_round(through=now)
    _note(uow, "alarm.open", changes.opened)
    _note(uow, "alarm.close", changes.closed)
    uow.commit()
    return Round(len(changes.opened), len(changes.closed), len(known) - len(changes.closed))


def _look(uow: UnitOfWork, patience: Patience, now: datetime, watched_since: datetime) -> Observations:
    through = uow.sights.looked_through()
    return Observations(
        overdue=uow.sights.overdue(now=now),
        lag=uow.sights.lag(before=now - patience.planner),
        endless=uow.sights.endless(before=now - patience.job),
        histories=uow.sights.histories(since=now - _FIRST_LOOK if through is None else through - _OVERLAP),
        damaged=uow.sights.damaged(),
        held_back=uow.sights.held_back(),
        failed_collects=uow.sights.failed_collects(),
        waiting=uow.sights.waiting(before=now - patience.absence),
        workers=uow.sights.workers(since=now - patience.silence),
        led_until=uow.sights.led_until(),
        watched_since=watched_since,
    )


def _tell(uow: UnitOfWork) -> None:
    news = uow.alarms.news()
    if news:
        uow.messages.add(compose(news))
        uow.alarms.told(news)


def _note(uow: UnitOfWork, action: str, changed: Sequence[Finding] | Sequence[Alarm]) -> None:
    if len(changed) > MOST_LINES:
        for kind, count in sorted(Counter(one.kind for one in changed).items()):
            uow.audit.append(actor="auditor", action=action, target=kind, detail={"count": count})
        return
    for one in changed:
        detail = {"kind": str(one.kind), "subject": one.subject, "message": one.message}
        uow.audit.append(actor="auditor", action=action, target=one.target, detail=detail)
