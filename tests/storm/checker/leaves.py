"""I2: nobody seals a point without the tower's leave, given to that very attempt and before.

A leave is a moment: the job is ``committing``, and may be something else a millisecond later. So the checker has a
ledger of its own in the database, which a trigger writes with whoever moves a job there; what the tower remembers is
the first leave of a job, not that of each attempt.

Rule of the file: who sealed is told by the manifest, when by its file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from tests.storm.checker.database import Look
from tests.storm.checker.violation import Violation

_COARSE = timedelta(milliseconds=50)
"""The kernel's clock for files goes in steps, and may be behind by one."""

_LEDGER = (
    "CREATE SCHEMA checker",
    "CREATE TABLE checker.leave (job_id text NOT NULL, epoch bigint NOT NULL, at timestamptz NOT NULL)",
    "CREATE FUNCTION checker.note_leave() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " INSERT INTO checker.leave VALUES (NEW.id::text, NEW.epoch, clock_timestamp()); RETURN NULL; END $$",
    "CREATE TRIGGER checker_notes_leave AFTER UPDATE ON job FOR EACH ROW WHEN (NEW.state = 'committing'"
    " AND (OLD.state, OLD.epoch) IS DISTINCT FROM (NEW.state, NEW.epoch)) EXECUTE FUNCTION checker.note_leave()",
)


@dataclass(frozen=True)
class Seal:
    """Who sealed a point, by its manifest, and when."""

    point: str
    job: str
    epoch: int
    at: datetime


def keep_ledger(connection: psycopg.Connection[Any]) -> None:
    """Begin to write leaves down, before the first job."""
    for statement in _LEDGER:
        connection.execute(statement)  # type: ignore[call-overload]


def seals(folder: Path, vault: Path, points: Sequence[str]) -> list[Seal]:
    """Return who sealed these points: ``folder`` holds what the independent reader has written about each."""
    found = []
    for point in points:
        told, manifest = folder / f"{point}.json", next(vault.glob(f"points/*/*/{point}"), None)
        if told.exists() and manifest is not None:
            body = json.loads(told.read_text())
            at = datetime.fromtimestamp(manifest.stat().st_mtime, UTC)
            found.append(Seal(point, body["job_id"], body["epoch"], at))
    return found


def unasked(db: Look, sealed: Iterable[Seal]) -> list[Violation]:
    """I2: points that were sealed by an attempt without leave, or before it had one."""
    given: dict[tuple[str, int], datetime] = {}
    for row in db.rows("SELECT job_id, epoch, at FROM checker.leave ORDER BY at DESC"):
        given[row["job_id"], row["epoch"]] = row["at"]
    found = []
    for seal in sealed:
        leave = given.get((seal.job, seal.epoch))
        by = f"point {seal.point} of job {seal.job} was sealed in epoch {seal.epoch}"
        if leave is None:
            found.append(Violation("I2", f"{by} by a worker that had not asked", given.keys()))
        elif seal.at + _COARSE < leave:
            found.append(Violation("I2", f"{by} before it was allowed", {"sealed": seal.at, "allowed": leave}))
    return found
