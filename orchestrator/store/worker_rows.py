"""The table ``worker``.

Rule of the file: a name has one session; saying hello takes it over.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.domain.system import Worker
from orchestrator.store.base import Rows, inline
from shared.contracts.work import Hello

_NOTED_EVERY = 5.0
"""Seconds. Every claim and renewal is a sign of life; writing each of them would make a worker's calls queue up."""


class WorkerRows(Rows):
    """The worker processes."""

    def introduce(self, hello: Hello) -> None:
        """Keep the process."""
        self._run(
            inline(
                "INSERT INTO worker AS w (name, session, version, concurrency)"
                " VALUES (:name, :session, :version, :concurrency)"
                " ON CONFLICT (name) DO UPDATE SET session = excluded.session, version = excluded.version,"
                " concurrency = excluded.concurrency, last_seen_at = clock_timestamp()"
            ),
            name=hello.worker,
            session=hello.session,
            version=hello.version,
            concurrency=hello.concurrency,
        )

    def seen(self, worker: str, session: str) -> bool:
        """Note a sign of life, to a few seconds; False when a newer session has taken the name.

        Until the commit no other session takes it. Calls of one worker wait for each other only while they note.
        """
        noted = self._one(
            inline(
                "SELECT last_seen_at > clock_timestamp() - make_interval(secs => :every) AS lately FROM worker"
                " WHERE name = :name"
            ),
            name=worker,
            every=_NOTED_EVERY,
        )
        if noted is not None and noted["lately"]:
            row = self._one(
                inline("SELECT session = :session AS current FROM worker WHERE name = :name FOR SHARE"),
                name=worker,
                session=session,
            )
            return row is not None and bool(row["current"])
        row = self._one(
            inline(
                "INSERT INTO worker AS w (name, session, version, concurrency) VALUES (:name, :session, '', 1)"
                " ON CONFLICT (name) DO UPDATE SET last_seen_at = CASE WHEN w.session = excluded.session"
                " THEN clock_timestamp() ELSE w.last_seen_at END RETURNING w.session = :session AS current"
            ),
            name=worker,
            session=session,
        )
        return row is not None and bool(row["current"])

    def all(self) -> Sequence[Worker]:
        """Return the workers by name."""
        rows = self._all(
            inline(
                "SELECT w.name, w.session, w.version, w.concurrency, w.last_seen_at,"
                " (SELECT count(*) FROM unit u WHERE u.claim_id IS NOT NULL AND u.worker = w.name) AS running"
                " FROM worker w ORDER BY w.name"
            )
        )
        return [Worker(**row) for row in rows]
