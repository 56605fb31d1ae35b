"""The table ``audit``: insert-only, every line chained to the one before.

Rule of the file: an advisory lock makes appenders wait for each other's commit, so the chain has no forks and no holes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.domain.audit import GENESIS, line_hash
from orchestrator.domain.inventory import AuditEntry
from orchestrator.store.base import Rows, inline, statement, to_json

_LOCK = 0x61756469  # "audi"


class AuditRows(Rows):
    """The audit log."""

    def append(self, *, actor: str, action: str, target: str, detail: Mapping[str, object]) -> None:
        """Append one line; everybody else who appends waits until the commit."""
        self._run(inline("SELECT pg_advisory_xact_lock(:lock)"), lock=_LOCK)
        last = self._one(
            inline("SELECT a.seq, a.hash, clock_timestamp() AS at FROM audit a ORDER BY a.seq DESC LIMIT 1")
        )
        at = last["at"] if last is not None else self._db.execute(inline("SELECT clock_timestamp()")).scalar_one()
        seq = last["seq"] + 1 if last is not None else 1
        previous = last["hash"] if last is not None else GENESIS
        plain = dict(detail)
        self._run(
            statement("append_audit"),
            seq=seq,
            at=at,
            actor=actor,
            action=action,
            target=target,
            detail=to_json(plain),
            previous=previous,
            hash=line_hash(previous=previous, seq=seq, at=at, actor=actor, action=action, target=target, detail=plain),
        )

    def after(self, seq: int, *, limit: int) -> Sequence[AuditEntry]:
        """Return lines with a greater number, in order."""
        rows = self._all(inline("SELECT * FROM audit WHERE seq > :seq ORDER BY seq LIMIT :limit"), seq=seq, limit=limit)
        return [AuditEntry(**row) for row in rows]
