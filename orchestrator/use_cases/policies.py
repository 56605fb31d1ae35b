"""Apply, look at and preview policies.

Rule of the file: a version is immutable; applying the same text again makes none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.domain.inventory import PolicyRecord, PolicyVersion
from orchestrator.domain.ledger import MOST_AT_ONCE
from orchestrator.domain.names import check_text, no_such
from orchestrator.domain.paging import Page, PageRequest
from orchestrator.domain.policy import PolicySpec
from orchestrator.domain.policy_text import parse_policy
from orchestrator.domain.schedule import fires_after, jitter_seconds
from orchestrator.use_cases.ports import UnitOfWork
from shared.errors import SkyharborError

LONGEST_PREVIEW_DAYS = 366


@dataclass(frozen=True, slots=True)
class Applied:
    """What applying did: ``created`` is False when the newest version had this text already."""

    name: str
    version: PolicyVersion
    created: bool


@dataclass(frozen=True, slots=True)
class PreviewFire:
    """A fire to come: for which item (None when the policy has none), when (with its jitter), local wall time."""

    item: str | None
    at: datetime
    local: datetime
    zone: str
    type: str
    note: str | None


def apply_policy(uow: UnitOfWork, *, actor: str, document: str) -> Applied:
    """Make a new version of the policy that the YAML names. ``policy-invalid`` with the field ``errors``.

    Items follow the newest version from now on: planned fires of the old one are taken back and planned anew. Items
    whose tags it selects follow it, unless they name a policy themselves; ``conflict`` when another selects them too.
    """
    check_text(document, field="yaml", longest=1 << 20)
    spec = parse_policy(document)
    newest = uow.policies.newest(spec.name, lock=True)
    if newest is not None and newest.version.text == document:
        return Applied(spec.name, newest.version, False)
    version = uow.policies.add_version(spec.name, text=document, spec=spec)
    taken = uow.policies.select_items(spec.name, spec.tags)
    if taken:
        said = ", ".join(f"{item} follows {policy}" for item, policy in taken)
        raise SkyharborError("conflict", f"these tags also select items of other policies: {said}")
    uow.audit.append(
        actor=actor, action="policy.apply", target=version.id, detail={"name": spec.name, "version": version.n}
    )
    uow.wake()
    uow.commit()
    return Applied(spec.name, version, True)


def get_policy(uow: UnitOfWork, *, name: str) -> tuple[PolicyRecord, PolicySpec]:
    """Return a policy's newest version and its meaning; ``not-found``."""
    record = uow.policies.newest(name)
    if record is None:
        raise no_such("policy", name)
    return record, uow.policies.specs([record.version.id])[record.version.id]


def list_policies(uow: UnitOfWork, *, request: PageRequest) -> Page[PolicyRecord]:
    """Return policies by name."""
    return uow.policies.page(request)


def preview_policy(uow: UnitOfWork, *, name: str, days: int, now: datetime) -> Sequence[PreviewFire]:
    """Return the fires of the next ``days`` days, by time, at most 500 per schedule. Reads only."""
    if not 1 <= days <= LONGEST_PREVIEW_DAYS:
        raise SkyharborError("bad-request", f"days must be between 1 and {LONGEST_PREVIEW_DAYS}", field="days")
    record, spec = get_policy(uow, name=name)
    until = now + timedelta(days=days)
    ids: list[tuple[str | None, int]] = [
        (item, jitter_seconds(uow.items.get(item).id, spec.jitter)) for item in record.items
    ] or [(None, 0)]
    fires: list[PreviewFire] = []
    for schedule in spec.schedules:
        for count, fire in enumerate(fires_after(schedule, now)):
            if fire.instant > until or count == MOST_AT_ONCE:
                break
            fires += [
                PreviewFire(
                    item, fire.instant + timedelta(seconds=delay), fire.nominal, schedule.zone, schedule.type, fire.note
                )
                for item, delay in ids[:MOST_AT_ONCE]
            ]
    return sorted(fires, key=lambda fire: (fire.at, fire.item or ""))
