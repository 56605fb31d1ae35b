"""The table ``item``.

Rule of the file: a removed item is out of sight unless asked for; its row stays, because its points and jobs name it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy.exc import IntegrityError

from orchestrator.domain.inventory import Care, Item, ItemAtRisk, LastPoint, Named, NewItem
from orchestrator.domain.names import no_such
from orchestrator.domain.paging import Page, PageRequest, decode_cursor
from orchestrator.domain.policy import RetentionSpec
from orchestrator.store.base import RowMapping, Rows, inline, statement, to_json
from orchestrator.store.paging import cut
from shared.contracts.sources import SourceSpec, spec_from, workload_of
from shared.decoders import converted
from shared.errors import SkyharborError
from shared.model.backup import BackupType

_SELECT = """
SELECT i.*, m.name AS machine_name, v.name AS vault_name,
       p.id AS point_id, p.sealed_at AS point_sealed_at, p.type AS point_type,
       p.moments_from, p.moments_until,
       (SELECT min(f.due_at) FROM fire f WHERE f.item_id = i.id AND f.state = 'planned') AS next_fire_at
FROM item i
JOIN machine m ON m.id = i.machine_id
JOIN vault v ON v.id = i.vault_id
LEFT JOIN LATERAL (
    SELECT r.id, r.sealed_at, r.type, r.moments_from, r.moments_until FROM recovery_point r
    WHERE r.item_id = i.id AND r.state = 'sealed' ORDER BY r.cataloged_at DESC, r.id DESC LIMIT 1
) p ON true
"""


class ItemRows(Rows):
    """The protected items."""

    def add(self, item: NewItem) -> None:
        """Keep an item. ``already-exists``."""
        try:
            self._run(
                inline(
                    "INSERT INTO item (id, name, workload, machine_id, vault_id, source, policy, chosen, tags,"
                    " rpo_seconds, retention, hypervisor)"
                    " VALUES (:id, :name, :workload, :machine_id, :vault_id, CAST(:source AS jsonb), :policy, :chosen,"
                    " CAST(:tags AS text[]), :rpo, CAST(:retention AS jsonb), :hypervisor)"
                ),
                id=item.id,
                name=item.name,
                workload=workload_of(item.source),
                machine_id=item.machine_id,
                vault_id=item.vault_id,
                source=to_json(_written(item.source)),
                **_care(item.care, by_tags=item.by_tags),
            )
        except IntegrityError as error:
            raise SkyharborError("already-exists", f"there is an item named {item.name!r}") from error

    def change(self, item_id: str, *, source: SourceSpec, care: Care, by_tags: bool) -> None:
        """Replace an item's source and care; its fires to come are taken back and planned anew."""
        self._run(statement("lock_items"), item_id=item_id, policy=None)
        self._run(statement("take_back_fires"), item_id=item_id, policy=None)
        self._run(
            inline(
                "UPDATE item SET source = CAST(:source AS jsonb), policy = :policy, chosen = :chosen,"
                " tags = CAST(:tags AS text[]), rpo_seconds = :rpo, retention = CAST(:retention AS jsonb),"
                " hypervisor = :hypervisor WHERE id = :id"
            ),
            id=item_id,
            source=to_json(_written(source)),
            **_care(care, by_tags=by_tags),
        )

    def note_run(self, item_id: str, *, runs: Sequence[float], rates: Sequence[float]) -> None:
        """Remember how long the item's last backups took and what they needed of the line."""
        self._run(
            inline(
                "UPDATE item SET recent_seconds = CAST(:runs AS real[]), recent_rates = CAST(:rates AS real[])"
                " WHERE id = :id"
            ),
            id=item_id,
            runs=list(runs),
            rates=list(rates),
        )

    def get(self, ref: str, *, removed: bool = False) -> Item:
        """Return an item by id or name; of several removed ones with a name the one removed last."""
        clause = "WHERE (i.id = :ref OR i.name = :ref)" + ("" if removed else " AND i.removed_at IS NULL")
        row = self._one(inline(_SELECT + clause + " ORDER BY i.removed_at DESC NULLS FIRST LIMIT 1"), ref=ref)
        if row is None:
            raise no_such("item", ref)
        return _item(row)

    def page(self, request: PageRequest) -> Page[Item]:
        """Return living items by name."""
        rows = self._all(
            inline(_SELECT + "WHERE i.removed_at IS NULL AND i.name > :after ORDER BY i.name LIMIT :limit"),
            after=decode_cursor(request.cursor) or "",
            limit=request.limit + 1,
        )
        return cut([_item(row) for row in rows], request.limit, lambda item: item.name)

    def page_of_removed(self, request: PageRequest, *, name: str | None) -> Page[Item]:
        """Return removed items that still have points, in the order in which they were added."""
        named = "" if name is None else " AND i.name = :name"
        rows = self._all(
            inline(
                f"{_SELECT}WHERE i.removed_at IS NOT NULL{named} AND i.id > :after AND EXISTS (SELECT FROM"
                " recovery_point r WHERE r.item_id = i.id AND r.state <> 'expired') ORDER BY i.id LIMIT :limit"
            ),
            after=decode_cursor(request.cursor) or "",
            limit=request.limit + 1,
            **({} if name is None else {"name": name}),
        )
        return cut([_item(row) for row in rows], request.limit, lambda item: item.id)

    def page_at_risk(self, request: PageRequest) -> Page[ItemAtRisk]:
        """Return living items without a sound point, and those whose last backup failed, by name."""
        rows = self._all(statement("items_at_risk"), after=decode_cursor(request.cursor) or "", limit=request.limit + 1)
        return cut([_at_risk(row) for row in rows], request.limit, lambda item: item.name)

    def pause(self, item_id: str) -> None:
        """Set ``paused_at`` and take planned fires back."""
        self._take_back(item_id, reason="the item was paused")
        self._run(
            inline("UPDATE item SET paused_at = coalesce(paused_at, clock_timestamp()) WHERE id = :id"), id=item_id
        )

    def resume(self, item_id: str) -> None:
        """Clear ``paused_at``; planning goes on from now."""
        self._run(
            inline("UPDATE item SET paused_at = NULL, planned_through = clock_timestamp() WHERE id = :id"), id=item_id
        )

    def remove(self, item_id: str) -> None:
        """Set ``removed_at`` and take planned fires back."""
        self._take_back(item_id, reason="the item was removed")
        self._run(inline("UPDATE item SET removed_at = clock_timestamp() WHERE id = :id"), id=item_id)

    def _take_back(self, item_id: str, *, reason: str) -> None:
        self._run(statement("lock_items"), item_id=item_id, policy=None)
        self._run(statement("take_back_fires"), item_id=item_id, policy=None)
        self._run(
            inline(
                "UPDATE fire SET state = 'skipped', reason = :reason, settled_at = clock_timestamp()"
                " WHERE item_id = :id AND state = 'planned'"
            ),
            id=item_id,
            reason=reason,
        )


