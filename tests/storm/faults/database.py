"""A database that restarts, loses its connections in the middle of commits, and whose clock passes over leases.

Rule of the file: what was committed is there afterwards; everything else is allowed to be gone.
"""

from __future__ import annotations

import random
import signal
import time

import psycopg

from tests.storm.scene import Scene


def restarted_fast(scene: Scene, rng: random.Random) -> bool:
    """PostgreSQL's fast shutdown: transactions under way are rolled back."""
    return _end_postgres(scene, signal.SIGINT)


def restarted_at_once(scene: Scene, rng: random.Random) -> bool:
    """PostgreSQL's immediate shutdown: as after a crash, the log is replayed at the start."""
    return _end_postgres(scene, signal.SIGQUIT)


def killed(scene: Scene, rng: random.Random) -> bool:
    """kill -9 the server: no goodbye to anybody, and what it had started goes on for a moment."""
    return _end_postgres(scene, signal.SIGKILL)


def connections_cut(scene: Scene, rng: random.Random) -> bool:
    """Cut all connections of the tower again and again for a second: some in a commit whose answer is lost."""
    until = time.monotonic() + rng.uniform(0.5, 1.5)
    while time.monotonic() < until:
        try:
            with scene.database() as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend'"
                    " AND pid <> pg_backend_pid()"
                )
        except psycopg.OperationalError:
            continue
        time.sleep(rng.uniform(0.01, 0.2))
    return True


def leases_over(scene: Scene, rng: random.Random) -> bool:
    """Let the database's clock pass over the leases of living workers: their work is taken away while they do it."""
    taken = scene.sql(
        "UPDATE unit SET lease_expires_at = clock_timestamp() - interval '1 minute'"
        " WHERE claim_id IS NOT NULL AND hashtext(claim_id || %s) %% 2 = 0 RETURNING no",
        str(rng.random()),
    )
    return bool(taken)


def _end_postgres(scene: Scene, number: signal.Signals) -> bool:
    before = scene.pid("postgres")
    if scene.signal("postgres", number):
        scene.wait_for_part("postgres", other_than=before)
    return before is not None


KINDS = {
    "database restarted (fast)": restarted_fast,
    "database restarted (immediate)": restarted_at_once,
    "database killed": killed,
    "connections cut": connections_cut,
    "leases over": leases_over,
}
