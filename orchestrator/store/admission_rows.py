"""Admission's statements.

Rule of the file: one admitting transaction at a time; jobs are locked before slots, and slots in one order.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from orchestrator.domain.admission import Candidate, Holder, Needs
from orchestrator.domain.slots import Places, Room, ScopeKey, room_of
from orchestrator.domain.urgency import AGEING, CLASS_STEP, FIRST_RANK
from orchestrator.store.base import RowMapping, Rows, inline, statement
from shared.errors import SkyharborError
from shared.model.backup import JobKind

_LOCK = 0x61646D69  # "admi": the admitting transaction's advisory lock


class AdmissionRows(Rows):
    """The dispatcher's critical section."""

    def enter(self) -> bool:
        """Try to be the only admitting transaction; held until the commit."""
        return bool(self._db.execute(inline("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": _LOCK}).scalar_one())

    def count_returns(self) -> int:
        """Count the slots that ended attempts gave back."""
        return self._run(statement("count_returns"))

    def promote_due(self, *, limit: int, retries: int, tripped: Sequence[str]) -> int:
        """Move due jobs to available, at most so many retries, and none of those with these error codes."""
        return self._run(statement("promote_due"), limit=limit, retries=retries, tripped=list(tripped))

    def recent_ends(self, *, seconds: float) -> Mapping[str, int]:
        """Return how many attempts have ended lately, by error code; the good ones under an empty code."""
        counted: Counter[str] = Counter()
        for row in self._all(statement("recent_ends"), seconds=seconds):
            counted[row["code"]] += row["ends"]
        return counted

    def retries_running(self) -> int:
        """Return how many jobs have a second attempt, or a later one, running or ready to run."""
        sql = inline(
            "SELECT count(*) FROM job WHERE state IN ('available', 'running', 'committing')"
            " AND error_code IS NOT NULL AND error_code <> 'worker-lost'"
        )
        return int(self._db.execute(sql).scalar_one())

    def slots_in_all(self) -> int:
        """Return the capacity of the whole installation."""
        sql = inline("SELECT capacity FROM slot_scope WHERE scope = 'global' AND key = ''")
        return int(self._db.execute(sql).scalar_one())

    def age(self, *, limit: int) -> int:
        """Move jobs that have waited long enough up a class."""
        return self._run(
            statement("age_jobs"), limit=limit, first=FIRST_RANK, step=CLASS_STEP, seconds=AGEING.total_seconds()
        )

    def overdue_starts(self, *, limit: int) -> Sequence[str]:
        """Return jobs whose time to start is over, locked."""
        return [row["id"] for row in self._all(statement("overdue_starts"), limit=limit)]

    def stop_overdue(self, *, limit: int) -> Sequence[str]:
        """Ask running jobs whose time to finish is over to stop."""
        return [row["id"] for row in self._all(statement("stop_overdue"), limit=limit)]

    def candidates(
        self, *, closed_policies: Sequence[str], besides: Sequence[ScopeKey] = (), limit: int
    ) -> Sequence[Candidate]:
        """Return startable jobs, so many of each tenant, locked."""
        rows = self._all(
            statement("candidates"),
            closed=list(closed_policies),
            scopes=[scope for scope, _ in besides],
            keys=[key for _, key in besides],
            limit=limit,
        )
        return [_candidate(row) for row in rows]

    def heads(self, *, closed_policies: Sequence[str], limit: int) -> Sequence[Candidate]:
        """Return the first jobs that at most slots keep from starting, in order."""
        return [_candidate(row) for row in self._all(statement("heads"), closed=list(closed_policies), limit=limit)]

    def room(self, candidates: Sequence[Candidate]) -> Mapping[ScopeKey, Room]:
        """Lock the scopes that these candidates touch and return what is left on them."""
        return self._room("admit_lock_slots", candidates)

    def look(self, candidates: Sequence[Candidate]) -> Mapping[ScopeKey, Room]:
        """Return what is left on the scopes that these candidates touch, at this moment; nothing is locked."""
        return self._room("look_at_slots", candidates)

    def _room(self, query: str, candidates: Sequence[Candidate]) -> Mapping[ScopeKey, Room]:
        names, keys = _scopes(candidates)
        return {
            (row["scope"], row["key"]): room_of(
                capacity=row["capacity"], in_use=row["in_use"], floor=row["floor"], paused=row["paused"]
            )
            for row in self._all(statement(query), scopes=names, keys=keys)
        }

    def holders(self, candidates: Sequence[Candidate]) -> Mapping[ScopeKey, Sequence[Holder]]:
        """Return who holds slots of the scopes that these candidates touch."""
        names, keys = _scopes(candidates)
        found: defaultdict[ScopeKey, list[Holder]] = defaultdict(list)
        for row in self._all(statement("scope_holders"), scopes=names, keys=keys):
            found[row["scope"], row["key"]].append(Holder(row["ends_at"], row["n"]))
        return found

    def tenants(self) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """Return the weights of the tenants, and how many admitted jobs each has."""
        weights = {row["name"]: row["weight"] for row in self._all(inline("SELECT name, weight FROM tenant"))}
        running = self._all(
            inline(
                "SELECT tenant, count(*) AS jobs FROM job WHERE state IN ('running', 'committing')"
                " OR (state = 'available' AND admitted_at IS NOT NULL) GROUP BY tenant"
            )
        )
        return weights, {row["tenant"]: row["jobs"] for row in running}

    def admit(self, needs: Sequence[Needs]) -> None:
        """Admit the jobs, write their doorbells, take their slots; all or nothing."""
        rung = self._run(
            statement("admit_jobs"), ids=[need.job_id for need in needs], epochs=[need.epoch for need in needs]
        )
        if rung != len(needs):
            raise SkyharborError("conflict", "a job that was to be admitted has moved on")
        flat = [(need.job_id, scope, key, count) for need in needs for (scope, key), count in need.slots]
        self._run(
            statement("admit_slots"),
            jobs=[job for job, _, _, _ in flat],
            scopes=[scope for _, scope, _, _ in flat],
            keys=[key for _, _, key, _ in flat],
            numbers=[count for _, _, _, count in flat],
        )

    def explain_waits(self, *, dark: Sequence[str], shut: Sequence[str], tripped: Sequence[str]) -> int:
        """Set the wait reason of every waiting job."""
        return self._run(statement("explain_waits"), dark=list(dark), shut=list(shut), tripped=list(tripped))

    def queue(self, *, limit: int) -> Sequence[Candidate]:
        """Return the beginning of the queue, in order, whatever keeps the jobs in it."""
        return [_candidate(row) for row in self._all(statement("queue"), limit=limit)]

    def positions(self, job_ids: Sequence[str]) -> Mapping[str, int]:
        """Return where jobs are in the queue, counted from 1."""
        rows = self._all(statement("queue_positions"), ids=list(job_ids))
        return {row["id"]: row["position"] for row in rows}


def _scopes(candidates: Sequence[Candidate]) -> tuple[list[str], list[str]]:
    scopes = sorted({scope for candidate in candidates for scope, _ in candidate.places.needs()})
    return [scope for scope, _ in scopes], [key for _, key in scopes]


def _candidate(row: RowMapping) -> Candidate:
    return Candidate(
        job_id=row["id"],
        epoch=row["epoch"],
        item_id=row["item_id"] or "",
        places=_places(row),
        rank=row["aged_rank"],
        latest_start=row["latest_start"],
        estimate=row["estimate"],
    )


def _places(row: RowMapping) -> Places:
    return Places(
        kind=JobKind(row["kind"]),
        tenant=row["tenant"],
        location=row["location"],
        hypervisor=row["hypervisor"],
        machine_id=row["machine_id"] or "",
        vault_id=row["vault_id"],
        mib_per_second=row["mib_per_second"],
    )