def _item(row: RowMapping) -> Item:
    point = None
    if row["point_id"] is not None:
        point = LastPoint(
            id=row["point_id"],
            sealed_at=row["point_sealed_at"],
            type=BackupType(row["point_type"]),
            moments_from=row["moments_from"],
            moments_until=row["moments_until"],
        )
    return Item(
        id=row["id"],
        name=row["name"],
        machine=Named(row["machine_id"], row["machine_name"]),
        vault=Named(row["vault_id"], row["vault_name"]),
        policy=row["policy"],
        source=_read(row["workload"], row["source"]),
        created_at=row["created_at"],
        paused_at=row["paused_at"],
        removed_at=row["removed_at"],
        last_point=point,
        next_fire_at=row["next_fire_at"],
        by_tags=row["chosen"] == "tags",
        tags=tuple(row["tags"]),
        rpo=row["rpo_seconds"],
        retention=None if row["retention"] is None else converted(row["retention"], RetentionSpec),
        hypervisor=row["hypervisor"],
        runs=tuple(row["recent_seconds"]),
        rates=tuple(row["recent_rates"]),
    )


def _at_risk(row: RowMapping) -> ItemAtRisk:
    has_failed = row["job_state"] not in (None, "completed")
    return ItemAtRisk(
        item_id=row["id"],
        name=row["name"],
        workload=row["workload"],
        newest=row["sealed_at"],
        job_id=row["job_id"],
        ended_at=row["finished_at"],
        failed=(row["error_code"] or row["job_state"], row["error_message"] or "") if has_failed else None,
    )


def _care(care: Care, *, by_tags: bool) -> dict[str, object]:
    return {
        "policy": care.policy,
        "chosen": "tags" if by_tags else "item",
        "tags": list(care.tags),
        "rpo": care.rpo,
        "retention": None if care.retention is None else to_json(msgspec.to_builtins(care.retention)),
        "hypervisor": care.hypervisor,
    }


def _written(source: SourceSpec) -> dict[str, object]:
    written: dict[str, object] = msgspec.to_builtins(source)
    return written


def _read(workload: str, written: Mapping[str, object]) -> SourceSpec:
    """Return a source; one that was written before there were several workloads does not say which it is of."""
    return spec_from({"workload": workload, **written})
