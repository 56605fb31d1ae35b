"""/items: what is protected."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter
from pydantic import AfterValidator, BaseModel, Field

from orchestrator.api.auth import OPERATOR
from orchestrator.api.edge import Listing, Moment, NamedOut, OptionalText, Paging, Received, Ref, Text, Use, named
from orchestrator.domain.inventory import Care, Item, Source
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
from shared.contracts.sources import ExcludeRules
from shared.model.backup import BackupType

routes = APIRouter(tags=["items"])


def _usable(glob: str) -> str:
    """Return an exclude pattern that the worker can use; one that it cannot would fail every backup.

    Only a set can be wrong: empty (``[!]``) or backwards (``[z-a]``). A ``[`` that nothing closes stands for itself.
    """
    at = 0
    while at < len(glob):
        end = glob.find("]", at + 2) if glob[at] == "[" else -1
        if end > 0:
            _check_set(glob[at : end + 1])
        at = end + 1 if end > 0 else at + (2 if glob[at] == "\\" else 1)
    return glob


def _check_set(written: str) -> None:
    body = written[1:-1]
    inner = body[1:] if body[0] in "!^" else body
    try:
        re.compile("[" + re.sub(r"[\\\[\]^&~|]|(?<=-)-", r"\\\g<0>", inner) + "]")
    except re.error as error:
        raise ValueError(f"{written!r} is not a set of characters: {error.msg}") from error


Glob = Annotated[Text, AfterValidator(_usable)]
"""A pattern of what is left out."""


Count = Annotated[int, Field(ge=0, le=100_000)]
"""How many points are kept."""


class Rules(Received):
    """What else is left out.

    The content of tagged caches, and of folders beside a file of one of the names ``if_present``; what has the nodump
    attribute; files of more bytes than ``larger_than``; other file systems.
    """

    caches: bool = False
    if_present: Annotated[list[Text], Field(default_factory=list)]
    nodump: bool = False
    larger_than: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    one_file_system: bool = False


class FilesSource(Received):
    """Absolute paths on the machine, and what is left out: glob patterns and rules."""

    paths: Annotated[list[Text], Field(min_length=1)]
    excludes: Annotated[list[Glob], Field(default_factory=list)]
    rules: Annotated[Rules, Field(default_factory=Rules)]


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
    workload: Literal["files"]
    machine: Text
    vault: Text
    source: FilesSource
    policy: Text | None = None
    tags: Annotated[list[Text], Field(default_factory=list)]
    rpo: int | None = None
    retention: RetentionIn | None = None
    hypervisor: OptionalText = ""


class ChangedItem(Received):
    """What is to be different; what is missing stays. ``policy``, ``rpo``, ``retention`` may be null, for none."""

    source: FilesSource | None = None
    policy: Text | None = None
    tags: list[Text] | None = None
    rpo: int | None = None
    retention: RetentionIn | None = None
    hypervisor: OptionalText | None = None


class LastPointOut(BaseModel):
    """The item's newest sealed point."""

    id: str
    sealed_at: Moment
    type: BackupType


class RulesOut(BaseModel):
    """What is left out for what it is."""

    caches: bool
    if_present: list[str]
    nodump: bool
    larger_than: int | None
    one_file_system: bool


class SourceOut(BaseModel):
    """What of the machine is read."""

    paths: list[str]
    excludes: list[str]
    rules: RulesOut


class ItemOut(BaseModel):
    """A protected item."""

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
    source: SourceOut
    paused_at: Moment | None
    created_at: Moment
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
            workload=body.workload,
            machine=body.machine,
            vault=body.vault,
            source=_source(body.source),
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

    source = None if body.source is None else _source(body.source)
    with application.unit_of_work() as uow:
        return _shown(application, uow, change_item(uow, actor=OPERATOR, ref=ref, source=source, care=care))


@routes.get("/items")
def list_all(application: Use, page: Paging) -> Listing[ItemOut]:
    """List items by name."""
    with application.unit_of_work() as uow:
        found = list_items(uow, request=page)
        items = with_next_fires(uow, found.items, now=application.clock.now())
        return Listing(items=[_out(item) for item in items], next=found.next)


@routes.get("/items/{ref}")
def show(application: Use, ref: Ref) -> ItemOut:
    """Show one item."""
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
        source=_source_out(item.source),
        paused_at=item.paused_at,
        created_at=item.created_at,
        last_point=LastPointOut(id=last.id, sealed_at=last.sealed_at, type=last.type) if last else None,
        next_fire_at=item.next_fire_at,
    )


def _source(received: FilesSource) -> Source:
    return Source(paths=tuple(received.paths), excludes=tuple(received.excludes), rules=_rules(received.rules))


def _retention(received: RetentionIn | None) -> RetentionSpec | None:
    return None if received is None else RetentionSpec(**received.model_dump())


def _rules(received: Rules) -> ExcludeRules:
    return ExcludeRules(
        caches=received.caches,
        if_present=tuple(received.if_present),
        nodump=received.nodump,
        larger_than=received.larger_than,
        one_file_system=received.one_file_system,
    )


def _source_out(source: Source) -> SourceOut:
    rules = source.rules
    return SourceOut(
        paths=list(source.paths),
        excludes=list(source.excludes),
        rules=RulesOut(
            caches=rules.caches,
            if_present=list(rules.if_present),
            nodump=rules.nodump,
            larger_than=rules.larger_than,
            one_file_system=rules.one_file_system,
        ),
    )
