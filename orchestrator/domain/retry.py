"""What the end of an attempt means for its job: done, try again and when, or never again.

Rule of the file: pure; chance comes in as a number between 0 and 1.
"""

from __future__ import annotations

from orchestrator.domain.job_states import JobState
from orchestrator.domain.jobs import LONGEST_PAUSE, Ending, Job, JobError, Trigger
from orchestrator.domain.names import printable
from shared.errors import REGISTRY, ErrorClass, ErrorKind

SHORTEST_BACKOFF = 5.0

SOURCE_ATTEMPTS = 2
"""A source that could not be read twice needs a person."""

FINISH_BY = "finish-by"
"""The reason of a cancel that the tower asked for."""

MOST_LOSSES = 3
"""A job that took three workers with it is put aside before it takes a fourth."""

FIND_OUT_ATTEMPTS = 5
"""So many attempts more has a job that once had leave to seal: its point may exist, and only an attempt finds out."""


def next_backoff(previous: float, chance: float, *, longest: float = LONGEST_PAUSE) -> float:
    """Return the next delay in seconds, at most ``longest``.

    Decorrelated jitter, uniform between 5 s and three times the last.
    """
    highest = max(SHORTEST_BACKOFF, previous) * 3
    return min(longest, SHORTEST_BACKOFF + chance * (highest - SHORTEST_BACKOFF))


def after_failure(job: Job, *, code: str, message: str, chance: float, hint: str = "") -> Ending:
    """Decide about a job whose attempt reported a failure. An unknown code counts as ``internal``."""
    kind = REGISTRY.get(code)
    if kind is None:
        kind, message = REGISTRY["internal"], f"{code}: {message}"
    # Whoever complains of the source has looked for the job's point first, and there was none.
    unsure = job.committing_at is not None and kind.error_class is not ErrorClass.SOURCE
    if code == "cancelled" or (job.cancel_requested_at is not None and not unsure):
        return after_cancel(job)
    if kind.retryable and job.attempt < _most_attempts(job, kind):
        error = JobError(kind.code, printable(message), printable(hint))
        delay = next_backoff(job.backoff_seconds, chance, longest=job.longest_pause)
        return Ending(
            state=JobState.RETRYABLE,
            due_in=delay,
            backoff_seconds=delay,
            losses=job.losses,
            attempt=job.attempt,
            error=error,
        )
    error = JobError(kind.code, printable(message) + (_UNKNOWN if unsure else ""), printable(hint))
    return Ending(state=JobState.DISCARDED, losses=job.losses, attempt=job.attempt, error=error)


_UNKNOWN = "; an earlier attempt may have sealed its point, and nobody could find out"


def _most_attempts(job: Job, kind: ErrorKind) -> int:
    if kind.code == "source-missing" and job.trigger is Trigger.DEMAND:
        return 1  # a person waits for the answer, and a path does not appear by asking again
    if kind.error_class is ErrorClass.SOURCE:
        return SOURCE_ATTEMPTS
    return job.max_attempts + (0 if job.committing_at is None else FIND_OUT_ATTEMPTS)


def after_loss(job: Job, *, chance: float) -> Ending:
    """Decide about a job whose worker is gone.

    The first loss costs no time, the third puts the job aside. A cancel that was asked for is done by the loss. Once
    a worker of the job was committing neither is so: the point may be sealed, and the job runs again to find out.
    """
    losses, unsure = job.losses + 1, job.committing_at is not None
    if job.cancel_requested_at is not None and not unsure:
        return after_cancel(job)
    if job.attempt >= job.max_attempts + FIND_OUT_ATTEMPTS if unsure else losses >= MOST_LOSSES:
        message = f"{losses} workers were lost, the last during attempt {job.attempt}: {job.worker}"
        error = JobError("quarantined", message + (_UNKNOWN if unsure else ""))
        return Ending(state=JobState.DISCARDED, losses=losses, attempt=job.attempt, error=error)
    delay = 0.0 if losses == 1 else next_backoff(job.backoff_seconds, chance, longest=job.longest_pause)
    error = JobError("worker-lost", f"{job.worker} stopped answering during attempt {job.attempt}")
    return Ending(
        state=JobState.RETRYABLE,
        due_in=delay,
        backoff_seconds=delay,
        losses=losses,
        attempt=job.attempt,
        error=error,
    )


def after_cancel(job: Job) -> Ending:
    """End a job that a person stopped, or the tower because its time to finish was over."""
    if job.cancel_reason == FINISH_BY:
        error = JobError("finish-missed", f"it had to be done by {job.finish_by:%Y-%m-%d %H:%M}Z and was stopped")
    else:
        error = JobError("cancelled", "cancelled by request")
    return Ending(state=JobState.CANCELLED, losses=job.losses, attempt=job.attempt, error=error)


def after_missed_start(job: Job) -> Ending:
    """End a job that never got to start in time."""
    why = f", at last because of {job.wait_reason}" if job.wait_reason else ""
    error = JobError("start-missed", f"it had to start by {job.start_by:%Y-%m-%d %H:%M}Z and waited{why}")
    return Ending(state=JobState.EXPIRED, losses=job.losses, attempt=job.attempt, error=error)


def after_release(job: Job) -> Ending:
    """Put a job back that its worker gave up unfinished: no attempt is burnt.

    A cancel asked for meanwhile is done by it.
    """
    if job.cancel_requested_at is not None and job.committing_at is None:
        return after_cancel(job)
    return Ending(state=JobState.AVAILABLE, losses=job.losses, attempt=max(0, job.attempt - 1), error=job.error)
