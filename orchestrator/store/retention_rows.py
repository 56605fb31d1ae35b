"""Points on their way from sealed to expiring.

Rule of the file: the item is locked first, then its points, then the generation of its vault.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta

from orchestrator.domain.collecting import Ruled
from orchestrator.domain.policy import PolicySpec, RetentionSpec
from orchestrator.domain.retention import Kept
from orchestrator.store.base import RowMapping, Rows, inline, statement
from orchestrator.store.newest_point import note_newest
from shared.decoders import converted
from shared.errors import SkyharborError


class RetentionRows(Rows):
    """Retention's view of items and points."""

    def due(self, *, limit: int) -> Sequence[Ruled]:
        """Return items whose time to be looked at has come."""
        return [_ruled(row) for row in self._all(statement("retention_due"), limit=limit)]

    def rule(self, item_id: str, *, lock: bool = False) -> Ruled:
        """Return the rule of an item, its row locked if asked."""
        if lock:
            self._run(inline("SELECT 1 FROM item WHERE id = :id FOR NO KEY UPDATE"), id=item_id)
        row = self._one(
            inline(
                "SELECT i.id, i.retention AS own, i.held_back, i.removed_at, v.spec FROM item i"
                " LEFT JOIN policy p ON p.name = i.policy"
                " LEFT JOIN policy_version v ON v.policy = p.name AND v.n = p.newest WHERE i.id = :id"
            ),
            id=item_id,
        )
        if row is None:
            raise SkyharborError("not-found", f"there is no item {item_id!r}")
        return _ruled(row)

    def points(self, item_ids: Sequence[str]) -> Mapping[str, Sequence[Kept]]:
        """Return what has not expired, by item."""
        found: defaultdict[str, list[Kept]] = defaultdict(list)
        for row in self._all(statement("points_to_judge"), items=list(item_ids)):
            found[row["item_id"]].append(_kept(row))
        return found

    def expire(self, item_id: str, reasons: Mapping[str, str]) -> Sequence[str]:
        """Move points to expiring and raise the generation."""
        raised = self._one(
            inline(
                "UPDATE vault_generation g SET generation = g.generation + 1 FROM item i"
                " WHERE i.id = :item_id AND g.vault_id = i.vault_id RETURNING g.generation"
            ),
            item_id=item_id,
        )
        if raised is None:
            raise AssertionError(f"the vault of item {item_id} has no generation")
        rows = self._all(
            statement("expire_points"),
            item_id=item_id,
            generation=raised["generation"],
            points=list(reasons),
            reasons=list(reasons.values()),
        )
        note_newest(self._db, item_id)
        return [row["id"] for row in rows]

    def looked(self, item_ids: Sequence[str], *, again_in: timedelta) -> None:
        """Remember a look."""
        self._run(
            inline(
                "UPDATE item SET held_back = NULL, retention_due_at = clock_timestamp() + :again"
                " WHERE id IN (SELECT i.id FROM item i WHERE i.id = ANY (CAST(:ids AS text[]))"
                " ORDER BY i.id FOR NO KEY UPDATE SKIP LOCKED)"
            ),
            ids=list(item_ids),
            again=again_in,
        )

    def hold_back(self, item_id: str, count: int, *, again_in: timedelta) -> None:
        """Remember what waits for a person."""
        self._run(
            inline(
                "UPDATE item SET held_back = :count, retention_due_at = clock_timestamp() + :again WHERE id = :item_id"
            ),
            item_id=item_id,
            count=count,
            again=again_in,
        )


def _ruled(row: RowMapping) -> Ruled:
    spec = None if row["spec"] is None else converted(row["spec"], PolicySpec)
    rule = RetentionSpec() if spec is None else spec.retention
    if row["own"] is not None:
        rule = converted(row["own"], RetentionSpec)
    zone = "UTC" if spec is None else spec.zone.key
    return Ruled(row["id"], rule, zone, held_back=row["held_back"], removed=row["removed_at"] is not None)


def _kept(row: RowMapping) -> Kept:
    return Kept(
        id=row["id"],
        sealed_at=row["sealed_at"],
        held_until=row["held_until"],
        held=row["held_at"] is not None,
        damaged=row["damaged"],
        looked_at=row["looked_at"],
        in_use=row["in_use"],
        last=row["last"],
    )
