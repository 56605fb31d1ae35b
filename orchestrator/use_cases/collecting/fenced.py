"""Who may speak for a vault's garbage: the worker that owns the job which collects it.

Rule of the file: a fence that is not current is refused before anything is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from orchestrator.domain.collecting import GRACE
from orchestrator.domain.jobs import Job
from orchestrator.use_cases.ports import UnitOfWork
from shared.contracts.collect import MOST_LISTED
from shared.contracts.work import Fence
from shared.errors import SkyharborError
from shared.model.backup import JobKind


def lock_collector(uow: UnitOfWork, fence: Fence) -> Job:
    """Return the job that collects, locked. ``stale-claim``; ``bad-request`` for a job of another kind."""
    job = uow.units.lock_owned(fence)
    if job.kind is not JobKind.COLLECT:
        raise SkyharborError("bad-request", f"a {job.kind} job collects nothing")
    return job


def grace_of(job: Job) -> timedelta:
    """Return how long a pack has been condemned before this job may delete it."""
    return timedelta(0) if job.hurried else GRACE


def check_length(*lists: Sequence[object]) -> None:
    """Refuse a message that is longer than the contract allows; ``bad-request``."""
    if sum(len(one) for one in lists) > MOST_LISTED:
        raise SkyharborError("bad-request", f"at most {MOST_LISTED} in one message")
