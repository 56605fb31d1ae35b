"""Admission's statements, and the slot scopes.

Rule of the file: one admitting transaction at a time; jobs are locked before slots, and slots in one order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.domain.admission import Candidate, Needs, Room, ScopeKey, room_for, scopes_of
from orchestrator.domain.system import SlotScope
from orchestrator.store.base import Rows, inline, statement
from shared.errors import SkyharborError
from shared.model.backup import JobKind

_LOCK = 0x61646D69  # "admi": the admitting transaction's advisory lock


class AdmissionRows(Rows):
    """The dispatcher's critical section."""

    def enter(self) -> bool:
        """Try to be the only admitting transaction; held until the commit."""
        return bool(self._db.execute(inline("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": _LOCK}).scalar_one())

    def promote_due(self, *, limit: int) -> int:
        """Move due scheduled and retryable jobs to available."""
        return self._run(statement("promote_due"), limit=limit)

    def candidates(self, *, closed_policies: Sequence[str], limit: int) -> Sequence[Candidate]:
        """Return startable jobs in order, locked."""
        rows = self._all(statement("candidates"), closed=list(closed_policies), limit=limit)
        return [
            Candidate(row["id"], row["epoch"], JobKind(row["kind"]), row["item_id"], row["machine_id"], row["vault_id"])
            for row in rows
        ]

    def room(self, candidates: Sequence[Candidate]) -> Mapping[ScopeKey, Room]:
        """Lock the scopes that these candidates touch and return what is left on them."""
        scopes = sorted({scope for candidate in candidates for scope in scopes_of(candidate)})
        names, keys = [scope for scope, _ in scopes], [key for _, key in scopes]
        self._run(statement("admit_lock_slots"), scopes=names, keys=keys)
        rows = self._all(
            inline(
                "SELECT s.* FROM slot_scope s"
                " JOIN unnest(CAST(:scopes AS text[]), CAST(:keys AS text[])) AS n (scope, key)"
                " ON n.scope = s.scope AND n.key = s.key"
            ),
            scopes=names,
            keys=keys,
        )
        return {
            (row["scope"], row["key"]): Room(0, 0)
            if row["paused"]
            else Room(
                room_for(JobKind.RESTORE, capacity=row["capacity"], in_use=row["in_use"], floor=row["floor"]),
                room_for(JobKind.BACKUP, capacity=row["capacity"], in_use=row["in_use"], floor=row["floor"]),
            )
            for row in rows
        }

    def admit(self, needs: Sequence[Needs]) -> None:
        """Admit the jobs, write their doorbells, take their slots; all or nothing."""
        rung = self._run(
            statement("admit_jobs"), ids=[need.job_id for need in needs], epochs=[need.epoch for need in needs]
        )
        if rung != len(needs):
            raise SkyharborError("conflict", "a job that was to be admitted has moved on")
        flat = [(need.job_id, scope, key) for need in needs for scope, key in need.scopes]
        self._run(
            statement("admit_slots"),
            jobs=[job for job, _, _ in flat],
            scopes=[scope for _, scope, _ in flat],
            keys=[key for _, _, key in flat],
        )

    def explain_waits(self, *, closed_policies: Sequence[str]) -> int:
        """Set the wait reason of every waiting job."""
        return self._run(statement("explain_waits"), closed=list(closed_policies))


class SlotRows(Rows):
    """The slot scopes."""

    def all(self) -> Sequence[SlotScope]:
        """Return every scope, global first."""
        rows = self._all(inline("SELECT scope, key, capacity, in_use, paused FROM slot_scope ORDER BY scope, key"))
        return [SlotScope(**row) for row in rows]
