"""The table ``unit``: claims and leases.

Rule of the file: the fence (job, unit, epoch, claim id) decides, in the statement that changes something.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.domain.jobs import Job
from orchestrator.domain.work import LEASE_SECONDS, Beat, Claimed, RenewedUnit, TakenJob
from orchestrator.store.bandwidth import read_plan
from orchestrator.store.base import Rows, inline, statement, to_json
from orchestrator.store.job_reading import SELECT_JOB, read_job
from shared.contracts.work import Doorbell, Fence
from shared.errors import SkyharborError
from shared.model.backup import BackupType

_LOOK_AT_OWNED = f"""{SELECT_JOB}
JOIN unit mine ON mine.job_id = j.id
WHERE j.id = :job_id AND mine.no = :unit AND j.epoch = :epoch AND mine.claim_id = :claim_id
  AND j.state IN ('running', 'committing')
"""
"""The fence: job, unit, epoch and claim id, all at once, and only while somebody owns the job."""

_LOCK_OWNED = f"{_LOOK_AT_OWNED}FOR UPDATE OF j, mine"


class UnitRows(Rows):
    """Claims and leases, by the database's clock."""

    def claim(self, doorbell: Doorbell | None, *, worker: str, session: str, claim_id: str) -> Claimed:
        """Take a unit for a session that is the worker's present one."""
        row = self._one(
            statement("claim_job"),
            job_id=None if doorbell is None else doorbell.job_id,
            epoch=None if doorbell is None else doorbell.epoch,
            claim_id=claim_id,
            worker=worker,
            session=session,
            lease=LEASE_SECONDS,
        )
        if row is None:
            raise AssertionError("a claim always gives a row")
        if row["id"] is None:
            return Claimed(known=row["known"], taken=None)
        fence = Fence(job_id=row["id"], unit=0, epoch=row["epoch"], claim_id=claim_id)
        return Claimed(known=True, taken=TakenJob(fence, read_job(row), row["helpers"], row["condemned"]))

    def note_backup(self, fence: Fence, *, type: BackupType, reference: str | None) -> None:
        """Remember what a backup will really do, and what it compares with."""
        self._run(
            inline("UPDATE job SET type = :type, reference = :reference WHERE id = :id AND epoch = :epoch"),
            id=fence.job_id,
            epoch=fence.epoch,
            type=type,
            reference=reference,
        )

    def renew(self, beats: Sequence[Beat]) -> Sequence[RenewedUnit]:
        """Renew current leases; others are missing from the answer."""
        rows = self._all(
            statement("renew"),
            job_ids=[beat.fence.job_id for beat in beats],
            units=[beat.fence.unit for beat in beats],
            epochs=[beat.fence.epoch for beat in beats],
            claim_ids=[beat.fence.claim_id for beat in beats],
            progress=[to_json(dict(beat.progress)) for beat in beats],
            lease=LEASE_SECONDS,
        )
        return [
            RenewedUnit(row["job_id"], row["no"], row["cancel"], row["vault_id"], read_plan(row["bandwidth"]))
            for row in rows
        ]

    def lock_owned(self, fence: Fence) -> Job:
        """Return the fenced job, locked. ``stale-claim``."""
        return self._owned(fence, _LOCK_OWNED)

    def owned(self, fence: Fence) -> Job:
        """Return the fenced job. ``stale-claim``."""
        return self._owned(fence, _LOOK_AT_OWNED)

    def _owned(self, fence: Fence, query: str) -> Job:
        row = self._one(inline(query), job_id=fence.job_id, unit=fence.unit, epoch=fence.epoch, claim_id=fence.claim_id)
        if row is None:
            raise SkyharborError("stale-claim", f"unit {fence.unit} of job {fence.job_id} is in other hands")
        return read_job(row)

    def enter_commit(self, fence: Fence) -> None:
        """Move to committing and renew the lease. ``stale-claim``."""
        changed = self._run(
            statement("enter_commit"),
            job_id=fence.job_id,
            unit=fence.unit,
            epoch=fence.epoch,
            claim_id=fence.claim_id,
            lease=LEASE_SECONDS,
        )
        if changed != 1:
            raise SkyharborError("stale-claim", f"unit {fence.unit} of job {fence.job_id} is in other hands")

    def was_completed(self, fence: Fence) -> bool:
        """Tell whether this fence was the last one completed."""
        return (
            self._one(
                inline(
                    "SELECT 1 FROM unit WHERE job_id = :job_id AND no = :unit"
                    " AND completed_epoch = :epoch AND completed_claim_id = :claim_id"
                ),
                job_id=fence.job_id,
                unit=fence.unit,
                epoch=fence.epoch,
                claim_id=fence.claim_id,
            )
            is not None
        )

    def remember_completed(self, fence: Fence) -> None:
        """Keep the fence."""
        self._run(
            inline(
                "UPDATE unit SET completed_epoch = :epoch, completed_claim_id = :claim_id"
                " WHERE job_id = :job_id AND no = :unit"
            ),
            job_id=fence.job_id,
            unit=fence.unit,
            epoch=fence.epoch,
            claim_id=fence.claim_id,
        )

    def lease_count(self) -> int:
        """Return how many leases exist."""
        return int(self._db.execute(inline("SELECT count(*) FROM unit WHERE claim_id IS NOT NULL")).scalar_one())

    def expired_count(self, *, margin: float) -> int:
        """Return how many leases ended more than ``margin`` seconds ago."""
        sql = inline(
            "SELECT count(*) FROM unit WHERE claim_id IS NOT NULL"
            " AND lease_expires_at < clock_timestamp() - make_interval(secs => :margin)"
        )
        return int(self._db.execute(sql, {"margin": margin}).scalar_one())

    def lock_expired(self, *, margin: float, limit: int) -> Sequence[Job]:
        """Return owned jobs whose lease is over, locked."""
        return self._jobs([row["id"] for row in self._all(statement("lock_expired"), margin=margin, limit=limit)])

    def lock_of_dead_sessions(self, worker: str, session: str) -> Sequence[Job]:
        """Return owned jobs leased by other sessions of this worker, locked."""
        rows = self._all(statement("lock_of_dead_sessions"), worker=worker, session=session)
        return self._jobs([row["id"] for row in rows])

    def _jobs(self, ids: Sequence[str]) -> list[Job]:
        if not ids:
            return []
        rows = self._all(inline(SELECT_JOB + "WHERE j.id = ANY (CAST(:ids AS text[])) ORDER BY j.id"), ids=list(ids))
        return [read_job(row) for row in rows]
