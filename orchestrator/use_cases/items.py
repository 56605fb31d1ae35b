"""Add, look at, pause, resume and remove protected items.

Rule of the file: nothing here touches a vault. Removing an item ends its protection and keeps its points.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime

from orchestrator.domain.inventory import Item, Source
from orchestrator.domain.names import check_file_name, check_name, check_path, check_text
from orchestrator.domain.paging import Page, PageRequest
from orchestrator.domain.policy import PolicySpec
from orchestrator.domain.retry import after_cancel
from orchestrator.domain.schedule import next_fire
from orchestrator.use_cases.policies import get_policy
from orchestrator.use_cases.ports import UnitOfWork
from shared.contracts.work import ExcludeRules
from shared.errors import SkyharborError
from shared.model.ids import new_id

MOST_PATHS = 1000


def add_item(
    uow: UnitOfWork,
    *,
    actor: str,
    name: str,
    workload: str,
    machine: str,
    vault: str,
    paths: Sequence[str],
    excludes: Sequence[str] = (),
    rules: ExcludeRules = ExcludeRules(),
    policy: str | None = None,
) -> Item:
    """Protect something. ``machine`` and ``vault`` are names or ids, ``policy`` is a name.

    Errors: ``bad-request`` (also for a workload other than ``files``), ``not-found``, ``already-exists``.
    """
    check_name(name, noun="item")
    if workload != "files":
        raise SkyharborError(
            "bad-request", f"{workload!r} is not a workload; this version knows files", field="workload"
        )
    source = _source(paths, excludes, rules)
    machine_id, vault_id = uow.machines.get(machine).id, uow.vaults.get(vault).id
    if policy is not None and uow.policies.newest(policy) is None:
        raise SkyharborError("not-found", f"there is no policy {policy!r}")
    item_id = new_id()
    uow.items.add(
        item_id=item_id,
        name=name,
        workload=workload,
        machine_id=machine_id,
        vault_id=vault_id,
        policy=policy,
        source=source,
    )
    uow.audit.append(
        actor=actor,
        action="item.add",
        target=item_id,
        detail={"name": name, "paths": list(source.paths), "policy": policy},
    )
    uow.wake()
    uow.commit()
    return get_item(uow, ref=item_id)


def with_next_fires(uow: UnitOfWork, items: Sequence[Item], *, now: datetime) -> Sequence[Item]:
    """Return the items with the time they are due next, also when that is beyond what the planner has written."""
    specs = {name: get_policy(uow, name=name)[1] for name in {item.policy for item in items} if name is not None}
    return [_with_next_fire(item, specs, now) for item in items]


def _with_next_fire(item: Item, specs: Mapping[str, PolicySpec], now: datetime) -> Item:
    if item.policy is None or item.next_fire_at is not None or item.paused_at is not None:
        return item
    spec = specs[item.policy]
    due = next_fire(spec.schedules, item_id=item.id, jitter=spec.jitter, now=now)
    return dataclasses.replace(item, next_fire_at=due)


def get_item(uow: UnitOfWork, *, ref: str) -> Item:
    """Return a living item by name or id; ``not-found``."""
    return uow.items.get(ref)


def list_items(uow: UnitOfWork, *, request: PageRequest) -> Page[Item]:
    """Return living items by name."""
    return uow.items.page(request)


def pause_item(uow: UnitOfWork, *, actor: str, ref: str) -> Item:
    """Stop scheduled backups of an item; on-demand ones stay possible. Idempotent."""
    item = uow.items.get(ref)
    if item.paused_at is None:
        uow.items.pause(item.id)
        uow.audit.append(actor=actor, action="item.pause", target=item.id, detail={"name": item.name})
        uow.wake()
        uow.commit()
    return uow.items.get(item.id)


def resume_item(uow: UnitOfWork, *, actor: str, ref: str) -> Item:
    """Let scheduled backups go on from now; what the pause swallowed is not caught up. Idempotent."""
    item = uow.items.get(ref)
    if item.paused_at is not None:
        uow.items.resume(item.id)
        uow.audit.append(actor=actor, action="item.resume", target=item.id, detail={"name": item.name})
        uow.wake()
        uow.commit()
    return uow.items.get(item.id)


def remove_item(uow: UnitOfWork, *, actor: str, ref: str) -> None:
    """End an item's protection. Waiting backups are cancelled; points stay, and restores and verifies of them go on.

    ``conflict`` while a backup is at work, or has yet to find out whether its point was sealed; ``not-found`` when
    repeated.
    """
    item = uow.items.get(ref)
    uow.items.remove(item.id)
    waiting = [job for job in uow.jobs.lock_waiting_backups(item.id) if job.committing_at is None]
    for job in waiting:
        uow.jobs.end_attempt(job, after_cancel(job))
    active = uow.jobs.active_backup(item.id)
    if active is not None:
        raise SkyharborError(
            "conflict", f"a backup of {item.name} is at work: wait for it, or run 'skyharbor job cancel {active}'"
        )
    for job in waiting:
        uow.audit.append(actor=actor, action="job.cancel", target=job.id, detail={"because": "item.remove"})
    uow.audit.append(actor=actor, action="item.remove", target=item.id, detail={"name": item.name})
    uow.commit()


def _source(paths: Sequence[str], excludes: Sequence[str], rules: ExcludeRules) -> Source:
    if not 1 <= len(paths) <= MOST_PATHS or len(excludes) > MOST_PATHS:
        raise SkyharborError(
            "bad-request", f"give 1 to {MOST_PATHS} paths and at most as many excludes", field="source"
        )
    checked = dict.fromkeys(check_path(path, field="source") for path in paths)
    if len(rules.if_present) > MOST_PATHS:
        raise SkyharborError("bad-request", f"give at most {MOST_PATHS} names of tags", field="source")
    for name in rules.if_present:
        check_file_name(name, field="source")
    if rules.larger_than is not None and not 1 <= rules.larger_than < 2**63:
        raise SkyharborError("bad-request", "give a size of 1 byte or more, or none for no limit", field="source")
    return Source(
        paths=tuple(checked),
        excludes=tuple(check_text(pattern, field="source") for pattern in excludes),
        rules=rules,
    )
