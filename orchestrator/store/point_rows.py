"""The table ``recovery_point``: the catalog.

Rule of the file: a point enters once, in the transaction that completes its job; ``cataloged_at``, by the database's
clock, orders points, for the clocks of workers may differ. The vault stays the truth about a point's content.
"""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy.exc import IntegrityError

from orchestrator.domain.inventory import Named, NewPoint, RecoveryPoint
from orchestrator.domain.job_states import PointState
from orchestrator.domain.paging import Page, PageRequest, decode_cursor
from orchestrator.store.bandwidth import read_plan
from orchestrator.store.base import RowMapping, Rows, inline
from orchestrator.store.ids import full_id
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
                    " files, bytes, bytes_transferred, bytes_stored, manifest, manifest_sha256, warnings)"
                    " VALUES (:id, :job_id, :item_id, :machine_id, :vault_id, :type, :reference, :sealed_at, :files,"
                    " :bytes, :bytes_transferred, :bytes_stored, :manifest, :manifest_sha256, :warnings)"
                ),
                **asdict(point),
            )
        except IntegrityError as error:
            raise SkyharborError("conflict", f"the catalog has a point of job {point.job_id} already") from error
        self._note_newest(point.item_id)

    def get(self, ref: str) -> RecoveryPoint:
        """Return a point by id or a beginning of one."""
        row = self._one(inline(_SELECT + "WHERE r.id = :id"), id=full_id(self._db, "recovery point", ref))
        if row is None:
            raise SkyharborError("not-found", f"there is no recovery point {ref}")
        return _point(row)

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
        row = self._one(inline(f"{_SELECT}WHERE r.item_id = :id AND r.state <> 'expired' {order}"), id=item_id)
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
        row = self._one(
            inline(
                "UPDATE recovery_point r SET verified_at = clock_timestamp(), verified_how = :how,"
                " state = CASE WHEN :how = 'full' AND r.state = 'damaged' THEN 'sealed' ELSE r.state END"
                " FROM (SELECT id, state FROM recovery_point WHERE id = :id FOR UPDATE) was"
                " WHERE r.id = was.id RETURNING r.item_id, r.state <> was.state AS healed"
            ),
            id=point_id,
            how=how,
        )
        if row is not None and row["healed"]:
            self._note_newest(row["item_id"])

    def set_state(self, point_id: str, state: PointState) -> None:
        """Set the state of a point that is not expired."""
        self._run(
            inline("UPDATE recovery_point SET state = :state WHERE id = :id AND state <> 'expired'"),
            id=point_id,
            state=state,
        )
        self._note_newest_of(point_id)

    def _note_newest_of(self, point_id: str) -> None:
        row = self._one(inline("SELECT item_id FROM recovery_point WHERE id = :id"), id=point_id)
        if row is not None:
            self._note_newest(row["item_id"])

    def _note_newest(self, item_id: str) -> None:
        """Keep with the item when its newest sealed point came: promises of a whole fleet are judged by it."""
        self._run(
            inline(
                "UPDATE item SET newest_point_at = (SELECT max(r.cataloged_at) FROM recovery_point r"
                " WHERE r.item_id = item.id AND r.state = 'sealed') WHERE id = :id"
            ),
            id=item_id,
        )


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
        held_until=row["held_until"],
        warnings=row["warnings"],
        vault_bandwidth=read_plan(row["vault_bandwidth"]),
    )
