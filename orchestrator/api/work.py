"""/work/v1: how workers ask for work and report on it; the messages are those of ``shared.contracts.work``.

Rule of the file: bytes are decoded by the contract's own types alone; a worker that does not own its unit gets 409.
"""

from __future__ import annotations

from datetime import datetime
from secrets import SystemRandom
from typing import Annotated, TypeVar

import msgspec
import structlog
from fastapi import APIRouter, Depends, Request, Response

from orchestrator.api.edge import Use
from orchestrator.use_cases.application import Application
from orchestrator.use_cases.ask_shards import ask_shards
from orchestrator.use_cases.claim import claim
from orchestrator.use_cases.commit import commit
from orchestrator.use_cases.complete import complete
from orchestrator.use_cases.hello import hello
from orchestrator.use_cases.offer import offer
from orchestrator.use_cases.release import release
from orchestrator.use_cases.renew import renew
from shared.contracts.work import AskShards, Claim, Commit, Complete, Hello, Offer, Release, Renew
from shared.errors import SkyharborError

# Raw bodies: the contract is msgspec's, OpenAPI documents what operators use.
routes = APIRouter(tags=["work"], include_in_schema=False)

Message = TypeVar("Message", bound=msgspec.Struct)

_CLOCK_TOLERANCE = 2.0
"""Seconds; more makes times in reports confusing, although leases do not depend on it."""


async def _raw(request: Request) -> bytes:
    return await request.body()


Raw = Annotated[bytes, Depends(_raw)]


@routes.post("/hello")
def say_hello(application: Use, raw: Raw) -> Response:
    """Introduce a worker process; leases of its earlier self are given up."""
    message = decode(raw, Hello)
    _note_clock(application, message)
    with application.unit_of_work() as uow:
        return encoded(hello(uow, message=message, chance=_chance()))


@routes.post("/claim")
def ask_for_work(application: Use, raw: Raw) -> Response:
    """Take a unit; 204 when there is nothing to take."""
    message = decode(raw, Claim)
    with application.unit_of_work() as uow:
        granted = claim(uow, message=message)
    return Response(status_code=204) if granted is None else encoded(granted)


@routes.post("/renew")
def keep(application: Use, raw: Raw) -> Response:
    """Renew the leases of one process and hear what became of its units."""
    message = decode(raw, Renew)
    with application.unit_of_work() as uow:
        return encoded(renew(uow, message=message))


@routes.post("/commit")
def may_seal(application: Use, raw: Raw) -> Response:
    """Ask whether the unit is still the worker's, before a point is sealed."""
    message = decode(raw, Commit)
    with application.unit_of_work() as uow:
        commit(uow, message=message)
    return done()


@routes.post("/complete")
def report(application: Use, raw: Raw) -> Response:
    """Take the outcome of an attempt. Repeating it is harmless."""
    message = decode(raw, Complete)
    with application.unit_of_work() as uow:
        complete(uow, message=message, chance=_chance())
    return done()


@routes.post("/release")
def give_back(application: Use, raw: Raw) -> Response:
    """Take a unit back unfinished."""
    message = decode(raw, Release)
    with application.unit_of_work() as uow:
        release(uow, message=message)
    return done()


@routes.post("/offer")
def share(application: Use, raw: Raw) -> Response:
    """Take the shards of a backup. Repeating it is harmless."""
    message = decode(raw, Offer)
    with application.unit_of_work() as uow:
        offer(uow, message=message)
    return done()


@routes.post("/shards")
def ask_for_shards(application: Use, raw: Raw) -> Response:
    """Tell a lead where its shards are, with their results."""
    message = decode(raw, AskShards)
    with application.unit_of_work() as uow:
        return encoded(ask_shards(uow, message=message))


def decode(raw: bytes, kind: type[Message]) -> Message:
    """Return a message of the contract; ``bad-request`` for anything else."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SkyharborError("bad-request", f"not a {kind.__name__.lower()} message: {error}") from error


def encoded(message: msgspec.Struct) -> Response:
    """Return a message of the contract as it goes out."""
    return Response(msgspec.json.encode(message), media_type="application/json")


def done() -> Response:
    """Return the answer to what needs none."""
    return Response(b"{}", media_type="application/json")


def _chance() -> float:
    return SystemRandom().random()


def _note_clock(application: Application, message: Hello) -> None:
    """Log a worker whose clock is off: the logs of both sides will not fit together."""
    try:
        off = (datetime.fromisoformat(message.clock) - application.clock.now()).total_seconds()
    except (ValueError, TypeError) as error:
        raise SkyharborError("bad-request", f"the clock {message.clock[:40]!r} is not a time with a zone") from error
    if abs(off) > _CLOCK_TOLERANCE:
        structlog.get_logger().warning("worker.clock_off", worker=message.worker, seconds=round(off, 1))
