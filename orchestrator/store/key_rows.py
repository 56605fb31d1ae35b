"""The table ``idempotency_key``.

Rule of the file: a key is taken in the transaction that makes its job, so a key without a job cannot be seen.
"""

from __future__ import annotations

from orchestrator.store.base import Rows, inline, statement


class KeyRows(Rows):
    """Which request an Idempotency-Key has made."""

    def take(self, key: str, *, request_hash: str, job_id: str) -> tuple[str, str]:
        """Return the request hash and the job that the key stands for now."""
        row = self._one(statement("take_key"), key=key, request_hash=request_hash, job_id=job_id)
        if row is None:
            raise AssertionError("an upsert with RETURNING gave no row")
        return row["request_hash"], row["job_id"]

    def sweep(self, *, days: int) -> int:
        """Delete keys older than so many days."""
        return self._run(
            inline("DELETE FROM idempotency_key WHERE created_at < clock_timestamp() - make_interval(days => :days)"),
            days=days,
        )
