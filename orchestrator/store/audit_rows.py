"""The tables ``audit_unsealed`` and ``audit``: lines as they are told, and the chain that they are sealed into.

Rule of the file: telling a line locks nothing. Sealers wait for each other's commit by an advisory lock, so the chain
has no forks and no holes, and a line leaves the one table in the transaction in which it enters the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.domain.audit import GENESIS, line_hash
from orchestrator.domain.inventory import AuditEntry, AuditLine
from orchestrator.store.base import RowMapping, Rows, inline, statement, to_json

_LOCK = 0x61756469  # "audi"


class AuditRows(Rows):
    """The audit log."""

    def append(self, *, actor: str, action: str, target: str, detail: Mapping[str, object]) -> None:
        """Tell one line; it is sealed later."""
        self.append_all([AuditLine(actor, action, target, detail)])

    def append_all(self, lines: Sequence[AuditLine]) -> None:
        """Tell lines, of one moment, in one statement."""
        if not lines:
            return
        self._run(
            statement("tell_audit"),
            lines=to_json(
                [
                    {"actor": one.actor, "action": one.action, "target": one.target, "detail": dict(one.detail)}
                    for one in lines
                ]
            ),
        )

    def seal(self, *, limit: int) -> int:
        """Chain up to so many lines, in the order in which they were told; returns how many."""
        self._run(inline("SELECT pg_advisory_xact_lock(:lock)"), lock=_LOCK)
        told = sorted(self._all(statement("take_unsealed"), limit=limit), key=lambda row: int(row["id"]))
        if not told:
            return 0
        last = self._one(inline("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1"))
        sealed = _chained(told, seq=last["seq"] if last else 0, previous=last["hash"] if last else GENESIS)
        self._run(statement("append_audit"), lines=to_json(sealed))
        return len(told)

    def unsealed(self) -> int:
        """Return how many lines are told and not sealed yet."""
        return int(self._db.execute(inline("SELECT count(*) FROM audit_unsealed")).scalar_one())

    def after(self, seq: int, *, limit: int) -> Sequence[AuditEntry]:
        """Return sealed lines with a greater number, in order."""
        rows = self._all(inline("SELECT * FROM audit WHERE seq > :seq ORDER BY seq LIMIT :limit"), seq=seq, limit=limit)
        return [AuditEntry(**row) for row in rows]


def _chained(told: Sequence[RowMapping], *, seq: int, previous: str) -> list[dict[str, object]]:
    """Return the lines that follow on (``seq``, ``previous``), as ``append_audit`` takes them."""
    sealed: list[dict[str, object]] = []
    for row in told:
        seq += 1
        line = {"actor": row["actor"], "action": row["action"], "target": row["target"], "detail": row["detail"]}
        hash_ = line_hash(previous=previous, seq=seq, at=row["at"], **line)
        sealed.append({**line, "seq": seq, "at": row["at"].isoformat(), "previous": previous, "hash": hash_})
        previous = hash_
    return sealed
