"""Add, look at, change, pause, resume and remove protected items.

Rule of the file: nothing here touches a vault. Removing an item ends its protection and keeps its points.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from orchestrator.domain.inventory import Care, Item, ItemAtRisk, NewItem
from orchestrator.domain.names import check_name, check_tag, is_id, no_such
from orchestrator.domain.paging import Page, PageRequest
from orchestrator.domain.policy import PolicySpec
from orchestrator.domain.retry import after_cancel
from orchestrator.domain.schedule import next_fire
from orchestrator.domain.sources.checking import checked
from orchestrator.use_cases.policies import get_policy
from orchestrator.use_cases.ports import UnitOfWork
from shared.contracts.sources import SourceSpec, paths_of, workload_of
from shared.errors import SkyharborError
from shared.model.ids import new_id

MOST_TAGS = 64
LONGEST_RPO = 999 * 86400


def add_item(
    uow: UnitOfWork,
    *,
    actor: str,
    name: str,
    machine: str,
    vault: str,
    source: SourceSpec,
    care: Care = Care(),
) -> Item:
    """Protect something. ``machine`` and ``vault`` are names or ids.

    Without a policy of its own the item follows the one that its tags choose, if any; ``conflict`` if several do.
    Errors: ``bad-request``, ``not-found``, ``already-exists``.
    """
    check_name(name, noun="item")
    source, care = checked(source), _checked_care(uow, care)
    followed, by_tags = _followed(uow, care)
    new = NewItem(
        id=new_id(),
        name=name,
        machine_id=uow.machines.get(machine).id,
        vault_id=uow.vaults.get(vault).id,
        source=source,
        care=replace(care, policy=followed),
        by_tags=by_tags,
    )
    uow.items.add(new)
    detail = {"name": name, **_told(source), "policy": followed, "tags": list(care.tags)}
    uow.audit.append(actor=actor, action="item.add", target=new.id, detail=detail)
    uow.wake()
    uow.commit()
    return get_item(uow, ref=new.id)


def change_item(
    uow: UnitOfWork,
    *,
    actor: str,
    ref: str,
    source: SourceSpec | None = None,
    care: Callable[[Care], Care] | None = None,
) -> Item:
    """Change what an item protects or how it is looked after. Backups that have begun go on as they were told.

    ``care`` returns the new care for the present one; its policy is None where tags choose. Errors as for ``add_item``.
    """
    item = uow.items.get(ref)
    now = Care(
        policy=None if item.by_tags else item.policy,
        tags=item.tags,
        rpo=item.rpo,
        retention=item.retention,
        hypervisor=item.hypervisor,
    )
    wanted = _checked_care(uow, now if care is None else care(now))
    new_source = item.source if source is None else checked(source)
    if workload_of(new_source) != item.workload:
        raise SkyharborError("bad-request", f"{item.name} is of the workload {item.workload}, and stays that")
    followed, by_tags = _followed(uow, wanted)
    uow.items.change(item.id, source=new_source, care=replace(wanted, policy=followed), by_tags=by_tags)
    detail = {"name": item.name, **_told(new_source), "policy": followed, "tags": list(wanted.tags)}
    uow.audit.append(actor=actor, action="item.change", target=item.id, detail=detail)
    uow.wake()
    uow.commit()
    return get_item(uow, ref=item.id)


def _told(source: SourceSpec) -> dict[str, object]:
    """Return what the audit log says of a source."""
    return {"workload": workload_of(source), "paths": list(paths_of(source))}


def _checked_care(uow: UnitOfWork, care: Care) -> Care:
    if care.policy is not None and uow.policies.newest(care.policy) is None:
        raise no_such("policy", care.policy)
    if len(care.tags) > MOST_TAGS:
        raise SkyharborError("bad-request", f"an item has at most {MOST_TAGS} tags", field="tags")
    if care.rpo is not None and not 60 <= care.rpo <= LONGEST_RPO:
        raise SkyharborError("bad-request", "an RPO is a minute to 999 days", field="rpo")
    if care.hypervisor:
        check_name(care.hypervisor, noun="hypervisor")
    return replace(care, tags=tuple(dict.fromkeys(check_tag(tag) for tag in care.tags)))


def _followed(uow: UnitOfWork, care: Care) -> tuple[str | None, bool]:
    """Return the policy that an item follows, and whether its tags have chosen it."""
    if care.policy is not None or not care.tags:
        return care.policy, False
    selecting = uow.policies.selecting(care.tags)
    if len(selecting) > 1:
        said = ", ".join(selecting)
        raise SkyharborError("conflict", f"several policies select these tags ({said}): name one with --policy")
    return (selecting[0], True) if selecting else (None, False)


def with_next_fires(uow: UnitOfWork, items: Sequence[Item], *, now: datetime) -> Sequence[Item]:
    """Return the items with the time they are due next, also when that is beyond what the planner has written."""
    specs = {name: get_policy(uow, name=name)[1] for name in {item.policy for item in items} if name is not None}
    return [_with_next_fire(item, specs, now) for item in items]


def _with_next_fire(item: Item, specs: Mapping[str, PolicySpec], now: datetime) -> Item:
    if item.policy is None or item.next_fire_at is not None or item.paused_at or item.removed_at:
        return item
    spec = specs[item.policy]
    due = next_fire(spec.schedules, item_id=item.id, jitter=spec.jitter, now=now)
    return replace(item, next_fire_at=due)


def get_item(uow: UnitOfWork, *, ref: str) -> Item:
    """Return a living item by name or id, or by its id one that was removed; ``not-found``."""
    return uow.items.get(ref, removed=is_id(ref))


def list_items(uow: UnitOfWork, *, request: PageRequest, removed: bool = False, name: str | None = None) -> Page[Item]:
    """Return living items by name; or removed ones that still have points, all or those that had a name."""
    if removed:
        return uow.items.page_of_removed(request, name=name)
    if name is not None:
        raise SkyharborError("bad-request", "only removed items are asked for by name", field="name")
    return uow.items.page(request)


def list_at_risk(uow: UnitOfWork, *, request: PageRequest) -> Page[ItemAtRisk]:
    """Return living items that could not be restored as they should be: no sound point, or the last backup failed."""
    return uow.items.page_at_risk(request)


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
    waiting = [job for job in uow.jobs.waiting_backups([item.id]).get(item.id, ()) if job.committing_at is None]
    for job in waiting:
        uow.jobs.end_attempt(job, after_cancel(job))
    active = uow.jobs.active_backups([item.id]).get(item.id)
    if active:
        raise SkyharborError(
            "conflict", f"a backup of {item.name} is at work: wait for it, or run 'skyharbor job cancel {active[0]}'"
        )
    for job in waiting:
        uow.audit.append(actor=actor, action="job.cancel", target=job.id, detail={"because": "item.remove"})
    uow.audit.append(actor=actor, action="item.remove", target=item.id, detail={"name": item.name})
    uow.commit()
