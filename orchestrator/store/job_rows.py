"""The table ``job``.

Rule of the file: every change is one statement guarded by id, state and epoch; zero rows mean that somebody was faster.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.domain.job_states import TERMINAL, JobState
from orchestrator.domain.jobs import Ending, Job, JobFilter, NewJob, WaitReason
from orchestrator.domain.paging import Page, PageRequest, decode_cursor
from orchestrator.store.base import Rows, inline, statement, to_json
from orchestrator.store.ids import full_id
from orchestrator.store.job_reading import SELECT_JOB, read_job
from orchestrator.store.paging import cut
from shared.errors import SkyharborError

_WAIT_AFTER = {JobState.RETRYABLE: WaitReason.BACKOFF, JobState.AVAILABLE: WaitReason.ADMISSION}


class JobRows(Rows):
    """The jobs."""

    def add(self, job: NewJob) -> None:
        """Keep a job and its unit. One due now is available at once."""
        self._run(
            inline(
                "INSERT INTO job (id, kind, state, trigger, rank, item_id, machine_id, vault_id, point_id,"
                " requested_type, type, created_at, due_at, wait_reason, policy_version, requested_by, retry_of,"
                " target, paths, conflict, full_check)"
                " VALUES (:id, :kind, :state, :trigger, :rank, :item_id, :machine_id, :vault_id, :point_id,"
                " :type, :type, coalesce(CAST(:waiting_since AS timestamptz), clock_timestamp()),"
                " coalesce(CAST(:due_at AS timestamptz), clock_timestamp()), :wait_reason,"
                " :policy_version, :requested_by, :retry_of, :target, CAST(:paths AS jsonb), :conflict, :full)"
            ),
            id=job.id,
            kind=job.kind,
            state=JobState.AVAILABLE if job.due_at is None else JobState.SCHEDULED,
            trigger=job.trigger,
            rank=job.rank,
            item_id=job.item_id,
            machine_id=job.machine_id,
            vault_id=job.vault_id,
            point_id=job.point_id,
            type=job.requested_type,
            waiting_since=job.waiting_since,
            due_at=job.due_at,
            wait_reason=WaitReason.ADMISSION if job.due_at is None else WaitReason.NOT_DUE,
            policy_version=job.policy_version,
            requested_by=job.requested_by,
            retry_of=job.retry_of,
            target=job.target,
            paths=to_json(list(job.paths)),
            conflict=job.conflict,
            full=job.full,
        )
        self._run(inline("INSERT INTO unit (job_id, no) VALUES (:id, 0)"), id=job.id)

    def get(self, ref: str) -> Job:
        """Return a job by id or a beginning of one."""
        job_id = full_id(self._db, "job", ref)
        row = self._one(inline(SELECT_JOB + "WHERE j.id = :id"), id=job_id)
        if row is None:
            raise SkyharborError("not-found", f"there is no job {ref}")
        return read_job(row)

    def lock(self, ref: str) -> Job:
        """Return a job, locked until the commit."""
        job_id = full_id(self._db, "job", ref)
        self._run(inline("SELECT 1 FROM job WHERE id = :id FOR UPDATE"), id=job_id)
        return self.get(job_id)

    def page(self, request: PageRequest, job_filter: JobFilter) -> Page[Job]:
        """Return jobs, newest first."""
        clauses = ["true"]
        parameters: dict[str, object] = {"limit": request.limit + 1}
        for clause, name, value in (
            ("j.state = :state", "state", job_filter.state),
            ("j.item_id = :item_id", "item_id", job_filter.item_id),
            ("j.kind = :kind", "kind", job_filter.kind),
            ("j.id < :before", "before", decode_cursor(request.cursor)),
        ):
            if value is not None:
                clauses.append(clause)
                parameters[name] = value
        sql = SELECT_JOB + "WHERE " + " AND ".join(clauses) + " ORDER BY j.id DESC LIMIT :limit"
        jobs = [read_job(row) for row in self._all(inline(sql), **parameters)]
        return cut(jobs, request.limit, lambda job: job.id)

    def end_attempt(self, job: Job, ending: Ending) -> None:
        """Apply an ending. The order of locks: job, unit, slots."""
        changed = self._run(
            statement("end_attempt"),
            job_id=job.id,
            before=job.state,
            epoch=job.epoch,
            state=ending.state,
            terminal=ending.state in TERMINAL,
            attempt=ending.attempt,
            losses=ending.losses,
            due_in=ending.due_in,
            backoff_seconds=ending.backoff_seconds,
            wait_reason=_WAIT_AFTER.get(ending.state),
            error_code=None if ending.error is None else ending.error.code,
            error_message=None if ending.error is None else ending.error.message,
            stats=None if ending.stats is None else to_json(dict(ending.stats)),
            warnings=None if ending.warnings is None else to_json([dict(warning) for warning in ending.warnings]),
            type=ending.type,
        )
        if changed != 1:
            raise SkyharborError("stale-claim", f"job {job.id} has moved on")
        # In the order of everybody who locks several units of a job.
        self._run(inline("SELECT 1 FROM unit WHERE job_id = :id ORDER BY no FOR UPDATE"), id=job.id)
        self._run(
            inline(
                "UPDATE unit SET claim_id = NULL, session = NULL, lease_expires_at = NULL, progress = NULL"
                " WHERE job_id = :id AND no = 0"
            ),
            id=job.id,
        )
        # Shards are parts of this attempt alone: whoever flies one finds it gone, and stops.
        self._run(inline("DELETE FROM unit WHERE job_id = :id AND no > 0"), id=job.id)
        self._run(statement("lock_slots_of_job"), job_id=job.id)
        self._run(statement("release_slots"), job_id=job.id)
        self._wake()

    def ask_cancel(self, job: Job) -> None:
        """Set ``cancel_requested_at``; a back-off is over with it."""
        changed = self._run(
            inline(
                "UPDATE job SET cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp()),"
                " due_at = CASE WHEN state = 'retryable' THEN clock_timestamp() ELSE due_at END"
                " WHERE id = :id AND state = :state AND epoch = :epoch"
            ),
            id=job.id,
            state=job.state,
            epoch=job.epoch,
        )
        if changed != 1:
            raise SkyharborError("stale-claim", f"job {job.id} has moved on")

    def lock_waiting_backups(self, item_id: str) -> Sequence[Job]:
        """Return the item's backups that hold no slots, locked, in the order of the queue."""
        locked = self._all(
            inline(
                "SELECT id FROM job WHERE item_id = :id AND kind = 'backup'"
                " AND state IN ('scheduled', 'available', 'retryable') AND admitted_at IS NULL ORDER BY id FOR UPDATE"
            ),
            id=item_id,
        )
        if not locked:
            return []
        rows = self._all(
            inline(SELECT_JOB + "WHERE j.id = ANY (CAST(:ids AS text[])) ORDER BY j.rank, j.created_at, j.id"),
            ids=[row["id"] for row in locked],
        )
        return [read_job(row) for row in rows]

    def active_backup(self, item_id: str, *, besides: Sequence[str] = ()) -> str | None:
        """Return the id of a backup of the item that has not ended."""
        row = self._one(
            inline(
                "SELECT id FROM job WHERE item_id = :id AND kind = 'backup'"
                " AND state NOT IN ('cancelled', 'completed', 'discarded', 'expired')"
                " AND id <> ALL (CAST(:besides AS text[])) ORDER BY id LIMIT 1"
            ),
            id=item_id,
            besides=list(besides),
        )
        return None if row is None else str(row["id"])
