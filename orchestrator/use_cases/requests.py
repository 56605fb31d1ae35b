"""What all requests for a job share: the Idempotency-Key, and what stands in a job's way.

Rule of the file: the key, the job and the audit line are kept in one transaction or not at all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from orchestrator.domain.job_states import PointState
from orchestrator.domain.jobs import Accepted, NewJob
from orchestrator.domain.names import check_text
from orchestrator.use_cases.ports import UnitOfWork
from shared.errors import SkyharborError
from shared.model.backup import JobKind

KEY_DAYS = 7
"""How long an Idempotency-Key is remembered."""


def accept_job(
    uow: UnitOfWork, *, actor: str, job: NewJob, key: str | None, request: Mapping[str, object], action: str
) -> Accepted:
    """Keep a job once per key and commit.

    The same key with another ``request`` is ``idempotency-mismatch``; ``conflict`` when something stands in its way.

    Two requests with one key at the same time: the second waits for the first one's commit and is answered its job.
    """
    if key is not None:
        check_text(key, field="Idempotency-Key", longest=255)
        digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
        known_hash, known_job = uow.keys.take(key, request_hash=digest, job_id=job.id)
        if known_hash != digest:
            raise SkyharborError("idempotency-mismatch", "this key was used for another request within 7 days")
        if known_job != job.id:
            return Accepted(uow.jobs.get(known_job), True)
    _check(uow, job)
    uow.jobs.add([job])
    uow.audit.append(actor=actor, action=action, target=job.id, detail=request)
    made = uow.jobs.get(job.id)
    uow.wake()
    uow.commit()
    return Accepted(made, False)


def _check(uow: UnitOfWork, job: NewJob) -> None:
    """Refuse a job on a point that is on its way out, and a second collection of a vault.

    The point cannot be doomed before the job is kept.
    """
    if job.kind in (JobKind.RESTORE, JobKind.VERIFY):
        state = uow.points.share(job.point_id).state
        if state not in (PointState.SEALED, PointState.DAMAGED):
            raise SkyharborError(
                "conflict",
                f"recovery point {job.point_id} is {state}",
                state=str(state),
                hint="A point that is expiring comes back with 'skyharbor point hold', until it is doomed.",
            )
    if job.kind is JobKind.COLLECT:
        collecting = uow.collecting.open_job(job.vault_id)
        if collecting is not None:
            raise SkyharborError("conflict", f"job {collecting} collects this vault already", job=collecting)
