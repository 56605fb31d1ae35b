"""/work/v1: what a collector asks and says, and which packs a writer has to forget.

Rule of the file: as ``work``: bytes are decoded by the contract's own types alone, and who is not the owner gets 409.
"""

from __future__ import annotations

from fastapi import APIRouter, Response

from orchestrator.api.edge import Use
from orchestrator.api.work import Raw, decode, done, encoded
from orchestrator.use_cases.collecting.condemn import condemn
from orchestrator.use_cases.collecting.condemned import condemned
from orchestrator.use_cases.collecting.doom import deleted, doom
from orchestrator.use_cases.collecting.doom_points import doom_points, expired
from orchestrator.use_cases.collecting.settle import settled, unsettled
from shared.contracts.collect import (
    AskCondemned,
    AskDoomedPoints,
    AskUnsettled,
    Condemn,
    Deleted,
    Doom,
    Expired,
    Settled,
)

routes = APIRouter(tags=["work"], include_in_schema=False)


@routes.post("/condemned")
def ask_for_condemned(application: Use, raw: Raw) -> Response:
    """Tell which packs are condemned, a page at a time."""
    message = decode(raw, AskCondemned)
    with application.unit_of_work() as uow:
        return encoded(condemned(uow, message=message))


@routes.post("/condemn")
def give_up(application: Use, raw: Raw) -> Response:
    """Condemn packs and take others back. Repeating it is harmless."""
    message = decode(raw, Condemn)
    with application.unit_of_work() as uow:
        condemn(uow, message=message)
    return done()


@routes.post("/doom")
def may_delete(application: Use, raw: Raw) -> Response:
    """Tell which packs may be deleted."""
    message = decode(raw, Doom)
    with application.unit_of_work() as uow:
        return encoded(doom(uow, message=message))


@routes.post("/deleted")
def packs_are_gone(application: Use, raw: Raw) -> Response:
    """Forget packs that are gone. Repeating it is harmless."""
    message = decode(raw, Deleted)
    with application.unit_of_work() as uow:
        deleted(uow, message=message)
    return done()


@routes.post("/doom-points")
def may_expire(application: Use, raw: Raw) -> Response:
    """Tell which points may be deleted, a page at a time."""
    message = decode(raw, AskDoomedPoints)
    with application.unit_of_work() as uow:
        return encoded(doom_points(uow, message=message))


@routes.post("/expired")
def points_are_gone(application: Use, raw: Raw) -> Response:
    """Note that manifests are gone. Repeating it is harmless."""
    message = decode(raw, Expired)
    with application.unit_of_work() as uow:
        expired(uow, message=message)
    return done()


@routes.post("/unsettled")
def ask_for_unsettled(application: Use, raw: Raw) -> Response:
    """Tell which points somebody may still be sealing although his job is over, a page at a time."""
    message = decode(raw, AskUnsettled)
    with application.unit_of_work() as uow:
        return encoded(unsettled(uow, message=message))


@routes.post("/settled")
def points_are_settled(application: Use, raw: Raw) -> Response:
    """Note what was found out about them. Repeating it is harmless."""
    message = decode(raw, Settled)
    with application.unit_of_work() as uow:
        settled(uow, message=message)
    return done()
