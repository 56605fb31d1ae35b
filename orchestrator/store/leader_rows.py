"""The table ``leader``: a lease with a term that only grows.

Rule of the file: the database's clock decides; the holder keeps an earlier deadline of its own.
"""

from __future__ import annotations

from orchestrator.domain.system import Leadership
from orchestrator.store.base import Rows, inline, statement
from shared.errors import SkyharborError


class LeaderRows(Rows):
    """Who leads the tower."""

    def acquire(self, holder: str, *, ttl: float) -> Leadership | None:
        """Begin a new term when nobody leads."""
        row = self._one(statement("acquire_leader"), holder=holder, ttl=ttl)
        return None if row is None else Leadership(holder, row["term"])

    def renew(self, leadership: Leadership, *, ttl: float) -> bool:
        """Prolong the term; False when it is over."""
        return self._run(statement("renew_leader"), holder=leadership.holder, term=leadership.term, ttl=ttl) == 1

    def resign(self, leadership: Leadership) -> None:
        """End the term now."""
        self._run(
            inline(
                "UPDATE leader SET expires_at = clock_timestamp() - interval '1 second'"
                " WHERE name = 'tower' AND holder = :holder AND term = :term"
            ),
            holder=leadership.holder,
            term=leadership.term,
        )

    def require(self, leadership: Leadership) -> None:
        """Raise ``conflict`` unless this term is the current one."""
        row = self._one(
            inline(
                "SELECT 1 FROM leader WHERE name = 'tower' AND holder = :holder AND term = :term"
                " AND expires_at > clock_timestamp()"
            ),
            holder=leadership.holder,
            term=leadership.term,
        )
        if row is None:
            raise SkyharborError("conflict", f"term {leadership.term} of the tower is over")
