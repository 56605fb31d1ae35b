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


def worker_killed(scene: Scene, rng: random.Random) -> None:
    """kill -9 the stack's own worker."""
    scene.signal("worker", signal.SIGKILL)


def second_worker_killed(scene: Scene, rng: random.Random) -> None:
    """kill -9 the second worker, and a new one under its name."""
    scene.second.stop(signal.SIGKILL)
    scene.second.start(scene.stack.url)


def worker_drained(scene: Scene, rng: random.Random) -> None:
    """Ask the stack's own worker to go."""
    scene.signal("worker", signal.SIGTERM)


def hand_killed(scene: Scene, rng: random.Random) -> None:
    """kill -9 one process that reads or writes for a worker, if any does."""
    _kill_one(scene, rng, hands)


def chief_killed(scene: Scene, rng: random.Random) -> None:
    """kill -9 the process that a worker's hands are forked from."""
    _kill_one(scene, rng, chiefs)


def api_killed(scene: Scene, rng: random.Random) -> None:
    """kill -9 the API."""
    scene.signal("api", signal.SIGKILL)


def loops_killed(scene: Scene, rng: random.Random) -> None:
    """kill -9 the tower's loops."""
    scene.signal("loops", signal.SIGKILL)


def frozen(scene: Scene, rng: random.Random) -> None:
    """Stop some part for some seconds, shorter than any lease."""
    part = rng.choice(["worker", "second", "loops", "api", "valkey"])
    pid = scene.second.pid if part == "second" else scene.pid(part)
    if pid is not None and send(pid, signal.SIGSTOP):
        time.sleep(rng.uniform(0.5, 4.0))
        send(pid, signal.SIGCONT)


def frozen_past_its_lease(scene: Scene, rng: random.Random) -> None:
    """Stop a worker in the middle of a unit until the tower has taken its work away, then let it go on."""
    pid = scene.second.pid
    if pid is None:
        return
    send(pid, signal.SIGSTOP)
    deadline = time.monotonic() + 90
    held = "SELECT 1 FROM unit WHERE worker = 'second' AND claim_id IS NOT NULL"
    while scene.sql(held) and time.monotonic() < deadline:
        time.sleep(0.5)
    send(pid, signal.SIGCONT)


def clock_off(scene: Scene, rng: random.Random) -> None:
    """A second worker whose clock is an hour off."""
    scene.second.stop(signal.SIGTERM)
    scene.second.start(scene.stack.url, clock_off=rng.choice([3600, -3600]))


def power_cut(scene: Scene, rng: random.Random) -> None:
    """kill -9 everything at once, and up again."""
    scene.stack.kill_everything()
    scene.second.stop(signal.SIGKILL)
    scene.stack.up()
    scene.second.start(scene.stack.url)


def _kill_one(scene: Scene, rng: random.Random, below: Callable[[int], list[int]]) -> None:
    workers = [pid for pid in (scene.pid("worker"), scene.second.pid) if pid is not None]
    found = [pid for worker in workers for pid in below(worker)]
    if found:
        send(rng.choice(found), signal.SIGKILL)


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
