"""The table ``item``.

Rule of the file: a removed item is out of sight unless asked for; its row stays, because its points and jobs name it.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from sqlalchemy import RowMapping
from sqlalchemy.exc import IntegrityError

from orchestrator.domain.inventory import Item, LastPoint, Named, Source
from orchestrator.domain.paging import Page, PageRequest, decode_cursor
from orchestrator.store.base import Rows, inline, statement, to_json
from orchestrator.store.paging import cut
from shared.contracts.work import ExcludeRules
from shared.errors import SkyharborError
from shared.model.backup import BackupType

_SELECT = """
SELECT i.*, m.name AS machine_name, v.name AS vault_name,
       p.id AS point_id, p.sealed_at AS point_sealed_at, p.type AS point_type,
       (SELECT min(f.due_at) FROM fire f WHERE f.item_id = i.id AND f.state = 'planned') AS next_fire_at
FROM item i
JOIN machine m ON m.id = i.machine_id
JOIN vault v ON v.id = i.vault_id
LEFT JOIN LATERAL (
    SELECT r.id, r.sealed_at, r.type FROM recovery_point r
    WHERE r.item_id = i.id AND r.state = 'sealed' ORDER BY r.cataloged_at DESC, r.id DESC LIMIT 1
) p ON true
"""


class ItemRows(Rows):
    """The protected items."""

    def add(
        self,
        *,
        item_id: str,
        name: str,
        workload: str,
        machine_id: str,
        vault_id: str,
        policy: str | None,
        source: Source,
    ) -> None:
        """Keep an item. ``already-exists``."""
        try:
            self._run(
                inline(
                    "INSERT INTO item (id, name, workload, machine_id, vault_id, policy, source)"
                    " VALUES (:id, :name, :workload, :machine_id, :vault_id, :policy, CAST(:source AS jsonb))"
                ),
                id=item_id,
                name=name,
                workload=workload,
                machine_id=machine_id,
                vault_id=vault_id,
                policy=policy,
                source=to_json(_written(source)),
            )
        except IntegrityError as error:
            raise SkyharborError("already-exists", f"there is an item named {name!r}") from error

    def get(self, ref: str, *, removed: bool = False) -> Item:
        """Return an item by id or name; of several removed ones with a name the one removed last."""
        clause = "WHERE (i.id = :ref OR i.name = :ref)" + ("" if removed else " AND i.removed_at IS NULL")
        row = self._one(inline(_SELECT + clause + " ORDER BY i.removed_at DESC NULLS FIRST LIMIT 1"), ref=ref)
        if row is None:
            raise SkyharborError("not-found", f"there is no item {ref!r}")
        return _item(row)

    def page(self, request: PageRequest) -> Page[Item]:
        """Return living items by name."""
        rows = self._all(
            inline(_SELECT + "WHERE i.removed_at IS NULL AND i.name > :after ORDER BY i.name LIMIT :limit"),
            after=decode_cursor(request.cursor) or "",
            limit=request.limit + 1,
        )
        return cut([_item(row) for row in rows], request.limit, lambda item: item.name)

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
        point = LastPoint(id=row["point_id"], sealed_at=row["point_sealed_at"], type=BackupType(row["point_type"]))
    return Item(
        id=row["id"],
        name=row["name"],
        workload=row["workload"],
        machine=Named(row["machine_id"], row["machine_name"]),
        vault=Named(row["vault_id"], row["vault_name"]),
        policy=row["policy"],
        source=_read(row["source"]),
        created_at=row["created_at"],
        paused_at=row["paused_at"],
        removed_at=row["removed_at"],
        last_point=point,
        next_fire_at=row["next_fire_at"],
    )


def _written(source: Source) -> dict[str, object]:
    rules = msgspec.to_builtins(source.rules)
    return {"paths": list(source.paths), "excludes": list(source.excludes), "rules": rules}


def _read(written: Mapping[str, object]) -> Source:
    """Return a source; one that was written before there were rules has none."""
    rules = msgspec.convert(written.get("rules", {}), ExcludeRules)
    return Source(
        paths=msgspec.convert(written["paths"], tuple[str, ...]),
        excludes=msgspec.convert(written["excludes"], tuple[str, ...]),
        rules=rules,
    )
