"""The table ``audit``: insert-only, every line chained to the one before.

Rule of the file: an advisory lock makes appenders wait for each other's commit, so the chain has no forks and no holes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.domain.audit import GENESIS, line_hash
from orchestrator.domain.inventory import AuditEntry, AuditLine
from orchestrator.store.base import Rows, inline, statement, to_json

_LOCK = 0x61756469  # "audi"


class AuditRows(Rows):
    """The audit log."""

    def append(self, *, actor: str, action: str, target: str, detail: Mapping[str, object]) -> None:
        """Append one line; everybody else who appends waits until the commit."""
        self.append_all([AuditLine(actor, action, target, detail)])

    def append_all(self, lines: Sequence[AuditLine]) -> None:
        """Append lines, of one moment, in one statement."""
        if not lines:
            return
        self._run(inline("SELECT pg_advisory_xact_lock(:lock)"), lock=_LOCK)
        last = self._one(
            inline("SELECT a.seq, a.hash, clock_timestamp() AS at FROM audit a ORDER BY a.seq DESC LIMIT 1")
        )
        at = last["at"] if last is not None else self._db.execute(inline("SELECT clock_timestamp()")).scalar_one()
        seq = last["seq"] if last is not None else 0
        previous = last["hash"] if last is not None else GENESIS
        rows: list[dict[str, object]] = []
        for line in lines:
            seq, plain = seq + 1, dict(line.detail)
            row: dict[str, object] = {"seq": seq, "at": at, "previous": previous, "detail": to_json(plain)}
            previous = line_hash(
                previous=previous,
                seq=seq,
                at=at,
                actor=line.actor,
                action=line.action,
                target=line.target,
                detail=plain,
            )
            rows.append({**row, "actor": line.actor, "action": line.action, "target": line.target, "hash": previous})
        self._db.execute(statement("append_audit"), rows)

    def after(self, seq: int, *, limit: int) -> Sequence[AuditEntry]:
        """Return lines with a greater number, in order."""
        rows = self._all(inline("SELECT * FROM audit WHERE seq > :seq ORDER BY seq LIMIT :limit"), seq=seq, limit=limit)
        return [AuditEntry(**row) for row in rows]
