"""The whole embedded stack at work on the smallest jobs there are: how soon one starts, how many end per second.

A job here is a real one (verify of a point of one tiny file): accepted by the API, admitted, rung for through the
broker, claimed, flown with heartbeats and completed. Nothing is replaced. The jobs are spread over a few items, as
those of a fleet are: jobs of one point write the same row when they end, and would only measure that.

Rule of the file: times are the database's, of the rows that the product writes. CPU time is of the whole stack, servers
included, and says more than a rate on a machine with other work.
"""

from __future__ import annotations

import concurrent.futures
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from statistics import quantiles
from typing import Any

import httpx
import redis

from tests.benchmarks.processes import cpu_of_tree, memory_of_tree
from tests.benchmarks.tower.rows import Measured
from tests.support.fleet import Fleet
from tests.support.stack import Stack, wait_for

IDLE_JOBS, BUSY_JOBS = 100, 1000
ITEMS = 32
CLIENTS = 4
_WORKERS = 16


def measure() -> Iterator[Measured]:
    """Yield the rows; the stack is started and stopped here."""
    with tempfile.TemporaryDirectory(prefix="skyharbor-bench-") as folder:
        stack = Stack(Path(folder) / "home")
        stack.run("up", "--detach", "--port", "0", "--workers", str(_WORKERS), timeout=60)
        stack.url = str(stack.status()["url"])
        try:
            yield from _rows(stack, Path(folder))
        finally:
            stack.down()


def _rows(stack: Stack, folder: Path) -> Iterator[Measured]:
    fleet = Fleet.settle(stack, folder / "fleet")
    (folder / "tree").mkdir()
    (folder / "tree" / "file").write_bytes(b"x")
    points = _points(stack, fleet, folder / "tree")
    for scope in ("global", "machine/m1", "vault/v1"):
        stack.ask("slot", "set", scope, str(2 * BUSY_JOBS))
    with stack.http() as http:
        starts = [_start(stack, http, points[0]) for _ in range(IDLE_JOBS)]
    yield Measured("API request to worker running, idle, p99", quantiles(starts, n=100)[98] * 1000, "ms", at_most=300)
    began, used = time.perf_counter(), _cpu(stack)
    _ask_all(stack, points, BUSY_JOBS)
    _wait_all(stack, ITEMS + IDLE_JOBS + BUSY_JOBS)
    rate = BUSY_JOBS / (time.perf_counter() - began)
    yield Measured(f"{BUSY_JOBS} jobs, accepted to completed", rate, "jobs/s", at_least=200)
    for name, seconds in _cpu(stack).items():
        yield Measured(f"CPU time of a job: {name}", (seconds - used[name]) * 1000 / BUSY_JOBS, "ms")
    calm, flushed = (_drained(stack, points, flush=flush) for flush in (False, True))
    # Without those who ask: they are on the same cores, and the API is busy with them.
    yield Measured(f"{BUSY_JOBS} jobs that were accepted before, to completed", BUSY_JOBS / calm, "jobs/s")
    yield Measured(f"added by a flush of the broker, {BUSY_JOBS} jobs queued", flushed - calm, "s", at_most=30)
    yield Measured("control plane's memory (api + loops)", _memory(stack) / (1 << 20), "MiB", at_most=400)


def _start(stack: Stack, http: httpx.Client, point: str) -> float:
    """Return the seconds from the acceptance of a job to the start of its attempt."""
    reply = http.post("/api/v1/jobs", json={"kind": "verify", "point": point})
    reply.raise_for_status()
    job = stack.wait_job(reply.json()["id"], "completed")
    return (datetime.fromisoformat(job["started_at"]) - datetime.fromisoformat(job["created_at"])).total_seconds()


def _drained(stack: Stack, points: Sequence[str], *, flush: bool) -> float:
    """Return the seconds in which a thousand jobs end that were queued before; their doorbells are lost on the way."""
    ended = _queue(stack)["completed"]
    stack.ask("slot", "set", "global", "0")
    _ask_all(stack, points, BUSY_JOBS)
    began = time.perf_counter()
    stack.ask("slot", "set", "global", str(2 * BUSY_JOBS))
    if flush:
        wait_for(lambda: _queue(stack)["completed"] > ended, "the first job to end", seconds=30)
        redis.Redis(unix_socket_path=str(stack.home / "run" / "valkey.sock")).flushall()
    _wait_all(stack, ended + BUSY_JOBS)
    return time.perf_counter() - began


def _points(stack: Stack, fleet: Fleet, tree: Path) -> list[str]:
    """Return a point of each of a few items."""
    with stack.http() as http:
        for number in range(ITEMS):
            fleet.protect(f"tiny{number}", tree)
        asked = [http.post("/api/v1/jobs", json={"kind": "backup", "item": f"tiny{n}"}).json() for n in range(ITEMS)]
    return [str(stack.wait_job(job["id"], "completed")["point"]) for job in asked]


def _ask_all(stack: Stack, points: Sequence[str], count: int) -> None:
    def ask(share: int) -> None:
        with stack.http() as http:
            for number in range(share):
                body = {"kind": "verify", "point": points[number % len(points)]}
                http.post("/api/v1/jobs", json=body).raise_for_status()

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(ask, [count // CLIENTS] * CLIENTS))


def _wait_all(stack: Stack, completed: int) -> None:
    wait_for(lambda: _queue(stack)["completed"] >= completed, f"{completed} jobs to end", seconds=300)


def _queue(stack: Stack) -> Any:
    with stack.http() as http:
        return http.get("/api/v1/system").json()["queue"]


def _cpu(stack: Stack) -> dict[str, float]:
    """Return the CPU seconds that every part of the stack has used so far."""
    return {name: cpu_of_tree(stack.pid(name)) for name in ("api", "postgres", "worker", "loops", "valkey")}


def _memory(stack: Stack) -> int:
    return sum(memory_of_tree(stack.pid(name)) for name in ("api", "loops"))
