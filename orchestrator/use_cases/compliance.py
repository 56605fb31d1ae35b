"""Say of every item what was promised, what was kept, and when it is next looked after.

Rule of the file: reading only; the verdict is the domain's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from orchestrator.domain.objectives import Record, Standing, Verdict, judge
from orchestrator.domain.paging import Page, PageRequest
from orchestrator.domain.policy import PolicySpec
from orchestrator.domain.schedule import next_fire
from orchestrator.use_cases.policies import get_policy
from orchestrator.use_cases.ports import UnitOfWork


def list_compliance(uow: UnitOfWork, *, request: PageRequest, verdict: Verdict | None = None) -> Page[Standing]:
    """Return how living items stand to their promises now, by name; only those with one verdict when it is given."""
    now = uow.now()
    page = uow.objectives.page(request, verdict=verdict, now=now)
    records = _with_next_fires(uow, page.items, now)
    return Page([judge(record, now=now) for record in records], page.next)


def count_by_verdict(uow: UnitOfWork) -> Mapping[Verdict, int]:
    """Return the number of living items by verdict."""
    return uow.objectives.count_by_verdict(now=uow.now())


def _with_next_fires(uow: UnitOfWork, records: Sequence[Record], now: datetime) -> list[Record]:
    """The ledger reaches two hours ahead; what lies beyond is computed."""
    names = {record.policy for record in records if _is_to_be_computed(record)} - {None}
    specs = {name: get_policy(uow, name=name)[1] for name in names if name is not None}
    return [_with_next_fire(record, specs, now) for record in records]


def _with_next_fire(record: Record, specs: Mapping[str, PolicySpec], now: datetime) -> Record:
    spec = None if record.policy is None or not _is_to_be_computed(record) else specs[record.policy]
    if spec is None:
        return record
    due = next_fire(spec.schedules, item_id=record.item_id, jitter=spec.jitter, now=now)
    return replace(record, next_fire_at=due)


def _is_to_be_computed(record: Record) -> bool:
    return record.next_fire_at is None and record.paused_at is None
