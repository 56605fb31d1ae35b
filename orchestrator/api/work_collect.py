"""/work/v1: what a collector asks and says, and which packs a writer has to forget.

Rule of the file: as ``work``: bytes are decoded by the contract's own types alone, and who is not the owner gets 409.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from orchestrator.api.work import DONE, Verb, decode
from orchestrator.use_cases.application import Application
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


def ask_for_condemned(application: Application, raw: bytes) -> bytes:
    """Tell which packs are condemned, a page at a time."""
    message = decode(raw, AskCondemned)
    with application.unit_of_work() as uow:
        return msgspec.json.encode(condemned(uow, message=message))


def give_up(application: Application, raw: bytes) -> bytes:
    """Condemn packs and take others back. Repeating it is harmless."""
    message = decode(raw, Condemn)
    with application.unit_of_work() as uow:
        condemn(uow, message=message)
    return DONE


def may_delete(application: Application, raw: bytes) -> bytes:
    """Tell which packs may be deleted."""
    message = decode(raw, Doom)
    with application.unit_of_work() as uow:
        return msgspec.json.encode(doom(uow, message=message))


def packs_are_gone(application: Application, raw: bytes) -> bytes:
    """Forget packs that are gone. Repeating it is harmless."""
    message = decode(raw, Deleted)
    with application.unit_of_work() as uow:
        deleted(uow, message=message)
    return DONE


def may_expire(application: Application, raw: bytes) -> bytes:
    """Tell which points may be deleted, a page at a time."""
    message = decode(raw, AskDoomedPoints)
    with application.unit_of_work() as uow:
        return msgspec.json.encode(doom_points(uow, message=message))


def points_are_gone(application: Application, raw: bytes) -> bytes:
    """Note that manifests are gone. Repeating it is harmless."""
    message = decode(raw, Expired)
    with application.unit_of_work() as uow:
        expired(uow, message=message)
    return DONE


def ask_for_unsettled(application: Application, raw: bytes) -> bytes:
    """Tell which points somebody may still be sealing although his job is over, a page at a time."""
    message = decode(raw, AskUnsettled)
    with application.unit_of_work() as uow:
        return msgspec.json.encode(unsettled(uow, message=message))


def points_are_settled(application: Application, raw: bytes) -> bytes:
    """Note what was found out about them. Repeating it is harmless."""
    message = decode(raw, Settled)
    with application.unit_of_work() as uow:
        settled(uow, message=message)
    return DONE


VERBS: Mapping[str, Verb] = {
    "condemned": ask_for_condemned,
    "condemn": give_up,
    "doom": may_delete,
    "deleted": packs_are_gone,
    "doom-points": may_expire,
    "expired": points_are_gone,
    "unsettled": ask_for_unsettled,
    "settled": points_are_settled,
}
"""The verbs of collecting, by the last part of the path."""
