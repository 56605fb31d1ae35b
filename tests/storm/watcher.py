"""Looks at the control database many times a second, by a connection of its own, from before the storm to its end.

Rule of the file: it asks the checker's questions about moments, and keeps what must still be true at the end. A
database that is away is waited for.
"""

from __future__ import annotations

import threading
import time
from datetime import datetime
from typing import Any

import psycopg

from tests.storm.checker import collecting
from tests.storm.checker.database import look
from tests.storm.checker.slots import SlotSample, judge, judge_step, take_sample
from tests.storm.checker.violation import Violation
from tests.storm.checker.waiting import Silence

EVERY = 0.04
"""Seconds between two samples of the slots."""

_SLOWLY = 1.0
"""Seconds between two looks at what has ended, what the audit log says, and who is silent."""

_PATIENCE = 20.0
"""Seconds that a job may wait without a reason while the tower is disturbed: it has to get up again first."""


class Watcher:
    """One thread. After ``close``: its ``violations``, and what it has seen."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self.violations: list[Violation] = []
        self.samples = 0
        self.gaps = 0
        self.ended: dict[str, tuple[str, datetime]] = {}
        self.lines: dict[int, str] = {}
        self._silence = Silence(patience=_PATIENCE)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._closing.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                with psycopg.connect(self._dsn, autocommit=True, connect_timeout=5) as connection:
                    self._look_on(connection)
            except psycopg.OperationalError:
                self.gaps += 1
                self._silence.forget()
                self._closing.wait(0.1)

    def _look_on(self, connection: psycopg.Connection[Any]) -> None:
        before: SlotSample | None = None
        slow_at = 0.0
        while not self._closing.wait(EVERY):
            sample = take_sample(connection)
            self._note(judge(sample))
            if before is not None:
                self._note(judge_step(before, sample))
            before = sample
            self.samples += 1
            if time.monotonic() >= slow_at:
                self._look_slowly(connection)
                slow_at = time.monotonic() + _SLOWLY

    def _look_slowly(self, connection: psycopg.Connection[Any]) -> None:
        for job, state, at in connection.execute(
            "SELECT id, state, finished_at FROM job WHERE finished_at IS NOT NULL AND NOT id = ANY (%s)",
            [list(self.ended)],
        ):
            self.ended[job] = (state, at)
        newest = max(self.lines, default=0)
        self.lines.update(connection.execute("SELECT seq, hash FROM audit WHERE seq > %s", [newest]).fetchall())
        self._note(self._silence.look(connection))
        with look(self._dsn) as db:
            for question in collecting.AT_ANY_MOMENT:
                self._note(question(db))

    def _note(self, found: list[Violation]) -> None:
        known = {violation.claim for violation in self.violations}
        self.violations += [violation for violation in found if violation.claim not in known]
