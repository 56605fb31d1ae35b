"""Ask for a proof of a point.

Rule of the file: a verify reads and reports; what its result means for the point is decided when it completes.
"""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.domain.estimate import expected_mib_per_second, expected_seconds
from orchestrator.domain.jobs import Accepted, NewJob, Trigger
from orchestrator.domain.urgency import rank_of
from orchestrator.use_cases.points import find_point
from orchestrator.use_cases.ports import UnitOfWork
from orchestrator.use_cases.requests import accept_job
from shared.model.backup import JobKind
from shared.model.ids import new_id


def request_verify(
    uow: UnitOfWork,
    *,
    actor: str,
    point: str,
    item: str | None = None,
    full: bool = False,
    key: str | None = None,
    ids: Callable[[], str] = new_id,
) -> Accepted:
    """Accept a verify job. ``point`` as in ``request_restore``; ``full`` reads every byte, otherwise the structure."""
    found = find_point(uow, point=point, item=item)
    job = NewJob(
        id=ids(),
        kind=JobKind.VERIFY,
        trigger=Trigger.DEMAND,
        item_id=found.item.id,
        machine_id=found.machine.id,
        vault_id=found.vault.id,
        point_id=found.id,
        rank=rank_of(JobKind.VERIFY, Trigger.DEMAND),
        requested_by=actor,
        estimate=expected_seconds(JobKind.VERIFY, ()),
        mib_per_second=expected_mib_per_second(()),
        full=full,
    )
    request = {"kind": "verify", "point": point, "item": item, "full": full}
    return accept_job(uow, actor=actor, job=job, key=key, request=request, action="job.verify")
