"""A broker that forgets, dies, stammers, mixes up, loses and lies.

Doorbells are rung too often and forged through the product's own bell; what is in the queue is dropped and mixed up
where it lies.

Rule of the file: a broker that is away already is fault enough.
"""

from __future__ import annotations

import contextlib
import random
import signal
import time
import uuid
from collections.abc import Iterator

import redis

from orchestrator.dispatch.celery_bell import QUEUE, CeleryBell
from shared.contracts.work import Doorbell
from shared.errors import SkyharborError
from tests.storm.scene import Scene

_PATIENCE = 3.0


@contextlib.contextmanager
def _broker(scene: Scene) -> Iterator[redis.Redis]:
    client = redis.Redis(unix_socket_path=scene.broker_socket, socket_timeout=5)
    try:
        with contextlib.suppress(redis.RedisError, OSError):
            yield client
    finally:
        client.close()


def flushed(scene: Scene, rng: random.Random) -> bool:
    """FLUSHALL."""
    with _broker(scene) as broker:
        return bool(broker.flushall())
    return False


def killed(scene: Scene, rng: random.Random) -> bool:
    """kill -9 the broker."""
    return scene.signal("valkey", signal.SIGKILL)


def restarted(scene: Scene, rng: random.Random) -> bool:
    """Stop the broker in good order; it is started again."""
    return scene.signal("valkey", signal.SIGTERM)


def dropped(scene: Scene, rng: random.Random) -> bool:
    """Lose about half of what waits in the queue."""
    with scene.workers_held(), _broker(scene) as broker:
        _wait_for_doorbells(broker)
        lost = [broker.lpop(QUEUE) for _ in range(int(broker.llen(QUEUE))) if rng.random() < 0.5]
        return any(message is not None for message in lost)
    return False


def mixed_up(scene: Scene, rng: random.Random) -> bool:
    """Put what waits in the queue into another order, each message twice."""
    with scene.workers_held(), _broker(scene) as broker:
        _wait_for_doorbells(broker)
        waiting = list(broker.lrange(QUEUE, 0, -1))
        if waiting:
            rng.shuffle(waiting)
            broker.lpush(QUEUE, *waiting, *waiting)
        return bool(waiting)
    return False


def stammered(scene: Scene, rng: random.Random) -> bool:
    """Ring for every open job five times: as it is, with the epoch before and the one after."""
    jobs = scene.sql("SELECT id, epoch FROM job WHERE finished_at IS NULL ORDER BY id")
    rings = [Doorbell(job_id=job, epoch=epoch + rng.choice([0, 0, -1, 1]), unit=0) for job, epoch in jobs] * 5
    return _ring(scene, rings)


def forged(scene: Scene, rng: random.Random) -> bool:
    """Ring for jobs that do not exist, have ended, or have no such unit."""
    jobs = [row[0] for row in scene.sql("SELECT id FROM job ORDER BY id")]
    jobs += [str(uuid.UUID(int=rng.getrandbits(128))), "", "x" * 5000, "'; DROP TABLE job; --"]
    units = [0, 1, 7, -1, 1 << 40]
    return _ring(
        scene,
        [
            Doorbell(job_id=rng.choice(jobs), epoch=rng.choice([0, 1, 5, 1 << 62, -3]), unit=rng.choice(units))
            for _ in range(30)
        ],
    )


def _wait_for_doorbells(broker: redis.Redis) -> None:
    """Wait for a moment until some wait in the queue; there may be none."""
    until = time.monotonic() + _PATIENCE
    while not broker.llen(QUEUE) and time.monotonic() < until:
        time.sleep(0.05)


def _ring(scene: Scene, doorbells: list[Doorbell]) -> bool:
    bell, rung = CeleryBell(scene.broker_url), 0
    with contextlib.suppress(SkyharborError):
        for doorbell in doorbells:
            bell.ring(doorbell)
            rung += 1
    bell.close()
    return rung > 0


KINDS = {
    "broker flushed": flushed,
    "broker killed": killed,
    "broker restarted": restarted,
    "doorbells dropped": dropped,
    "doorbells mixed up": mixed_up,
    "doorbells stammered": stammered,
    "doorbells forged": forged,
}
