"""Counts for the status page and /metrics.

Rule of the file: reading only; everything by an index.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from orchestrator.domain.alarms import AlarmKind
from orchestrator.domain.job_states import JobState
from orchestrator.domain.system import Numbers
from orchestrator.store.base import inline, statement
from orchestrator.store.objective_rows import ObjectiveRows
from orchestrator.store.slot_rows import SlotRows


def count_by_state(db: Connection) -> Mapping[str, int]:
    """Return the number of jobs in every state; states without jobs are 0."""
    rows = db.execute(statement("count_by_state")).all()
    counted = {str(state): int(count) for state, count in rows}
    return {state.value: counted.get(state.value, 0) for state in JobState}


def read_numbers(db: Connection) -> Numbers:
    """Return what /metrics shows."""
    reasons = db.execute(
        inline(
            "SELECT coalesce(wait_reason, 'admission'), count(*) FROM job"
            " WHERE state IN ('scheduled', 'available', 'retryable') GROUP BY 1"
        )
    ).all()
    single = db.execute(
        inline(
            "SELECT (SELECT count(*) FROM worker WHERE last_seen_at > clock_timestamp() - interval '60 seconds'),"
            " (SELECT count(*) FROM outbox WHERE published_at IS NULL),"
            " (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0) FROM job"
            "  WHERE state IN ('scheduled', 'available', 'retryable')),"
            " (SELECT coalesce(sum(points), 0) FROM vault),"
            " (SELECT count(*) FROM fire WHERE state = 'missed'),"
            " (SELECT round_at FROM auditor), clock_timestamp(), (SELECT count(*) FROM audit_unsealed)"
        )
    ).one()
    last = db.execute(
        inline("SELECT id, newest_point_at FROM item WHERE removed_at IS NULL AND newest_point_at IS NOT NULL")
    ).all()
    alarms = db.execute(inline("SELECT kind, count(*) FROM alarm WHERE closed_at IS NULL GROUP BY kind")).all()
    alarms_open = {str(kind): int(count) for kind, count in alarms}
    by_verdict = ObjectiveRows(db).count_by_verdict(now=single[6])
    return Numbers(
        jobs_by_state=count_by_state(db),
        waiting_by_reason={str(reason): int(count) for reason, count in reasons},
        slots=SlotRows(db).noteworthy(),
        workers_alive=int(single[0]),
        outbox_pending=int(single[1]),
        oldest_waiting_seconds=float(single[2]),
        points=int(single[3]),
        fires_missed=int(single[4]),
        auditor_round_at=single[5],
        audit_unsealed=int(single[7]),
        alarms_open={kind.value: alarms_open.get(kind.value, 0) for kind in AlarmKind},
        items_by_verdict={verdict.value: count for verdict, count in by_verdict.items()},
        last_point_at={str(item_id): newest for item_id, newest in last},
    )
