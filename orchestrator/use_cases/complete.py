"""Take the outcome of an attempt: the job, its slots, the catalog and the audit log change together or not at all.

Rule of the file: only the current fence counts; the same fence again (a lost reply) is answered as before and
changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from orchestrator.domain.estimate import MIB, with_run
from orchestrator.domain.inventory import AuditLine, NewPoint
from orchestrator.domain.job_states import JobState
from orchestrator.domain.jobs import Ending, Job
from orchestrator.domain.names import check_text, printable
from orchestrator.domain.retry import after_cancel, after_failure
from orchestrator.use_cases.complete_shard import complete_shard
from orchestrator.use_cases.ports import UnitOfWork
from shared.contracts.work import (
    BackupDone,
    Cancelled,
    CollectDone,
    Complete,
    Failed,
    Outcome,
    RestoreDone,
    ShardDone,
    VerifyDone,
)
from shared.errors import SkyharborError
from shared.model.backup import MAX_NOTICES, JobKind, Notice

_KIND_OF = {
    BackupDone: JobKind.BACKUP,
    RestoreDone: JobKind.RESTORE,
    VerifyDone: JobKind.VERIFY,
    CollectDone: JobKind.COLLECT,
}


def complete(uow: UnitOfWork, *, message: Complete, chance: float) -> None:
    """Record an outcome. ``chance`` (0 to 1) spreads the back-off of a failure.

    Errors: ``stale-claim``; ``bad-request`` for an outcome of another kind of job or a point that isn't this job's.
    """
    fence, outcome = message.fence, message.outcome
    if fence.unit > 0:
        complete_shard(uow, fence=fence, outcome=outcome)
        return
    try:
        job = uow.units.lock_owned(fence)
    except SkyharborError:
        if uow.units.was_completed(fence):
            return
        raise
    ending = _ending(job, outcome, chance)
    if isinstance(outcome, BackupDone):
        uow.points.add(_new_point(job, outcome))
        _learn(uow, job, outcome)
    if isinstance(outcome, VerifyDone):
        _judge_point(uow, job, outcome)
    if isinstance(outcome, CollectDone):
        _weigh_vault(uow, job, outcome)
    detail: dict[str, object] = {"state": str(ending.state), "attempt": job.attempt, "epoch": fence.epoch}
    if ending.error is not None:
        detail["error"] = ending.error.code
    told = AuditLine(f"worker:{job.worker}", "job.end", job.id, detail)
    uow.jobs.end_attempt(job, ending, completed=fence, told=told)
    uow.commit()


def _ending(job: Job, outcome: Outcome, chance: float) -> Ending:
    if isinstance(outcome, Failed):
        return after_failure(job, code=outcome.code, message=outcome.message, hint=outcome.hint, chance=chance)
    if isinstance(outcome, Cancelled):
        return after_cancel(job)
    if isinstance(outcome, ShardDone) or _KIND_OF[type(outcome)] is not job.kind:
        raise SkyharborError("bad-request", f"a {job.kind} job cannot end with this outcome")
    return Ending(
        state=JobState.COMPLETED,
        losses=job.losses,
        attempt=job.attempt,
        stats=msgspec.to_builtins(outcome.stats),
        warnings=_warnings(outcome.warnings),
        type=outcome.point.type if isinstance(outcome, BackupDone) else None,
    )


def _warnings(notices: Sequence[Notice]) -> list[dict[str, str]]:
    return [
        {"path": printable(notice.path), "code": printable(notice.code), "message": printable(notice.message)}
        for notice in notices[:MAX_NOTICES]
    ]


def _new_point(job: Job, outcome: BackupDone) -> NewPoint:
    sealed = outcome.point
    if sealed.point_id != job.point_id:
        raise SkyharborError("bad-request", "this is not the point that the job was to make")
    return NewPoint(
        id=sealed.point_id,
        job_id=job.id,
        item_id=job.item_id,
        machine_id=job.machine_id,
        vault_id=job.vault_id,
        type=sealed.type,
        reference=sealed.reference,
        sealed_at=_time(sealed.sealed_at),
        files=sealed.files,
        bytes=sealed.bytes,
        bytes_transferred=outcome.stats.bytes_transferred,
        bytes_stored=outcome.stats.bytes_stored,
        manifest=check_text(sealed.manifest, field="manifest"),
        manifest_sha256=check_text(sealed.manifest_sha256, field="manifest_sha256", longest=64),
        warnings=outcome.stats.warnings,
        moments_from=None if sealed.moments_from is None else _time(sealed.moments_from),
        moments_until=None if sealed.moments_until is None else _time(sealed.moments_until),
    )


def _learn(uow: UnitOfWork, job: Job, outcome: BackupDone) -> None:
    """Remember how long the attempt took and what it needed of the line: the next estimates rest on it."""
    began = job.attempt_started_at or job.started_at
    if began is None:
        return
    seconds = max(1.0, (uow.now() - began).total_seconds())
    item = uow.items.get(job.item_id, removed=True)
    rate = outcome.stats.bytes_transferred / MIB / seconds
    uow.items.note_run(item.id, runs=with_run(item.runs, seconds), rates=with_run(item.rates, rate))


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise SkyharborError("bad-request", f"{text!r} is not a time", field="sealed_at") from error
    if moment.tzinfo is None:
        raise SkyharborError("bad-request", f"{text!r} has no zone: write it in UTC, ending in Z", field="sealed_at")
    return moment


def _judge_point(uow: UnitOfWork, job: Job, outcome: VerifyDone) -> None:
    if outcome.stats.problems > 0:
        uow.points.damaged(job.point_id)
    else:
        uow.points.verified(job.point_id, how="full" if outcome.full else "structure")


def _weigh_vault(uow: UnitOfWork, job: Job, outcome: CollectDone) -> None:
    """Believe a collection that has seen the whole vault; another one knows only what it took away."""
    stats = outcome.stats
    if stats.machines_skipped:
        uow.vaults.lighten(job.vault_id, by=stats.bytes_deleted)
    else:
        uow.vaults.weigh(job.vault_id, bytes_stored=stats.bytes_needed + stats.bytes_waiting)
