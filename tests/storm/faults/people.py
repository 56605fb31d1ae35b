"""People who cancel, retry, pause and take slots away, at any moment.

Rule of the file: only what the API offers; a refusal (409, 404) is an answer.
"""

from __future__ import annotations

import random
import time

from tests.storm.checker.lives import TERMINAL
from tests.storm.scene import Scene

_OWNED = ("global", "vault/v1", "vault/v2", "machine/m1", "machine/m2")
_LIMITS = ("class/backup", "tenant/acme", "location/berlin", "bandwidth/berlin")
_USUAL = 4


def cancelled(scene: Scene, rng: random.Random) -> bool:
    """Cancel one or two jobs: whichever, or of those that are flown right now."""
    flown = scene.sql("SELECT id FROM job WHERE state IN ('running', 'committing') ORDER BY id")
    jobs = [row[0] for row in flown] if rng.random() < 0.6 else sorted(scene.open_jobs())
    answers = set()
    for job in rng.sample(jobs, k=min(len(jobs), rng.choice([1, 2]))):
        reply = scene.operator.ask("POST", f"/api/v1/jobs/{job}/cancel")
        assert reply.status_code in (200, 409), reply.text
        answers.add(reply.status_code)
    return 200 in answers


def retried(scene: Scene, rng: random.Random) -> bool:
    """Ask again for what has ended: twice with one key, which is one job."""
    ended = scene.sql("SELECT id FROM job WHERE state = ANY (%s) AND trigger = 'demand' ORDER BY id", list(TERMINAL))
    known = [row[0] for row in ended if row[0] in scene.book.jobs]
    if not known:
        return False
    old = rng.choice(known)
    asked = scene.book.jobs[old]
    if asked.kind == "backup":
        version = scene.sources[asked.item].version
        asked = type(asked)("backup", asked.item, version=version)
    key = f"retry-{rng.getrandbits(64)}"
    for _ in range(2):
        reply = scene.operator.ask("POST", f"/api/v1/jobs/{old}/retry", key=key)
        if reply.status_code == 409 and asked.kind != "backup":
            return False  # its point is on its way out, or its vault is being collected
        assert reply.status_code in (200, 202), reply.text
        scene.book.promised(reply.json()["id"], asked)
    return True


def paused(scene: Scene, rng: random.Random) -> bool:
    """Pause a scope for a moment."""
    scope = rng.choice(_OWNED)
    scene.operator.json("POST", f"/api/v1/slots/{scope}/pause")
    time.sleep(rng.uniform(0.3, 2.0))
    scene.operator.json("POST", f"/api/v1/slots/{scope}/resume")
    return True


def capacity_lowered(scene: Scene, rng: random.Random) -> bool:
    """Leave a scope fewer slots than are in use, even none, then enough again."""
    scope = rng.choice(_OWNED + _LIMITS)
    scene.operator.json("PUT", f"/api/v1/slots/{scope}", {"capacity": rng.choice([0, 1]), "floor": 0})
    time.sleep(rng.uniform(0.3, 2.0))
    scene.operator.json("PUT", f"/api/v1/slots/{scope}", {"capacity": _USUAL, "floor": rng.choice([0, 1])})
    return True


def limit_lifted(scene: Scene, rng: random.Random) -> bool:
    """Remove a limit that an operator has set, and set it again. While jobs hold slots of it, that is refused."""
    scope = rng.choice(_LIMITS)
    reply = scene.operator.ask("DELETE", f"/api/v1/slots/{scope}")
    assert reply.status_code in (204, 404, 409), reply.text
    time.sleep(rng.uniform(0.0, 0.5))
    scene.operator.json("PUT", f"/api/v1/slots/{scope}", {"capacity": _USUAL})
    return reply.status_code == 204


KINDS = {
    "limit lifted": limit_lifted,
    "cancelled": cancelled,
    "retried": retried,
    "scope paused": paused,
    "capacity lowered": capacity_lowered,
}
