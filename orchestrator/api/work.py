"""/work/v1: how workers ask for work and report on it; the messages are those of ``shared.contracts.work``.

Rule of the file: a verb is bytes in, bytes out. They are decoded by the contract's own types alone; a worker that does
not own its unit gets ``stale-claim``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from secrets import SystemRandom
from typing import TypeVar

import msgspec
import structlog

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
from shared.decoders import json_decoder
from shared.errors import SkyharborError

Message = TypeVar("Message", bound=msgspec.Struct)
Verb = Callable[[Application, bytes], bytes | None]
"""Takes a body, returns the answer's; None is 204."""

_CLOCK_TOLERANCE = 2.0
"""Seconds; more makes times in reports confusing, although leases do not depend on it."""

DONE = b"{}"
"""The answer to what needs none."""


def say_hello(application: Application, raw: bytes) -> bytes:
    """Introduce a worker process; leases of its earlier self are given up."""
    message = decode(raw, Hello)
    _note_clock(application, message)
    with application.unit_of_work() as uow:
        return msgspec.json.encode(hello(uow, message=message, chance=_chance()))


def ask_for_work(application: Application, raw: bytes) -> bytes | None:
    """Take a unit; None when there is nothing to take."""
    message = decode(raw, Claim)
    with application.unit_of_work() as uow:
        granted = claim(uow, message=message)
    return None if granted is None else msgspec.json.encode(granted)


def keep(application: Application, raw: bytes) -> bytes:
    """Renew the leases of one process and hear what became of its units."""
    message = decode(raw, Renew)
    with application.unit_of_work() as uow:
        return msgspec.json.encode(renew(uow, message=message))


def may_seal(application: Application, raw: bytes) -> bytes:
    """Ask whether the unit is still the worker's, before a point is sealed."""
    message = decode(raw, Commit)
    with application.unit_of_work() as uow:
        commit(uow, message=message)
    return DONE


def report(application: Application, raw: bytes) -> bytes:
    """Take the outcome of an attempt. Repeating it is harmless."""
    message = decode(raw, Complete)
    with application.unit_of_work() as uow:
        complete(uow, message=message, chance=_chance())
    return DONE


def give_back(application: Application, raw: bytes) -> bytes:
    """Take a unit back unfinished."""
    message = decode(raw, Release)
    with application.unit_of_work() as uow:
        release(uow, message=message)
    return DONE


def share(application: Application, raw: bytes) -> bytes:
    """Take the shards of a backup. Repeating it is harmless."""
    message = decode(raw, Offer)
    with application.unit_of_work() as uow:
        offer(uow, message=message)
    return DONE


def ask_for_shards(application: Application, raw: bytes) -> bytes:
    """Tell a lead where its shards are, with their results."""
    message = decode(raw, AskShards)
    with application.unit_of_work() as uow:
        return msgspec.json.encode(ask_shards(uow, message=message))


VERBS: Mapping[str, Verb] = {
    "hello": say_hello,
    "claim": ask_for_work,
    "renew": keep,
    "commit": may_seal,
    "complete": report,
    "release": give_back,
    "offer": share,
    "shards": ask_for_shards,
}
"""Every verb of the protocol, by its last part of the path."""


def decode(raw: bytes, kind: type[Message]) -> Message:
    """Return a message of the contract; ``bad-request`` for anything else."""
    try:
        return json_decoder(kind).decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SkyharborError("bad-request", f"not a {kind.__name__.lower()} message: {error}") from error


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
