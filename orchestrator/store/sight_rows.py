"""What the auditor sees, and its one row of memory.

Rule of the file: it reads what jobs, points, workers and the leader have left behind, and writes none of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from orchestrator.domain.alarms import AlarmKind
from orchestrator.domain.job_states import TERMINAL
from orchestrator.domain.oversight import (
    DamagedPoint,
    EndlessJob,
    FailedCollect,
    HeldBack,
    OverdueItem,
    PlannerLag,
    PointHistory,
)
from orchestrator.domain.sizes import MOST_EARLIER, PointSize
from orchestrator.store.base import RowMapping, Rows, inline, statement
from orchestrator.store.objective_rows import PROMISE
from shared.model.backup import BackupType

_LOCK = 0x61756474  # "audt": one auditor is at work at a time

_OVERDUE = f"""
WITH {PROMISE}
SELECT i.id AS item_id, i.name, i.created_at, i.paused_at, i.newest_point_at AS newest,
       coalesce(i.rpo_seconds, promise.rpo) AS rpo
FROM item i
LEFT JOIN promise ON promise.name = i.policy
WHERE i.removed_at IS NULL
  AND coalesce(i.newest_point_at, i.created_at)
      < :now - make_interval(secs => coalesce(i.rpo_seconds, promise.rpo))
ORDER BY i.name
"""  # noqa: S608 - nothing of anybody is pasted


class SightRows(Rows):
    """What there is to be seen."""

    def enter(self) -> bool:
        """Try to be the only auditor at work; held until the commit."""
        return bool(self._db.execute(inline("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": _LOCK}).scalar_one())

    def looked_through(self) -> datetime | None:
        """Return up to when new points have been looked at."""
        row = self._one(inline("SELECT looked_through FROM auditor"))
        return None if row is None else row["looked_through"]

    def note_round(self, *, through: datetime) -> None:
        """Remember a round."""
        self._run(
            inline(
                "INSERT INTO auditor (round_at, looked_through) VALUES (clock_timestamp(), :through)"
                " ON CONFLICT (single) DO UPDATE SET round_at = excluded.round_at,"
                " looked_through = excluded.looked_through"
            ),
            through=through,
        )

    def overdue(self, *, now: datetime) -> Sequence[OverdueItem]:
        """Return the living items whose promise is broken."""
        return [OverdueItem(**row) for row in self._all(inline(_OVERDUE), now=now)]

    def lag(self, *, before: datetime) -> PlannerLag:
        """Return what the planner has left undone."""
        row = self._one(
            inline(
                "SELECT (SELECT count(*) FROM fire WHERE state = 'planned' AND due_at < :before) AS fires,"
                " (SELECT count(*) FROM item WHERE removed_at IS NULL AND paused_at IS NULL AND policy IS NOT NULL"
                "  AND planned_through < :before) AS items"
            ),
            before=before,
        )
        return PlannerLag(0, 0) if row is None else PlannerLag(row["fires"], row["items"])

    def endless(self, *, before: datetime) -> Sequence[EndlessJob]:
        """Return scheduled jobs that were filed before then and have not ended."""
        rows = self._all(
            inline(
                "SELECT j.id, i.name, j.state, f.settled_at FROM job j JOIN fire f ON f.job_id = j.id"
                " JOIN item i ON i.id = j.item_id"
                " WHERE j.state <> ALL (CAST(:ended AS text[])) AND f.settled_at < :before ORDER BY j.id"
            ),
            before=before,
            ended=[state.value for state in TERMINAL],
        )
        return [EndlessJob(row["id"], row["name"], row["state"], row["settled_at"]) for row in rows]

    def histories(self, *, since: datetime) -> Sequence[PointHistory]:
        """Return the points of items with a new one, and of those with an open alarm about sizes."""
        rows = self._all(statement("point_histories"), since=since, kind=AlarmKind.SIZE_CHANGED, limit=1 + MOST_EARLIER)
        return [_history(row) for row in rows]

    def damaged(self) -> Sequence[DamagedPoint]:
        """Return the damaged points."""
        rows = self._all(
            inline(
                "SELECT r.id, i.name FROM recovery_point r JOIN item i ON i.id = r.item_id"
                " WHERE r.state = 'damaged' ORDER BY r.id"
            )
        )
        return [DamagedPoint(row["id"], row["name"]) for row in rows]

    def held_back(self) -> Sequence[HeldBack]:
        """Return the living items of which retention holds points back."""
        rows = self._all(
            inline(
                "SELECT id, name, held_back FROM item WHERE held_back IS NOT NULL AND removed_at IS NULL ORDER BY name"
            )
        )
        return [HeldBack(row["id"], row["name"], row["held_back"]) for row in rows]

    def failed_collects(self) -> Sequence[FailedCollect]:
        """Return the vaults whose last collection that ended failed for good."""
        rows = self._all(
            inline(
                "SELECT v.id, v.name, c.id AS job, c.error_code, c.error_message FROM vault v CROSS JOIN LATERAL ("
                " SELECT j.id, j.state, j.error_code, j.error_message FROM job j WHERE j.vault_id = v.id"
                " AND j.kind = 'collect' AND j.state IN ('completed', 'discarded', 'expired')"
                " ORDER BY j.id DESC LIMIT 1) c WHERE c.state <> 'completed' ORDER BY v.name"
            )
        )
        return [
            FailedCollect(row["id"], row["name"], row["job"], f"{row['error_code']}: {row['error_message']}")
            for row in rows
        ]

    def waiting(self, *, before: datetime) -> int:
        """Return how many jobs have been ready to start since before then."""
        sql = inline("SELECT count(*) FROM job WHERE state = 'available' AND due_at < :before")
        return int(self._db.execute(sql, {"before": before}).scalar_one())

    def workers(self, *, since: datetime) -> int:
        """Return how many workers have given a sign of life since then."""
        sql = inline("SELECT count(*) FROM worker WHERE last_seen_at > :since")
        return int(self._db.execute(sql, {"since": since}).scalar_one())

    def led_until(self) -> datetime | None:
        """Return when the leader's lease ends or ended."""
        row = self._one(inline("SELECT expires_at FROM leader WHERE name = 'tower'"))
        return None if row is None else row["expires_at"]


def _history(row: RowMapping) -> PointHistory:
    newest, *earlier = (
        PointSize(BackupType(type_), files, size, transferred)
        for type_, files, size, transferred in zip(
            row["types"], row["files"], row["sizes"], row["transferred"], strict=True
        )
    )
    return PointHistory(row["id"], row["name"], newest, tuple(earlier))
