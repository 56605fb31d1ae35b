"""The tables ``vault_generation``, ``condemned_pack`` and ``settled_point``, and points that are doomed.

Rule of the file: a condemnation locks the generation before it writes anything, so whoever is just claiming a backup is
older than it or waits for it. What has been doomed is never taken back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from orchestrator.domain.collecting import Amount, Doomed, Garbage, LastCollection, Listed, Location, VaultMachine
from orchestrator.store.base import RowMapping, Rows, inline, statement
from shared.errors import SkyharborError


class CollectingRows(Rows):
    """What of vaults is on its way out."""

    def ripe_through(self, vault_id: str) -> int:
        """Return the oldest writer's generation or, without any, the present one."""
        row = self._one(statement("oldest_writer"), vault_id=vault_id)
        return 0 if row is None else row["newest"] if row["generation"] is None else row["generation"]

    def condemned(self, vault_id: str, *, through: int, grace: timedelta, after: str, limit: int) -> list[Listed]:
        """Return condemned packs by name."""
        rows = self._all(
            statement("list_condemned"),
            vault_id=vault_id,
            through=through,
            grace=grace.total_seconds(),
            after=after,
            limit=limit,
        )
        return [Listed(row["name"], row["size"], row["ripe"], row["doomed"]) for row in rows]

    def condemn(self, vault_id: str, packs: Sequence[tuple[str, int]]) -> Amount:
        """Condemn packs that are not yet."""
        generation = self._locked_generation(vault_id) + 1
        rows = self._all(
            statement("condemn_packs"),
            vault_id=vault_id,
            generation=generation,
            names=[name for name, _ in packs],
            sizes=[size for _, size in packs],
        )
        amount = _amount(rows)
        if amount.packs:
            self._run(
                inline(
                    "UPDATE vault_generation SET generation = :generation, condemned_packs = condemned_packs + :packs,"
                    " condemned_bytes = condemned_bytes + :bytes WHERE vault_id = :vault_id"
                ),
                vault_id=vault_id,
                generation=generation,
                packs=amount.packs,
                bytes=amount.bytes,
            )
        return amount

    def revive(self, vault_id: str, names: Sequence[str]) -> Amount:
        """Take packs back."""
        self._locked_generation(vault_id)
        doomed = self.doomed(vault_id, names)
        if doomed:
            raise SkyharborError("conflict", f"{len(doomed)} packs are doomed and not taken back, such as {doomed[0]}")
        rows = self._all(
            inline(
                "DELETE FROM condemned_pack WHERE vault_id = :vault_id AND name = ANY (CAST(:names AS text[]))"
                " AND doomed_at IS NULL RETURNING size"
            ),
            vault_id=vault_id,
            names=list(names),
        )
        amount = _amount(rows)
        self._count_less(vault_id, packs=amount.packs, size=amount.bytes)
        return amount

    def doom(self, vault_id: str, names: Sequence[str], *, claim_id: str, through: int, grace: timedelta) -> Amount:
        """Doom what is ripe."""
        rows = self._all(
            statement("doom_packs"),
            vault_id=vault_id,
            names=list(names),
            claim_id=claim_id,
            through=through,
            grace=grace.total_seconds(),
        )
        return _amount(rows)

    def doomed(self, vault_id: str, names: Sequence[str]) -> Sequence[str]:
        """Return the doomed ones."""
        rows = self._all(
            inline(
                "SELECT name FROM condemned_pack WHERE vault_id = :vault_id AND name = ANY (CAST(:names AS text[]))"
                " AND doomed_at IS NOT NULL ORDER BY name"
            ),
            vault_id=vault_id,
            names=list(names),
        )
        return [row["name"] for row in rows]

    def forget(self, vault_id: str, names: Sequence[str], *, claim_id: str) -> Amount:
        """Forget doomed packs that are gone, unless an earlier collector may still be deleting them."""
        self._locked_generation(vault_id)
        kept = self._all(
            inline(
                "UPDATE condemned_pack c SET deleted_at = clock_timestamp(), size = 0 FROM condemned_pack o"
                " WHERE o.vault_id = c.vault_id AND o.name = c.name AND c.vault_id = :vault_id"
                " AND c.name = ANY (CAST(:names AS text[])) AND c.doomed_claim <> :claim_id AND c.deleted_at IS NULL"
                " RETURNING o.size"
            ),
            vault_id=vault_id,
            names=list(names),
            claim_id=claim_id,
        )
        forgotten = self._all(
            inline(
                "DELETE FROM condemned_pack WHERE vault_id = :vault_id AND name = ANY (CAST(:names AS text[]))"
                " AND doomed_claim = :claim_id RETURNING size"
            ),
            vault_id=vault_id,
            names=list(names),
            claim_id=claim_id,
        )
        self._count_less(vault_id, packs=len(forgotten), size=_amount([*kept, *forgotten]).bytes)
        return _amount([*kept, *forgotten])

    def doom_points(self, vault_id: str, *, through: int, after: str, limit: int) -> Doomed:
        """Doom points that may go: first lock, then look."""
        locked = self._all(
            inline(
                "SELECT id FROM recovery_point WHERE vault_id = :vault_id AND state = 'expiring' AND id > :after"
                " AND doomed_at IS NULL AND expiring_generation <= :through"
                " AND NOT EXISTS (SELECT 1 FROM job j WHERE j.point_id = recovery_point.id AND j.kind <> 'collect'"
                " AND j.state NOT IN ('cancelled', 'completed', 'discarded', 'expired'))"
                " ORDER BY id LIMIT :limit FOR NO KEY UPDATE"
            ),
            vault_id=vault_id,
            through=through,
            after=after,
            limit=limit,
        )
        ids = [row["id"] for row in locked]
        doomed = [row["id"] for row in self._all(statement("doom_points"), points=ids)] if ids else []
        return Doomed(tuple(sorted(doomed)), ids[-1] if len(ids) == limit else None)

    def doomed_points(self, vault_id: str, *, after: str, until: str | None, limit: int) -> Sequence[Location]:
        """Return doomed points that are not expired."""
        rows = self._all(
            inline(
                # A job whose attempt is its first one ends with the epoch 3: admitted, claimed, ended.
                "SELECT r.machine_id, r.item_id, r.id, j.epoch > 3 OR EXISTS ("
                " SELECT 1 FROM settled_point s WHERE s.point_id = r.id AND s.verdict = 'found') AS fence"
                " FROM recovery_point r JOIN job j ON j.id = r.job_id"
                " WHERE r.vault_id = :vault_id AND r.state = 'expiring' AND r.doomed_at IS NOT NULL AND r.id > :after"
                " AND (CAST(:until AS text) IS NULL OR r.id <= :until) ORDER BY r.id LIMIT :limit"
            ),
            vault_id=vault_id,
            after=after,
            until=until,
            limit=limit,
        )
        return [Location(row["machine_id"], row["item_id"], row["id"], row["fence"]) for row in rows]

    def waiting_points(self, vault_id: str) -> int:
        """Return how many expiring points are not doomed."""
        sql = inline(
            "SELECT count(*) FROM recovery_point"
            " WHERE vault_id = :vault_id AND state = 'expiring' AND doomed_at IS NULL"
        )
        return int(self._db.execute(sql, {"vault_id": vault_id}).scalar_one())

    def expired(self, vault_id: str, point_ids: Sequence[str]) -> Sequence[str]:
        """Move doomed points to expired."""
        rows = self._all(
            inline(
                "UPDATE recovery_point SET state = 'expired', expired_at = clock_timestamp() WHERE vault_id = :vault_id"
                " AND id = ANY (CAST(:ids AS text[])) AND state = 'expiring' AND doomed_at IS NOT NULL RETURNING id"
            ),
            vault_id=vault_id,
            ids=list(point_ids),
        )
        return sorted(row["id"] for row in rows)

    def unsettled(self, vault_id: str, *, after: str, limit: int) -> Sequence[Location]:
        """Return points that may still be sealed by somebody whose job has ended."""
        rows = self._all(statement("unsettled_points"), vault_id=vault_id, after=after, limit=limit)
        return [Location(row["machine"], row["item"], row["point"], row["fence"]) for row in rows]

    def settle(self, vault_id: str, point_ids: Sequence[str], *, found: bool) -> Sequence[str]:
        """Decide about points."""
        verdict = "found" if found else "given-up"
        rows = self._all(statement("settle_points"), vault_id=vault_id, points=list(point_ids), verdict=verdict)
        otherwise = self._all(
            inline(
                "SELECT point_id, verdict FROM settled_point WHERE vault_id = :vault_id"
                " AND point_id = ANY (CAST(:points AS text[])) AND verdict <> :verdict ORDER BY point_id LIMIT 1"
            ),
            vault_id=vault_id,
            points=list(point_ids),
            verdict=verdict,
        )
        for row in otherwise:
            raise SkyharborError("conflict", f"point {row['point_id']} is {row['verdict']}", point=row["point_id"])
        return sorted(row["point_id"] for row in rows)

    def fenced(self, vault_id: str, point_ids: Sequence[str]) -> Sequence[str]:
        """Note that dead names are fenced."""
        for row in self._all(statement("not_dead"), vault_id=vault_id, points=list(point_ids)):
            raise SkyharborError("conflict", f"the name of point {row['id']} is not dead", point=row["id"])
        rows = self._all(
            inline(
                "UPDATE settled_point SET fenced_at = clock_timestamp() WHERE vault_id = :vault_id"
                " AND point_id = ANY (CAST(:points AS text[])) AND fenced_at IS NULL RETURNING point_id"
            ),
            vault_id=vault_id,
            points=list(point_ids),
        )
        return sorted(row["point_id"] for row in rows)

    def machines(self, vault_id: str) -> Sequence[VaultMachine]:
        """Return the machines of a vault."""
        return [
            VaultMachine(row["id"], row["name"], tuple(row["key_slots"]), row["busy"])
            for row in self._all(statement("machines_of_vault"), vault_id=vault_id)
        ]

    def due_vaults(self, *, rest: timedelta, rest_after_failure: timedelta, limit: int) -> Sequence[str]:
        """Return vaults to collect."""
        rows = self._all(
            statement("vaults_to_collect"),
            rest=rest.total_seconds(),
            rest_after_failure=rest_after_failure.total_seconds(),
            limit=limit,
        )
        return [row["id"] for row in rows]

    def open_job(self, vault_id: str) -> str | None:
        """Return the job that collects the vault."""
        row = self._one(
            inline(
                "SELECT id FROM job WHERE vault_id = :vault_id AND kind = 'collect'"
                " AND state NOT IN ('cancelled', 'completed', 'discarded', 'expired')"
            ),
            vault_id=vault_id,
        )
        return None if row is None else row["id"]

    def garbage(self, vault_id: str) -> Garbage:
        """Return what of a vault is on its way out."""
        row = self._one(statement("garbage"), vault_id=vault_id)
        if row is None:
            raise SkyharborError("not-found", f"there is no vault {vault_id!r}")
        return Garbage(
            generation=row["generation"],
            expiring_points=row["expiring_points"],
            condemned=Amount(row["condemned_packs"], row["condemned_bytes"]),
            doomed=Amount(row["doomed_packs"], int(row["doomed_bytes"])),
            unsettled=row["unsettled"],
            oldest_writer=self._oldest_writer(vault_id),
            last=_last(row),
        )

    def _locked_generation(self, vault_id: str) -> int:
        row = self._one(
            inline("SELECT generation FROM vault_generation WHERE vault_id = :vault_id FOR NO KEY UPDATE"),
            vault_id=vault_id,
        )
        if row is None:
            raise AssertionError(f"vault {vault_id} has no generation")
        return int(row["generation"])

    def _count_less(self, vault_id: str, *, packs: int, size: int) -> None:
        self._run(
            inline(
                "UPDATE vault_generation SET condemned_packs = condemned_packs - :packs,"
                " condemned_bytes = condemned_bytes - :bytes WHERE vault_id = :vault_id"
            ),
            vault_id=vault_id,
            packs=packs,
            bytes=size,
        )

    def _oldest_writer(self, vault_id: str) -> int | None:
        """Return the generation of the oldest writer."""
        row = self._one(statement("oldest_writer"), vault_id=vault_id)
        return None if row is None else row["generation"]


def _amount(rows: Iterable[RowMapping]) -> Amount:
    sizes = [int(row["size"]) for row in rows]
    return Amount(len(sizes), sum(sizes))


def _last(row: RowMapping) -> LastCollection | None:
    if row["last_id"] is None:
        return None
    return LastCollection(
        job_id=row["last_id"],
        state=row["last_state"],
        created_at=row["last_created_at"],
        finished_at=row["last_finished_at"],
        stats=row["last_stats"],
    )
