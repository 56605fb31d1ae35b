"""Processes that die, freeze, are asked to go, or live in another time.

Rule of the file: signals only; who starts them again is the stack's affair, but for the second worker, which is ours.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable

from tests.storm.scene import Scene, send
from tests.support.crews import chiefs, hands

_PATIENCE = 20.0
_LEASE = 90.0
"""Seconds: a lease, its margin, and a rescuer that was just started."""


def worker_killed(scene: Scene, rng: random.Random) -> bool:
    """kill -9 the stack's own worker."""
    return scene.signal("worker", signal.SIGKILL)


def second_worker_killed(scene: Scene, rng: random.Random) -> bool:
    """kill -9 the second worker, and a new one under its name."""
    alive = scene.second.pid is not None
    scene.second.stop(signal.SIGKILL)
    scene.second.start(scene.stack.url)
    return alive


def worker_drained(scene: Scene, rng: random.Random) -> bool:
    """Ask the stack's own worker to go."""
    return scene.signal("worker", signal.SIGTERM)


def hand_killed(scene: Scene, rng: random.Random) -> bool:
    """kill -9 one process that reads or writes for a worker, if any does."""
    return _kill_one(scene, rng, hands)


def chief_killed(scene: Scene, rng: random.Random) -> bool:
    """kill -9 the process that a worker's hands are forked from."""
    return _kill_one(scene, rng, chiefs)


def api_killed(scene: Scene, rng: random.Random) -> bool:
    """kill -9 the API."""
    return scene.signal("api", signal.SIGKILL)


def loops_killed(scene: Scene, rng: random.Random) -> bool:
    """kill -9 the tower's loops."""
    return scene.signal("loops", signal.SIGKILL)


def frozen(scene: Scene, rng: random.Random) -> bool:
    """Stop some part for some seconds, shorter than any lease."""
    part = rng.choice(["worker", "second", "loops", "api", "valkey"])
    pid = scene.second.pid if part == "second" else scene.pid(part)
    if pid is None or not send(pid, signal.SIGSTOP):
        return False
    time.sleep(rng.uniform(0.5, 4.0))
    return send(pid, signal.SIGCONT)


def frozen_past_its_lease(scene: Scene, rng: random.Random) -> bool:
    """Stop a worker in the middle of a unit until the tower has taken its work away, then let it go on."""
    held = "SELECT job_id, no, claim_id FROM unit WHERE worker = 'second' AND claim_id IS NOT NULL"
    until = time.monotonic() + _PATIENCE
    while (pid := scene.second.pid) is None or not scene.sql(held):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    send(pid, signal.SIGSTOP)
    frozen_with = scene.sql(held)
    until = time.monotonic() + _LEASE
    while scene.sql(held) and time.monotonic() < until:
        time.sleep(0.5)
    return send(pid, signal.SIGCONT) and bool(frozen_with)


def clock_off(scene: Scene, rng: random.Random) -> bool:
    """A second worker whose clock is an hour off."""
    scene.second.stop(signal.SIGTERM)
    scene.second.start(scene.stack.url, clock_off=rng.choice([3600, -3600]))
    return True


def power_cut(scene: Scene, rng: random.Random) -> bool:
    """kill -9 everything at once, and up again."""
    scene.stack.kill_everything()
    scene.second.stop(signal.SIGKILL)
    scene.stack.up()
    scene.second.start(scene.stack.url)
    return True


def _kill_one(scene: Scene, rng: random.Random, below: Callable[[int], list[int]]) -> bool:
    workers = [pid for pid in (scene.pid("worker"), scene.second.pid) if pid is not None]
    found = [pid for worker in workers for pid in below(worker)]
    return bool(found) and send(rng.choice(found), signal.SIGKILL)


QUICK = {
    "worker killed": worker_killed,
    "second worker killed": second_worker_killed,
    "worker drained": worker_drained,
    "hand killed": hand_killed,
    "chief killed": chief_killed,
    "api killed": api_killed,
    "loops killed": loops_killed,
    "frozen": frozen,
    "clock off by an hour": clock_off,
}
SLOW = {"frozen past its lease": frozen_past_its_lease, "power cut": power_cut}
