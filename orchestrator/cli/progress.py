"""A job's progress on a terminal's stderr; nothing at all in a pipe."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from orchestrator.cli import formats
from orchestrator.cli.waiting import Job, View

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

WAITING = {
    "not_due": "for its time",
    "window": "for its window",
    "blackout": "for the end of a blackout",
    "paused": "for the item, or something that it needs, to be resumed",
    "slot:global": "for a slot",
    "slot:class": "for a slot of its kind",
    "slot:tenant": "for a slot of the tenant",
    "slot:location": "for a slot of the location",
    "slot:hypervisor": "for a slot of the hypervisor",
    "slot:bandwidth": "for room on the location's line",
    "slot:machine": "for a slot of the machine",
    "slot:vault": "for a slot of the vault",
    "worker": "for a worker to take it",
    "admission": "for its turn",
    "dependency": "for another backup of the item",
    "backoff": "for the next attempt",
    "breaker": "until fewer jobs fail with its error",
}


def view_for_terminal() -> View:
    """Return a progress bar when stderr is a terminal, else a view that shows nothing."""
    return _Bar() if sys.stderr.isatty() else _Silence()


def situation(job: Job) -> str:
    """Return in a few words where the job is: its phase or what it waits for, and which attempt failed before."""
    error = job.get("error")
    failed = f"; attempt {error['attempt']} failed: {error['code']}" if error and "attempt" in error else ""
    return _now(job) + failed


def _now(job: Job) -> str:
    """Return the phase of a job, or what it waits for, its place and the forecast."""
    reason = job.get("wait_reason")
    if reason:
        place, start = job.get("queue_position"), job.get("expected_start_at")
        told = [f"place {place}"] if place else []
        told += [f"start expected {formats.moment(start)}"] if start else []
        return f"waiting {WAITING.get(reason, reason)}" + (f" ({', '.join(told)})" if told else "")
    phase = (job.get("progress") or {}).get("phase")
    return str(phase or job["state"])


class _Silence:
    def show(self, job: Job) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Have nothing to leave."""


class _Bar:
    """Files, bytes, rate and estimate of one job in one line."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def show(self, job: Job) -> None:
        """Draw the job's progress; totals of 0 are unknown and pulse."""
        if self._progress is None:
            self._start(str(job["kind"]))
        if self._progress is None or self._task is None:
            return
        numbers = job.get("progress") or {}
        total = numbers.get("bytes_total") or None
        done = numbers.get("bytes_done", 0)
        self._progress.update(
            self._task,
            completed=min(done, total) if total else done,  # the total is the last run's: the source may have grown
            total=total,
            situation=situation(job),
            files=f"{formats.count(numbers.get('files_done', 0))} files",
        )

    def close(self) -> None:
        """Stop drawing. Idempotent."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _start(self, kind: str) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[situation]}"),
            TextColumn("{task.fields[files]}"),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(file=sys.stderr),
            transient=True,
            refresh_per_second=5,
        )
        self._task = self._progress.add_task(kind, total=None, situation="", files="")
        self._progress.start()
