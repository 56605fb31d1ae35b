"""Ask for a restore of a point, whole or some paths of it.

Rule of the file: everything lands under ``target``; nothing is decided here about what is already there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from orchestrator.domain.estimate import expected_mib_per_second, expected_seconds
from orchestrator.domain.jobs import Accepted, NewJob, Trigger
from orchestrator.domain.names import check_options, check_path, check_target
from orchestrator.domain.sources.restores import check_restore
from orchestrator.domain.urgency import rank_of
from orchestrator.use_cases.points import find_point
from orchestrator.use_cases.ports import UnitOfWork
from orchestrator.use_cases.requests import accept_job
from shared.errors import SkyharborError
from shared.model.backup import ConflictRule, JobKind
from shared.model.ids import new_id

MOST_PATHS = 1000


def request_restore(
    uow: UnitOfWork,
    *,
    actor: str,
    point: str,
    target: str,
    item: str | None = None,
    paths: Sequence[str] = (),
    conflict: ConflictRule = ConflictRule.SKIP,
    options: Mapping[str, str] | None = None,
    key: str | None = None,
    ids: Callable[[], str] = new_id,
) -> Accepted:
    """Accept a restore job. ``point`` is an id, a beginning of one, or ``latest`` with ``item``.

    ``target`` is a folder, or the URL of a share. ``options`` are words of the workload, which the worker knows.
    A replayed ``latest`` stays the point of the first time. Errors: ``bad-request``, ``not-found``,
    ``idempotency-mismatch``.
    """
    if len(paths) > MOST_PATHS:
        raise SkyharborError("bad-request", f"at most {MOST_PATHS} paths in one restore", field="paths")
    wanted = tuple(dict.fromkeys(check_path(path, field="paths") for path in paths))
    folder = check_target(target)
    wishes = check_options(options or {})
    found = find_point(uow, point=point, item=item)
    if wishes or not folder.startswith("/"):  # any workload goes to a folder
        check_restore(uow.items.get(found.item.id, removed=True).workload, target=folder, options=wishes)
    job = NewJob(
        id=ids(),
        kind=JobKind.RESTORE,
        trigger=Trigger.DEMAND,
        item_id=found.item.id,
        machine_id=found.machine.id,
        vault_id=found.vault.id,
        point_id=found.id,
        rank=rank_of(JobKind.RESTORE, Trigger.DEMAND),
        requested_by=actor,
        estimate=expected_seconds(JobKind.RESTORE, ()),
        mib_per_second=expected_mib_per_second(()),
        target=folder,
        paths=wanted,
        conflict=conflict,
        options=wishes,
    )
    request = {
        "kind": "restore",
        "point": point,
        "item": item,
        "target": folder,
        "paths": list(wanted),
        "conflict": str(conflict),
        **({"options": wishes} if wishes else {}),
    }
    return accept_job(uow, actor=actor, job=job, key=key, request=request, action="job.restore")
