"""Workers that come back from the dead with fences that were current once, and impostors with fences that never were.

Rule of the file: a message with another fence than the current one has to be refused, and to change nothing (I4).
"""

from __future__ import annotations

import random
import time
import uuid
from typing import Any

import httpx
import psycopg

from tests.storm.checker.database import look
from tests.storm.checker.fences import Picture, changed, picture
from tests.storm.checker.violation import Violation
from tests.storm.scene import Scene

_GHOST = "ghost"
_AT_ONCE = 4
_PATIENCE = 3.0
_MOST_FENCES = 400


def fences_noted(scene: Scene) -> None:
    """Remember the fences that are current now; the storm does so between its faults."""
    rows = scene.sql(
        "SELECT u.job_id, u.no, coalesce(u.epoch, j.epoch), u.claim_id FROM unit u JOIN job j ON j.id = u.job_id"
        " WHERE u.claim_id IS NOT NULL"
    )
    for job, unit, epoch, claim in rows:
        fence = {"job_id": job, "unit": unit, "epoch": epoch, "claim_id": claim}
        if fence not in scene.fences[-50:]:
            scene.fences.append(fence)
    del scene.fences[:-_MOST_FENCES]


def ghost(scene: Scene, rng: random.Random) -> bool:
    """A worker claims, dies, and its old process goes on: it renews, commits and reports what is no longer its own."""
    first, second = (str(uuid.UUID(int=rng.getrandbits(128))) for _ in range(2))
    _hello(scene, first)
    granted = None
    until = time.monotonic() + _PATIENCE
    with scene.workers_held():
        while (granted is None or granted.status_code != 200) and time.monotonic() < until:
            granted = scene.work.once("POST", "/work/v1/claim", {"worker": _GHOST, "session": first})
            time.sleep(0.05)
    _hello(scene, second)
    if granted is None or granted.status_code != 200:
        return False
    fence = granted.json()["fence"]
    scene.fences.append(fence)
    _try(scene, fence, session=second)
    return True


def stale(scene: Scene, rng: random.Random) -> bool:
    """Fences of earlier attempts come back."""
    if not scene.fences:
        return False
    session = str(uuid.UUID(int=rng.getrandbits(128)))
    _hello(scene, session)
    flown = {row[0] for row in scene.sql("SELECT id FROM job WHERE state IN ('running', 'committing')")}
    now_others = [fence for fence in scene.fences if fence["job_id"] in flown]
    for fences in (now_others, scene.fences):
        for fence in rng.sample(fences, k=min(_AT_ONCE, len(fences))):
            _try(scene, fence, session=session)
    return True


def forged(scene: Scene, rng: random.Random) -> bool:
    """The right job and epoch with a claim id that is nobody's."""
    session = str(uuid.UUID(int=rng.getrandbits(128)))
    _hello(scene, session)
    jobs = scene.sql(
        "SELECT id, epoch FROM job ORDER BY state NOT IN ('running', 'committing'), id DESC LIMIT %s", _AT_ONCE
    )
    for job, epoch in jobs:
        fence = {"job_id": job, "unit": 0, "epoch": epoch, "claim_id": str(uuid.UUID(int=rng.getrandbits(128)))}
        _try(scene, fence, session=session)
    return bool(jobs)


def ghost_leaves(scene: Scene, rng: random.Random) -> None:
    """Give up whatever the ghost was granted without hearing of it."""
    _hello(scene, str(uuid.UUID(int=rng.getrandbits(128))))


def _hello(scene: Scene, session: str) -> None:
    hello = {"worker": _GHOST, "session": session, "version": "0", "concurrency": 1, "clock": "2026-01-01T00:00:00Z"}
    scene.work.json("POST", "/work/v1/hello", hello)


def _try(scene: Scene, fence: dict[str, Any], *, session: str) -> None:
    """Send everything that a worker can say about a unit, unless the fence is the current one."""
    state = _standing(scene, fence)
    if state == "current":
        return
    # Asked before anything is sent: a shard's row goes with the end of its job's attempt.
    reported = _was_completed(scene, fence)
    for verb, body in _messages(fence, session).items():
        before = _picture(scene, fence["job_id"]) if state == "ended" else None
        reply = scene.work.once("POST", f"/work/v1/{verb}", body)
        if reply is None or reply.status_code >= 500:
            continue
        scene.book.stale += 1
        message = f"{verb} with {fence}, {state},"
        if not _refused(verb, reply) and not (verb == "complete" and reported):
            scene.findings.append(Violation("I4", f"{message} was answered {reply.status_code}", reply.text[:300]))
        if before is not None:
            scene.findings += changed(before, _picture(scene, fence["job_id"]), message)


def _standing(scene: Scene, fence: dict[str, Any]) -> str:
    """Whether the fence is current, its job has ended, or somebody else has the job (or nobody)."""
    rows = scene.sql(
        "SELECT j.finished_at IS NOT NULL, u.claim_id FROM job j LEFT JOIN unit u ON u.job_id = j.id AND u.no = %s"
        " WHERE j.id = %s",
        fence["unit"],
        fence["job_id"],
    )
    ((ended, claim),) = rows
    return "ended" if ended else "current" if claim == fence["claim_id"] else "taken over"


def _messages(fence: dict[str, Any], session: str) -> dict[str, Any]:
    failed = {"outcome": "failed", "code": "internal", "message": "from the dead"}
    of_any_unit = {
        "renew": {"worker": _GHOST, "session": session, "units": [{"fence": fence}]},
        "complete": {"fence": fence, "outcome": failed},
        "release": {"fence": fence},
    }
    of_a_lead = {
        "commit": {"fence": fence},
        "offer": {"fence": fence, "shards": ["c2hhcmQ="]},
        "shards": {"fence": fence},
        "condemned": {"fence": fence},
        "condemn": {"fence": fence, "packs": [["packs/d/none", 1]]},
        "doom": {"fence": fence, "packs": ["packs/d/none"]},
        "deleted": {"fence": fence, "packs": ["packs/d/none"]},
        "doom-points": {"fence": fence},
        "expired": {"fence": fence, "points": ["none"]},
        "unsettled": {"fence": fence},
        "settled": {"fence": fence, "fenced": ["none"]},
    }
    return of_any_unit if fence["unit"] else of_a_lead | of_any_unit


def _refused(verb: str, reply: httpx.Response) -> bool:
    if verb == "renew":
        return reply.status_code == 200 and [unit["verdict"] for unit in reply.json()["units"]] == ["lost"]
    return reply.status_code == 409 and reply.json()["code"] == "stale-claim"


def _was_completed(scene: Scene, fence: dict[str, Any]) -> bool:
    """Whether this fence has reported before: the same report again is answered as before, and changes nothing."""
    return bool(
        scene.sql(
            "SELECT 1 FROM unit WHERE job_id = %s AND no = %s AND completed_claim_id = %s",
            fence["job_id"],
            fence["unit"],
            fence["claim_id"],
        )
    )


def _picture(scene: Scene, job: str) -> Picture:
    while True:
        try:
            with look(scene.dsn) as db:
                return picture(db, job)
        except psycopg.OperationalError:
            continue


KINDS = {"ghost": ghost, "stale fences": stale, "forged fences": forged}
