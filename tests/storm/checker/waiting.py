"""I9: a waiting job says why it waits, soon after it begins to.

Rule of the file: it is told what one look after the other has seen, and keeps only since when a job has been silent.
"""

from __future__ import annotations

from typing import Any

import psycopg

from tests.storm.checker.violation import Violation

_SQL = """
SELECT extract(epoch FROM clock_timestamp())::float8,
       (SELECT json_agg(json_build_array(id, state)) FROM job
        WHERE state IN ('scheduled', 'available', 'retryable') AND coalesce(wait_reason, '') = '')
"""


class Silence:
    """Remembers since when waiting jobs have given no reason. ``patience`` is in seconds."""

    def __init__(self, *, patience: float) -> None:
        self._patience = patience
        self._since: dict[str, float] = {}

    def look(self, connection: psycopg.Connection[Any]) -> list[Violation]:
        """Look once; the database has to have been there since the last look (else ``forget`` first)."""
        row = connection.execute(_SQL).fetchone()
        assert row is not None
        return self.judge(row[0], dict(row[1] or ()))

    def judge(self, at: float, silent: dict[str, str]) -> list[Violation]:
        """Return the jobs that have been silent for too long at ``at`` (s); ``silent`` has their states."""
        self._since = {job: self._since.get(job, at) for job in silent}
        return [
            Violation("I9", f"job {job} waits without a reason for {at - since:.0f} s", silent[job])
            for job, since in self._since.items()
            if at - since > self._patience
        ]

    def forget(self) -> None:
        """Begin anew: for a while nobody was there to give reasons."""
        self._since.clear()
