"""Waiting for a job: follow its events, survive a restarted tower, show where it is.

Rule of the file: the job never depends on who watches it; losing the stream costs a reconnect, and giving up
costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

from orchestrator.cli.client import Tower, at
from shared.clock import Clock
from shared.errors import SkyharborError

Job = Mapping[str, Any]

_PATIENCE = 120.0
"""Seconds for which a tower may stay unreachable while somebody waits: a restart with a migration fits in."""

_RECONNECT_AFTER = 0.5

_NO_WORKER_AFTER = 30.0
"""Seconds of waiting for workers after which their list is looked at: more than one ring of the doorbell."""

_WAITS_FOR_NO_WORKER = ("not_due", "window", "blackout", "paused", "backoff")
"""Reasons that pass by themselves or by a person's word. All others (a slot, another job) end by a worker's work."""

_WORKER_SILENT_AFTER = 120.0
"""Seconds without a sign of life after which a worker is not counted on: eight missed idle polls."""


class View(Protocol):
    """Something that shows a job to a person while it runs."""

    def show(self, job: Job) -> None:
        """Show the job as it is now; called at every change."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was. Idempotent."""
        ...


def is_terminal(job: Job) -> bool:
    """Whether the job has ended for good."""
    return job["state"] in ("completed", "cancelled", "discarded", "expired")


def wait_for(tower: Tower, job: Job, *, clock: Clock, show: Callable[[Job], None]) -> Job:
    """Return the job once it has ended; ``show`` is called with the job at every change, the last one included.

    Raises ``server-unreachable`` when the tower stays away for two minutes, and ``worker-unavailable`` when the job
    waits for what only workers can do and none has been heard of for two minutes. The job itself goes on in both cases.
    """
    show(job)
    answered_at = clock.monotonic()
    no_worker = _WorkerWatch(tower, clock)
    while not is_terminal(job):
        try:
            for event in tower.job_events(str(job["id"])):
                answered_at = clock.monotonic()
                if event is not None:
                    job = event
                    show(job)
                no_worker.check(job)
            if not is_terminal(job):  # a stream may end early, when the server restarts
                clock.sleep(_RECONNECT_AFTER)
                job = tower.get(at("jobs", str(job["id"])))
                show(job)
        except SkyharborError as error:
            if error.code != "server-unreachable" or clock.monotonic() - answered_at > _PATIENCE:
                raise
            clock.sleep(_RECONNECT_AFTER)
    return job


class _WorkerWatch:
    """Notices that nobody is there to take a job; a worker that is merely busy is no reason to give up."""

    def __init__(self, tower: Tower, clock: Clock) -> None:
        self._tower = tower
        self._clock = clock
        self._since: float | None = None

    def check(self, job: Job) -> None:
        reason = job["wait_reason"]
        if reason is None or reason in _WAITS_FOR_NO_WORKER:
            self._since = None
            return
        now = self._clock.monotonic()
        if self._since is None:
            self._since = now
        if now - self._since < _NO_WORKER_AFTER:
            return
        self._since = now
        if not any(self._is_alive(worker) for worker in self._tower.get("/system")["workers"]):
            raise SkyharborError("worker-unavailable", f"job {job['id']} waits; no worker has been heard of lately")

    def _is_alive(self, worker: Mapping[str, Any]) -> bool:
        seen = worker.get("last_seen_at")
        if not isinstance(seen, str):
            return False
        return (self._clock.now() - datetime.fromisoformat(seen)).total_seconds() < _WORKER_SILENT_AFTER
