"""/items: what is protected."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, Field, model_validator

from orchestrator.api.auth import OPERATOR
from orchestrator.api.edge import (
    Listing,
    Moment,
    NamedOut,
    OptionalText,
    Paging,
    Received,
    Ref,
    RefQuery,
    Text,
    Use,
    named,
)
from orchestrator.api.sources import SourceIn, source_out, spec_of, with_workload
from orchestrator.domain.inventory import Care, Item, LastPoint
from orchestrator.domain.policy import RetentionSpec
from orchestrator.use_cases.application import Application
from orchestrator.use_cases.items import (
    add_item,
    change_item,
    get_item,
    list_items,
    pause_item,
    remove_item,
    resume_item,
    with_next_fires,
)
from orchestrator.use_cases.ports import UnitOfWork
from shared.model.backup import BackupType

routes = APIRouter(tags=["items"])


Count = Annotated[int, Field(ge=0, le=100_000)]
"""How many points are kept."""


class RetentionIn(Received):
    """How many points of each kind are kept, in place of the policy's."""

    last: Count = 0
    hourly: Count = 0
    daily: Count = 0
    weekly: Count = 0
    monthly: Count = 0
    yearly: Count = 0


class NewItem(Received):
    """Something to protect. Without a policy, one that selects its tags is followed; ``rpo`` is in seconds."""

    name: Text
    workload: Text
    machine: Text
    vault: Text
    source: SourceIn
    policy: Text | None = None
    tags: Annotated[list[Text], Field(default_factory=list)]
    rpo: int | None = None
    retention: RetentionIn | None = None
    hypervisor: OptionalText = ""

    @model_validator(mode="before")
    @classmethod
    def _told(cls, data: Any) -> Any:
        """The source is of the item's workload."""
        if isinstance(data, dict) and "source" in data:
            return {**data, "source": with_workload(data["source"], data.get("workload"))}
        return data


class ChangedItem(Received):
    """What is to be different; what is missing stays. ``policy``, ``rpo``, ``retention`` may be null, for none.

    A source that does not say its ``workload`` is one of files.
    """

    source: SourceIn | None = None
    policy: Text | None = None
    tags: list[Text] | None = None
    rpo: int | None = None
    retention: RetentionIn | None = None
    hypervisor: OptionalText | None = None

    @model_validator(mode="before")
    @classmethod
    def _told(cls, data: Any) -> Any:
        if isinstance(data, dict) and "source" in data:
            return {**data, "source": with_workload(data["source"], "files")}
        return data


class LastPointOut(BaseModel):
    """The item's newest sealed point."""

    id: str
    sealed_at: Moment
    type: BackupType
    moments_from: Moment | None
    moments_until: Moment | None


class ItemOut(BaseModel):
    """A protected item, or one that was until it was removed."""

    id: str
    name: str
    workload: str
    machine: NamedOut
    vault: NamedOut
    policy: str | None
    policy_by_tags: bool
    tags: list[str]
    rpo: int | None
    retention: dict[str, int] | None
    hypervisor: str
    source: dict[str, Any]
    paused_at: Moment | None
    created_at: Moment
    removed_at: Moment | None
    last_point: LastPointOut | None
    next_fire_at: Moment | None


@routes.post("/items", status_code=201)
def add(application: Use, body: NewItem) -> ItemOut:
    """Protect something. Nothing is written to the vault."""
    with application.unit_of_work() as uow:
        item = add_item(
            uow,
            actor=OPERATOR,
            name=body.name,
            machine=body.machine,
            vault=body.vault,
            source=spec_of(body.source),
            care=Care(
                policy=body.policy,
                tags=tuple(body.tags),
                rpo=body.rpo,
                retention=_retention(body.retention),
                hypervisor=body.hypervisor,
            ),
        )
        return _shown(application, uow, item)


@routes.patch("/items/{ref}")
def change(application: Use, ref: Ref, body: ChangedItem) -> ItemOut:
    """Change what an item protects or how it is looked after. Backups that have begun go on as they were told."""
    given = body.model_fields_set

    def care(now: Care) -> Care:
        return Care(
            policy=body.policy if "policy" in given else now.policy,
            tags=now.tags if body.tags is None else tuple(body.tags),
            rpo=body.rpo if "rpo" in given else now.rpo,
            retention=_retention(body.retention) if "retention" in given else now.retention,
            hypervisor=now.hypervisor if body.hypervisor is None else body.hypervisor,
        )

    source = None if body.source is None else spec_of(body.source)
    with application.unit_of_work() as uow:
        return _shown(application, uow, change_item(uow, actor=OPERATOR, ref=ref, source=source, care=care))


@routes.get("/items")
def list_all(application: Use, page: Paging, removed: bool = False, name: RefQuery = None) -> Listing[ItemOut]:
    """List items by name; or those that were removed and still have points, of one name if any is given."""
    with application.unit_of_work() as uow:
        found = list_items(uow, request=page, removed=removed, name=name)
        items = with_next_fires(uow, found.items, now=application.clock.now())
        return Listing(items=[_out(item) for item in items], next=found.next)


@routes.get("/items/{ref}")
def show(application: Use, ref: Ref) -> ItemOut:
    """Show one item; by its id also one that was removed."""
    with application.unit_of_work() as uow:
        return _shown(application, uow, get_item(uow, ref=ref))


@routes.post("/items/{ref}/pause")
def pause(application: Use, ref: Ref) -> ItemOut:
    """Stop scheduling the item. Idempotent."""
    with application.unit_of_work() as uow:
        return _shown(application, uow, pause_item(uow, actor=OPERATOR, ref=ref))


@routes.post("/items/{ref}/resume")
def resume(application: Use, ref: Ref) -> ItemOut:
    """Schedule the item again, from now on. Idempotent."""
    with application.unit_of_work() as uow:
        return _shown(application, uow, resume_item(uow, actor=OPERATOR, ref=ref))


@routes.delete("/items/{ref}", status_code=204)
def remove(application: Use, ref: Ref) -> None:
    """End the item's protection; its points stay. Waiting backups are cancelled; 409 while one is at work."""
    with application.unit_of_work() as uow:
        remove_item(uow, actor=OPERATOR, ref=ref)


def _shown(application: Application, uow: UnitOfWork, item: Item) -> ItemOut:
    """Return an item as it goes out, with its next fire however far away that is."""
    [whole] = with_next_fires(uow, [item], now=application.clock.now())
    return _out(whole)


def _out(item: Item) -> ItemOut:
    last = item.last_point
    return ItemOut(
        id=item.id,
        name=item.name,
        workload=item.workload,
        machine=named(item.machine),
        vault=named(item.vault),
        policy=item.policy,
        policy_by_tags=item.by_tags,
        tags=list(item.tags),
        rpo=item.rpo,
        retention=None if item.retention is None else msgspec.to_builtins(item.retention),
        hypervisor=item.hypervisor,
        source=source_out(item.source),
        paused_at=item.paused_at,
        created_at=item.created_at,
        removed_at=item.removed_at,
        last_point=None if last is None else _last(last),
        next_fire_at=item.next_fire_at,
    )


def _last(point: LastPoint) -> LastPointOut:
    return LastPointOut(
        id=point.id,
        sealed_at=point.sealed_at,
        type=point.type,
        moments_from=point.moments_from,
        moments_until=point.moments_until,
    )


def _retention(received: RetentionIn | None) -> RetentionSpec | None:
    return None if received is None else RetentionSpec(**received.model_dump())
