"""After the storm: everything is let go, the queue has to drain, and the tower comes to rest.

Rule of the file: only what an operator would do after such a day: resume, give slots back, start the workers.
"""

from __future__ import annotations

import random
import signal
import time

import psycopg

from tests.storm.checker.lives import TERMINAL
from tests.storm.checker.violation import Violation
from tests.storm.checker.waiting import Silence
from tests.storm.faults.stale import ghost_leaves
from tests.storm.scene import Scene

_PATIENCE = 6.0
"""Seconds that a job may wait without a reason once nothing is disturbed any more."""

_SCOPES = ("global", "vault/v1", "vault/v2", "machine/m1", "machine/m2")
_PLENTY = 4


def let_go(scene: Scene, rng: random.Random, *, patient: bool) -> None:
    """End every fault that is still there.

    A claim whose answer was lost keeps its unit until the lease is over. ``patient`` leaves it at that; otherwise the
    workers are killed once more, and their next processes give everything up at once.
    """
    for part in ("worker", "loops", "api", "valkey", "postgres"):
        scene.signal(part, signal.SIGCONT)
    for scope in _SCOPES:
        scene.operator.json("PUT", f"/api/v1/slots/{scope}", {"capacity": _PLENTY, "floor": 0})
        scene.operator.json("POST", f"/api/v1/slots/{scope}/resume")
    ghost_leaves(scene, rng)
    scene.second.start(scene.stack.url)
    if not patient:
        scene.signal("worker", signal.SIGKILL)


def drain(scene: Scene, *, within: float) -> list[Violation]:
    """I9: wait until every job has ended; ``within`` seconds are the bound.

    Returns with the loops stopped in an instant in which everything had ended (nothing new begins then), or with what
    is still open.
    """
    deadline = time.monotonic() + within
    silence = Silence(patience=_PATIENCE)
    found: dict[str, Violation] = {}
    while time.monotonic() < deadline:
        if not _open(scene):
            scene.signal("loops", signal.SIGSTOP)
            if not _open(scene):
                return list(found.values())
            scene.signal("loops", signal.SIGCONT)
        try:
            with scene.database() as connection:
                found |= {violation.claim.partition(" for ")[0]: violation for violation in silence.look(connection)}
        except psycopg.OperationalError:
            silence.forget()
        time.sleep(0.3)
    left = scene.sql(
        "SELECT id, kind, state, attempt, losses, wait_reason, error_code, due_at, cancel_requested_at FROM job"
        " WHERE NOT state = ANY (%s)",
        list(TERMINAL),
    )
    return [*found.values(), Violation("I9", f"{len(left)} jobs have not ended {within:.0f} s after the faults", left)]


def _open(scene: Scene) -> bool:
    """Whether a job has not ended, or a fire is due that nothing has become of."""
    return bool(
        scene.open_jobs() or scene.sql("SELECT 1 FROM fire WHERE state = 'planned' AND due_at <= clock_timestamp()")
    )
