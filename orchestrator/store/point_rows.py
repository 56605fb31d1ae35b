"""The table ``recovery_point``: the catalog.

Rule of the file: a point enters once, in the transaction that completes its job; ``cataloged_at``, by the database's
clock, orders points, for the clocks of workers may differ. The vault stays the truth about a point's content.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from sqlalchemy.exc import IntegrityError

from orchestrator.domain.inventory import Named, NewPoint, RecoveryPoint
from orchestrator.domain.job_states import PointState
from orchestrator.domain.names import no_such
from orchestrator.domain.paging import Page, PageRequest, decode_cursor
from orchestrator.store.bandwidth import read_plan
from orchestrator.store.base import RowMapping, Rows, inline
from orchestrator.store.ids import full_id
from orchestrator.store.newest_point import lock_item_of, note_newest
from orchestrator.store.paging import cut
from shared.errors import SkyharborError
from shared.model.backup import BackupType

_SELECT = """
SELECT r.*, i.name AS item_name, m.name AS machine_name, m.key_slots, v.name AS vault_name, v.url AS vault_url,
       v.bandwidth AS vault_bandwidth
FROM recovery_point r
JOIN item i ON i.id = r.item_id
JOIN machine m ON m.id = r.machine_id
JOIN vault v ON v.id = r.vault_id
"""


class PointRows(Rows):
    """The catalog of recovery points."""

    def add(self, point: NewPoint) -> None:
        """Keep a new point. ``conflict`` when the job has one already."""
        try:
            self._run(
                inline(
                    "INSERT INTO recovery_point (id, job_id, item_id, machine_id, vault_id, type, reference, sealed_at,"
                    " files, bytes, bytes_transferred, bytes_stored, manifest, manifest_sha256, warnings,"
                    " moments_from, moments_until)"
                    " VALUES (:id, :job_id, :item_id, :machine_id, :vault_id, :type, :reference, :sealed_at, :files,"
                    " :bytes, :bytes_transferred, :bytes_stored, :manifest, :manifest_sha256, :warnings,"
                    " :moments_from, :moments_until)"
                ),
                **asdict(point),
            )
        except IntegrityError as error:
            raise SkyharborError("conflict", f"the catalog has a point of job {point.job_id} already") from error
        note_newest(self._db, point.item_id, look=True)

    def get(self, ref: str) -> RecoveryPoint:
        """Return a point by id or a beginning of one."""
        row = self._one(inline(_SELECT + "WHERE r.id = :id"), id=full_id(self._db, "recovery point", ref))
        if row is None:
            raise no_such("recovery point", ref)
        return _point(row)

    def share(self, point_id: str) -> RecoveryPoint:
        """Return a point that nobody changes until the commit; others may share it."""
        self._run(inline("SELECT 1 FROM recovery_point WHERE id = :id FOR SHARE"), id=point_id)
        return self.get(point_id)

    def lock(self, ref: str) -> RecoveryPoint:
        """Return a point, locked until the commit after its item."""
        point_id = full_id(self._db, "recovery point", ref)
        lock_item_of(self._db, point_id)
        self._run(inline("SELECT 1 FROM recovery_point WHERE id = :id FOR NO KEY UPDATE"), id=point_id)
        return self.get(point_id)

    def last(self, item_id: str, *, full_only: bool = False) -> RecoveryPoint | None:
        """Return the item's newest sealed point."""
        only = " AND r.type = 'full'" if full_only else ""
        row = self._one(
            inline(
                _SELECT
                + f"WHERE r.item_id = :id AND r.state = 'sealed'{only} ORDER BY r.cataloged_at DESC, r.id DESC LIMIT 1"
            ),
            id=item_id,
        )
        return None if row is None else _point(row)

    def newest(self, item_id: str) -> RecoveryPoint | None:
        """Return the item's newest point, sealed or damaged."""
        order = "ORDER BY r.cataloged_at DESC, r.id DESC LIMIT 1"
        row = self._one(
            inline(f"{_SELECT}WHERE r.item_id = :id AND r.state IN ('sealed', 'damaged') {order}"), id=item_id
        )
        return None if row is None else _point(row)

    def page(self, request: PageRequest, *, item_id: str | None) -> Page[RecoveryPoint]:
        """Return points, newest first."""
        clauses = ["r.state <> 'expired'"]
        parameters: dict[str, object] = {"limit": request.limit + 1}
        if item_id is not None:
            clauses.append("r.item_id = :item_id")
            parameters["item_id"] = item_id
        cursor = decode_cursor(request.cursor)
        if cursor is not None:
            clauses.append(
                "(r.cataloged_at, r.id) < (SELECT p.cataloged_at, p.id FROM recovery_point p WHERE p.id = :before)"
            )
            parameters["before"] = cursor
        sql = _SELECT + "WHERE " + " AND ".join(clauses) + " ORDER BY r.cataloged_at DESC, r.id DESC LIMIT :limit"
        points = [_point(row) for row in self._all(inline(sql), **parameters)]
        return cut(points, request.limit, lambda point: point.id)

    def verified(self, point_id: str, *, how: str) -> None:
        """Note a proof; a full one makes a damaged point sealed again."""
        item_id = lock_item_of(self._db, point_id)
        row = self._one(
            inline(
                "UPDATE recovery_point r SET verified_at = clock_timestamp(), verified_how = :how,"
                " looked_at = CASE WHEN :how = 'full' THEN NULL ELSE r.looked_at END,"
                " state = CASE WHEN :how = 'full' AND r.state = 'damaged' THEN 'sealed' ELSE r.state END"
                " FROM (SELECT id, state FROM recovery_point WHERE id = :id FOR NO KEY UPDATE) was"
                " WHERE r.id = was.id RETURNING r.state <> was.state AS healed"
            ),
            id=point_id,
            how=how,
        )
        if item_id is not None and row is not None and row["healed"]:
            note_newest(self._db, item_id)

    def damaged(self, point_id: str) -> None:
        """Mark a point as damaged. It is kept with that, also if it was expiring: its job kept it from being doomed."""
        item_id = lock_item_of(self._db, point_id)
        self._run(
            inline(
                "UPDATE recovery_point SET state = 'damaged', expiring_at = NULL, expiring_generation = NULL,"
                " expiry_reason = NULL, looked_at = CASE WHEN state = 'damaged' THEN looked_at END"
                " WHERE id = :id AND state <> 'expired' AND doomed_at IS NULL"
            ),
            id=point_id,
        )
        if item_id is not None:
            note_newest(self._db, item_id)

    def hold(self, point_id: str, *, until: datetime | None) -> None:
        """Hold a locked point."""
        row = self._one(
            inline(
                "UPDATE recovery_point SET held_at = clock_timestamp(), held_until = :until, state = CASE"
                " WHEN state <> 'expiring' THEN state WHEN looked_at IS NULL THEN 'sealed' ELSE 'damaged' END,"
                " expiring_at = NULL, expiring_generation = NULL, expiry_reason = NULL WHERE id = :id RETURNING item_id"
            ),
            id=point_id,
            until=until,
        )
        if row is not None:
            note_newest(self._db, row["item_id"], look=True)

    def release(self, point_id: str) -> None:
        """End the hold of a locked point; somebody has looked at a damaged one."""
        row = self._one(
            inline(
                "UPDATE recovery_point SET held_at = NULL, held_until = NULL, looked_at = CASE"
                " WHEN state = 'damaged' THEN clock_timestamp() ELSE looked_at END WHERE id = :id RETURNING item_id"
            ),
            id=point_id,
        )
        if row is not None:
            note_newest(self._db, row["item_id"], look=True)


