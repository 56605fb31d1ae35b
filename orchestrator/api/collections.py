"""/vaults/{ref}/collect and /garbage: having a vault's garbage collected, and what there is of it."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import BaseModel

from orchestrator.api.auth import OPERATOR
from orchestrator.api.edge import Moment, Received, Ref, Use
from orchestrator.api.jobs import JobOut, Key, accepted_out
from orchestrator.domain.collecting import Garbage, LastCollection
from orchestrator.domain.job_states import JobState
from orchestrator.use_cases.request_collect import request_collect
from orchestrator.use_cases.vaults import get_vault

routes = APIRouter(tags=["vaults"])


class CollectRequest(Received):
    """``now``: without the grace of a day, and a second sweep at the end."""

    now: bool = False


class LastCollectionOut(BaseModel):
    """The newest collection; ``stats`` once it has ended well."""

    job: str
    state: JobState
    created_at: Moment
    finished_at: Moment | None
    stats: dict[str, int] | None


class GarbageOut(BaseModel):
    """What of a vault is on its way out.

    ``expiring_points`` may still be held unless they are doomed. Condemned packs count the doomed ones too.
    ``unsettled`` jobs may have sealed a point that nobody has looked for. ``waits_for_writers``: a backup runs, or
    may be sealing, that is older than something condemned or expiring, or may become so.
    """

    generation: int
    expiring_points: int
    condemned_packs: int
    condemned_bytes: int
    doomed_packs: int
    doomed_bytes: int
    unsettled: int
    waits_for_writers: bool
    last_collection: LastCollectionOut | None


@routes.post(
    "/vaults/{ref}/collect",
    status_code=202,
    responses={200: {"model": JobOut, "description": "The key's job of before"}},
)
def collect(
    application: Use, ref: Ref, response: Response, body: CollectRequest | None = None, key: Key = None
) -> JobOut:
    """Have the garbage of a vault collected. 409 while a job that does so has not ended."""
    hurried = body is not None and body.now
    with application.unit_of_work() as uow:
        accepted = request_collect(uow, actor=OPERATOR, vault=ref, hurried=hurried, key=key)
    return accepted_out(accepted, response)


@routes.get("/vaults/{ref}/garbage")
def garbage(application: Use, ref: Ref) -> GarbageOut:
    """Show what of a vault is on its way out."""
    with application.unit_of_work() as uow:
        return _out(uow.collecting.garbage(get_vault(uow, ref=ref).id))


def _out(found: Garbage) -> GarbageOut:
    return GarbageOut(
        generation=found.generation,
        expiring_points=found.expiring_points,
        condemned_packs=found.condemned.packs,
        condemned_bytes=found.condemned.bytes,
        doomed_packs=found.doomed.packs,
        doomed_bytes=found.doomed.bytes,
        unsettled=found.unsettled,
        waits_for_writers=found.oldest_writer is not None and found.oldest_writer < found.generation,
        last_collection=None if found.last is None else _last(found.last),
    )


def _last(last: LastCollection) -> LastCollectionOut:
    return LastCollectionOut(
        job=last.job_id,
        state=JobState(last.state),
        created_at=last.created_at,
        finished_at=last.finished_at,
        stats=None if last.stats is None else dict(last.stats),
    )
