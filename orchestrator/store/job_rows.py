"""The table ``job``.

Rule of the file: every change is one statement guarded by id, state and epoch; zero rows mean that somebody was faster.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy.exc import IntegrityError

from orchestrator.domain.inventory import DEFAULT_TENANT, AuditLine
from orchestrator.domain.job_states import TERMINAL, JobState
from orchestrator.domain.jobs import Ending, Job, JobFilter, NewJob, WaitReason
from orchestrator.domain.names import no_such
from orchestrator.domain.paging import Page, PageRequest, decode_cursor
from orchestrator.domain.urgency import AGEING, FIRST_RANK
from orchestrator.store.base import Rows, inline, statement, to_json
from orchestrator.store.ids import full_id
from orchestrator.store.job_reading import SELECT_JOB, read_job
from orchestrator.store.paging import cut
from shared.contracts.work import Fence
from shared.errors import SkyharborError

_FAILED = (JobState.RETRYABLE, JobState.DISCARDED)
_WAIT_AFTER = {JobState.RETRYABLE: WaitReason.BACKOFF, JobState.AVAILABLE: WaitReason.ADMISSION}


class JobRows(Rows):
    """The jobs."""

    def add(self, jobs: Sequence[NewJob]) -> None:
        """Keep jobs and their units. One that is due now is available at once. ``conflict``."""
        try:
            self._run(
                statement("add_jobs"),
                jobs=to_json([_written(job) for job in jobs]),
                first=FIRST_RANK,
                seconds=AGEING.total_seconds(),
                nobody=DEFAULT_TENANT,
            )
        except IntegrityError as error:
            if "job_one_open_collect" in str(error.orig):
                raise SkyharborError("conflict", "a job that collects this vault has not ended yet") from error
            raise

    def get(self, ref: str) -> Job:
        """Return a job by id or a beginning of one."""
        job_id = full_id(self._db, "job", ref)
        row = self._one(inline(SELECT_JOB + "WHERE j.id = :id"), id=job_id)
        if row is None:
            raise no_such("job", ref)
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

    def end_attempt(
        self, job: Job, ending: Ending, *, completed: Fence | None = None, told: AuditLine | None = None
    ) -> None:
        """Apply an ending, in one statement. The job is locked already: only so does it see all of its shards."""
        ended = self._one(
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
            error_hint=None if ending.error is None else ending.error.advice,
            stats=None if ending.stats is None else to_json(dict(ending.stats)),
            warnings=None if ending.warnings is None else to_json([dict(warning) for warning in ending.warnings]),
            type=ending.type,
            failed=ending.error is not None and ending.state in _FAILED,
            completed_epoch=None if completed is None else completed.epoch,
            completed_claim_id=None if completed is None else completed.claim_id,
            actor=None if told is None else told.actor,
            action=None if told is None else told.action,
            detail=None if told is None else to_json(dict(told.detail)),
        )
        if ended is None:
            raise SkyharborError("stale-claim", f"job {job.id} has moved on")
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

    def tally(self) -> None:
        """Count the jobs that ended more than an hour ago, so that nobody has to count them again."""
        self._run(statement("tally_jobs"))

    def waiting_backups(self, item_ids: Sequence[str]) -> Mapping[str, Sequence[Job]]:
        """Return the backups of these items that hold no slots, by item, locked, in the order of the queue."""
        locked = self._all(
            inline(
                "SELECT id FROM job WHERE item_id = ANY (CAST(:ids AS text[])) AND kind = 'backup'"
                " AND state IN ('scheduled', 'available', 'retryable') AND admitted_at IS NULL ORDER BY id FOR UPDATE"
            ),
            ids=list(item_ids),
        )
        found: defaultdict[str, list[Job]] = defaultdict(list)
        if locked:
            order = " ORDER BY j.aged_rank, j.latest_start, j.id"
            ids = [row["id"] for row in locked]
            for row in self._all(inline(SELECT_JOB + "WHERE j.id = ANY (CAST(:ids AS text[]))" + order), ids=ids):
                found[row["item_id"]].append(read_job(row))
        return found

    def active_backups(self, item_ids: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Return the ids of the backups of these items that have not ended, by item."""
        rows = self._all(
            inline(
                "SELECT id, item_id FROM job WHERE item_id = ANY (CAST(:ids AS text[])) AND kind = 'backup'"
                " AND state NOT IN ('cancelled', 'completed', 'discarded', 'expired') ORDER BY id"
            ),
            ids=list(item_ids),
        )
        found: defaultdict[str, list[str]] = defaultdict(list)
        for row in rows:
            found[row["item_id"]].append(row["id"])
        return found


def _written(job: NewJob) -> dict[str, object]:
    """Return a new job as ``add_jobs`` takes it."""
    moments = {
        name: None if moment is None else moment.isoformat()
        for name, moment in (
            ("due_at", job.due_at),
            ("waiting_since", job.waiting_since),
            ("latest_start", job.latest_start),
            ("start_by", job.start_by),
            ("finish_by", job.finish_by),
        )
    }
    return moments | {
        "id": job.id,
        "kind": job.kind,
        "trigger": job.trigger,
        "rank": job.rank,
        "item_id": job.item_id or None,
        "machine_id": job.machine_id or None,
        "vault_id": job.vault_id,
        "point_id": job.point_id or None,
        "type": job.requested_type,
        "estimate": job.estimate,
        "mib_per_second": job.mib_per_second,
        "max_attempts": job.max_attempts,
        "longest_pause": int(job.longest_pause),
        "policy_version": job.policy_version,
        "requested_by": job.requested_by,
        "retry_of": job.retry_of,
        "target": job.target,
        "paths": list(job.paths),
        "conflict": job.conflict,
        "full_check": job.full,
        "hurried": job.hurried,
        "options": dict(job.options),
    }
