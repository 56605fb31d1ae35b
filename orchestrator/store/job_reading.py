"""How a job is read: one SELECT and one mapping, used by everybody.

Rule of the file: reading only; what the queue looks like is asked for separately.
"""

from __future__ import annotations

from orchestrator.domain.job_states import JobState
from orchestrator.domain.jobs import Job, JobError, Trigger
from orchestrator.store.base import RowMapping
from shared.model.backup import BackupType, ConflictRule, JobKind

SELECT_JOB = """
SELECT j.*, coalesce(i.name, '') AS item, v.name AS vault, u.worker, u.progress,
       s.files_done, s.bytes_done, s.bytes_transferred
FROM job j
LEFT JOIN item i ON i.id = j.item_id
JOIN vault v ON v.id = j.vault_id
JOIN unit u ON u.job_id = j.id AND u.no = 0
LEFT JOIN LATERAL (
    SELECT sum((p.progress ->> 'files_done')::bigint)::bigint AS files_done,
           sum((p.progress ->> 'bytes_done')::bigint)::bigint AS bytes_done,
           sum((p.progress ->> 'bytes_transferred')::bigint)::bigint AS bytes_transferred
    FROM unit p
    WHERE p.job_id = j.id AND p.no > 0
) s ON true
"""

_SHARED = ("files_done", "bytes_done", "bytes_transferred")


def read_job(row: RowMapping) -> Job:
    """Return the job of a row of ``SELECT_JOB``."""
    error = None
    if row["error_code"] is not None:
        error = JobError(row["error_code"], row["error_message"] or "", row["error_hint"] or "")
    return Job(
        id=row["id"],
        kind=JobKind(row["kind"]),
        state=JobState(row["state"]),
        trigger=Trigger(row["trigger"]),
        item_id=row["item_id"] or "",
        item=row["item"],
        machine_id=row["machine_id"] or "",
        vault_id=row["vault_id"],
        vault=row["vault"],
        point_id=row["point_id"] or "",
        requested_type=BackupType(row["requested_type"]) if row["requested_type"] else None,
        type=BackupType(row["type"]) if row["type"] else None,
        attempt=row["attempt"],
        max_attempts=row["max_attempts"],
        losses=row["losses"],
        epoch=row["epoch"],
        created_at=row["created_at"],
        due_at=row["due_at"],
        admitted_at=row["admitted_at"],
        started_at=row["started_at"],
        attempt_started_at=row["attempt_started_at"],
        committing_at=row["committing_at"],
        finished_at=row["finished_at"],
        cancel_requested_at=row["cancel_requested_at"],
        cancel_reason=row["cancel_reason"],
        start_by=row["start_by"],
        finish_by=row["finish_by"],
        tenant=row["tenant"],
        estimate=row["estimate"],
        mib_per_second=row["mib_per_second"],
        latest_start=row["latest_start"],
        longest_pause=row["longest_pause"],
        backoff_seconds=row["backoff_seconds"],
        wait_reason=row["wait_reason"],
        worker=row["worker"],
        progress=_progress(row),
        error=error,
        stats=row["stats"],
        warnings=tuple(row["warnings"]),
        policy_version=row["policy_version"],
        requested_by=row["requested_by"],
        retry_of=row["retry_of"],
        target=row["target"],
        paths=tuple(row["paths"]),
        conflict=ConflictRule(row["conflict"]) if row["conflict"] else None,
        full=row["full_check"],
        reference=row["reference"],
        hurried=row["hurried"],
        options=row["options"],
    )


def _progress(row: RowMapping) -> dict[str, int | str] | None:
    """Return the lead's progress with what its shards have done: one job, whoever works on it."""
    lead = row["progress"]
    if lead is None:
        return None
    return {**lead, **{key: lead.get(key, 0) + (row[key] or 0) for key in _SHARED}}
