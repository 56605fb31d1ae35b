"""The table ``outbox``: doorbells decided in a transaction, rung after it.

Rule of the file: at least once; a row is never lost and never rung while its decision may still be undone.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.store.base import Rows, inline, statement
from shared.contracts.work import Doorbell


class OutboxRows(Rows):
    """Doorbells decided and not yet rung."""

    def take(self, *, limit: int) -> Sequence[tuple[int, Doorbell]]:
        """Reserve the oldest rows for 30 s."""
        rows = self._all(statement("take_outbox"), limit=limit)
        doorbells = [(row["id"], Doorbell(job_id=row["job_id"], epoch=row["epoch"], unit=row["unit"])) for row in rows]
        return sorted(doorbells, key=lambda pair: pair[0])

    def published(self, ids: Sequence[int]) -> None:
        """Mark rows as rung."""
        self._run(
            inline("UPDATE outbox SET published_at = clock_timestamp() WHERE id = ANY (CAST(:ids AS bigint[]))"),
            ids=list(ids),
        )

    def give_back(self, ids: Sequence[int]) -> None:
        """Undo the reservation."""
        self._run(
            inline(
                "UPDATE outbox SET taken_until = NULL WHERE id = ANY (CAST(:ids AS bigint[])) AND published_at IS NULL"
            ),
            ids=list(ids),
        )

    def ring_again(self, *, after: float) -> int:
        """Write new doorbells for admitted jobs that nobody claimed."""
        return self._run(statement("ring_again"), after=after)

    def sweep(self, *, days: int) -> int:
        """Delete rung rows older than so many days."""
        return self._run(
            inline("DELETE FROM outbox WHERE published_at < clock_timestamp() - make_interval(days => :days)"),
            days=days,
        )
