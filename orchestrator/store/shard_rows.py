"""Shards in the table ``unit``: rows with a number above 0, which live no longer than their attempt.

Rule of the file: every change is one statement guarded by job, unit, epoch and claim id. It never touches a job.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.domain.work import LEASE_SECONDS, MOST_SHARD_LOSSES, LostShard, ShardCounts, TakenShard
from orchestrator.store.base import RowMapping, Rows, inline, statement
from shared.contracts.work import MOST_SHARDS, Attempt, Doorbell, Fence
from shared.errors import SkyharborError


class ShardRows(Rows):
    """Parts of running attempts."""

    def add(self, lead: Fence, payloads: Sequence[bytes]) -> int:
        """Keep shards and ring for them."""
        added = self._run(
            statement("offer_shards"), job_id=lead.job_id, epoch=lead.epoch, payloads=[bytes(one) for one in payloads]
        )
        if added:
            self._wake()
        return added

    def claim(
        self,
        doorbell: Doorbell | None,
        *,
        worker: str,
        session: str,
        claim_id: str,
        besides: Sequence[Attempt] = (),
    ) -> TakenShard | None:
        """Take the doorbell's shard, or any, but none of the attempts ``besides``."""
        return self._claim(
            job_id=None if doorbell is None else doorbell.job_id,
            epoch=None if doorbell is None else doorbell.epoch,
            unit=None if doorbell is None else doorbell.unit,
            lead_claim_id=None,
            worker=worker,
            session=session,
            claim_id=claim_id,
            besides=besides,
        )

    def claim_own(self, lead: Fence, *, worker: str, session: str, claim_id: str) -> TakenShard | None:
        """Take a free shard of the lead's attempt."""
        return self._claim(
            job_id=lead.job_id,
            epoch=lead.epoch,
            unit=None,
            lead_claim_id=lead.claim_id,
            worker=worker,
            session=session,
            claim_id=claim_id,
        )

    def counts(self, lead: Fence) -> ShardCounts:
        """Count the shards of the attempt."""
        row = self._one(
            inline(
                "SELECT count(*) AS total, count(result) AS done,"
                " count(*) FILTER (WHERE claim_id IS NULL AND result IS NULL) AS free,"
                " array_agg(no ORDER BY no) FILTER (WHERE result IS NULL AND losses >= :most) AS lost"
                " FROM unit WHERE job_id = :job_id AND no > 0 AND epoch = :epoch"
            ),
            job_id=lead.job_id,
            epoch=lead.epoch,
            most=MOST_SHARD_LOSSES,
        )
        if row is None:
            raise AssertionError("counting always gives a row")
        return ShardCounts(row["total"], row["done"], row["free"], tuple(row["lost"] or ()))

    def results(self, lead: Fence, *, besides: Sequence[int], most_bytes: int) -> Sequence[tuple[int, bytes]]:
        """Return results, in order, as many as fit."""
        rows = self._all(
            inline(
                "SELECT no, result FROM ("
                " SELECT no, result, sum(length(result)) OVER (ORDER BY no) - length(result) AS before"
                " FROM unit WHERE job_id = :job_id AND no > 0 AND epoch = :epoch AND result IS NOT NULL"
                " AND no <> ALL (CAST(:besides AS integer[]))) r"
                " WHERE before = 0 OR before + length(result) <= :most ORDER BY no"
            ),
            job_id=lead.job_id,
            epoch=lead.epoch,
            besides=list(besides),
            most=most_bytes,
        )
        return [(row["no"], bytes(row["result"])) for row in rows]

    def finish(self, fence: Fence, result: bytes) -> str:
        """Keep the result."""
        return self._given_up(self._one(statement("finish_shard"), **_fenced(fence), result=result), fence)

    def free(self, fence: Fence, *, error: tuple[str, str] | None) -> str:
        """Give up the lease."""
        code, message = error or (None, None)
        row = self._one(statement("free_shard"), **_fenced(fence), error_code=code, error_message=message)
        self._wake()
        return self._given_up(row, fence)

    def free_expired(self, *, margin: float, limit: int) -> Sequence[LostShard]:
        """Free shards whose lease is over."""
        return self._free_lost(worker=None, session=None, margin=margin, limit=limit)

    def free_of_dead_sessions(self, worker: str, session: str) -> Sequence[LostShard]:
        """Free shards of other sessions of this worker."""
        return self._free_lost(worker=worker, session=session, margin=0.0, limit=MOST_SHARDS)

    def _claim(
        self,
        *,
        job_id: str | None,
        epoch: int | None,
        unit: int | None,
        lead_claim_id: str | None,
        worker: str,
        session: str,
        claim_id: str,
        besides: Sequence[Attempt] = (),
    ) -> TakenShard | None:
        row = self._one(
            statement("claim_shard"),
            job_id=job_id,
            epoch=epoch,
            unit=unit,
            lead_claim_id=lead_claim_id,
            worker=worker,
            session=session,
            claim_id=claim_id,
            besides_jobs=[attempt.job_id for attempt in besides],
            besides_epochs=[attempt.epoch for attempt in besides],
            most_losses=MOST_SHARD_LOSSES,
            lease=LEASE_SECONDS,
        )
        if row is None:
            return None
        fence = Fence(job_id=row["job_id"], unit=row["no"], epoch=row["epoch"], claim_id=claim_id)
        return TakenShard(fence, bytes(row["payload"]), row["condemned"])

    def _free_lost(self, *, worker: str | None, session: str | None, margin: float, limit: int) -> list[LostShard]:
        rows = self._all(
            statement("free_lost_shards"),
            worker=worker,
            session=session,
            margin=margin,
            limit=limit,
            most_losses=MOST_SHARD_LOSSES,
        )
        if rows:
            self._wake()
        return [LostShard(row["job_id"], row["no"], row["worker"], row["losses"]) for row in rows]

    @staticmethod
    def _given_up(row: RowMapping | None, fence: Fence) -> str:
        if row is None:
            raise SkyharborError("stale-claim", f"shard {fence.unit} of job {fence.job_id} is in other hands")
        return str(row["worker"])


def _fenced(fence: Fence) -> dict[str, object]:
    return {"job_id": fence.job_id, "unit": fence.unit, "epoch": fence.epoch, "claim_id": fence.claim_id}