def _point(row: RowMapping) -> RecoveryPoint:
    return RecoveryPoint(
        id=row["id"],
        item=Named(row["item_id"], row["item_name"]),
        machine=Named(row["machine_id"], row["machine_name"]),
        machine_key_slots=tuple(row["key_slots"]),
        vault=Named(row["vault_id"], row["vault_name"]),
        vault_url=row["vault_url"],
        type=BackupType(row["type"]),
        reference=row["reference"],
        state=PointState(row["state"]),
        sealed_at=row["sealed_at"],
        files=row["files"],
        bytes=row["bytes"],
        bytes_transferred=row["bytes_transferred"],
        bytes_stored=row["bytes_stored"],
        manifest=row["manifest"],
        manifest_sha256=row["manifest_sha256"],
        job_id=row["job_id"],
        verified_at=row["verified_at"],
        verified_how=row["verified_how"],
        held_at=row["held_at"],
        held_until=row["held_until"],
        looked_at=row["looked_at"],
        expiring_at=row["expiring_at"],
        expiry_reason=row["expiry_reason"],
        doomed_at=row["doomed_at"],
        expired_at=row["expired_at"],
        warnings=row["warnings"],
        moments_from=row["moments_from"],
        moments_until=row["moments_until"],
        vault_bandwidth=read_plan(row["vault_bandwidth"]),
    )
