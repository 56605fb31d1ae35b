"""A control plane of any size, on a private PostgreSQL that keeps its promises (fsync on), filled by SQL.

Rule of the file: what the tower itself would write, in the same tables; only the way there is short.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.embedded.postgres import PrivatePostgres
from tests.support.control import ControlPlane

TENANTS, LOCATIONS, VAULTS = 8, 20, 20
_AT_ONCE = 50_000


@dataclass(frozen=True)
class World:
    """A control plane and what was put into it."""

    plane: ControlPlane
    url: str

    def fleet(self, *, items: int, items_per_machine: int = 10, policy: str | None = None) -> None:
        """Add so many items, on machines of several tenants and locations, going to several vaults."""
        machines = -(-items // items_per_machine)
        run = self.plane.sql
        run("INSERT INTO tenant (name, weight) SELECT 't' || n, 1 + n % 3 FROM generate_series(1, :n) n", n=TENANTS)
        run(
            "INSERT INTO machine (id, name, key_slots, tenant, location)"
            " SELECT 'm' || n, 'm' || n, '[]', 't' || 1 + n % :tenants, 'l' || 1 + n % :locations"
            " FROM generate_series(1, :n) n",
            n=machines,
            tenants=TENANTS,
            locations=LOCATIONS,
        )
        run(
            "INSERT INTO vault (id, name, url, created_at)"
            " SELECT 'v' || n, 'v' || n, 'memory://v' || n, clock_timestamp() FROM generate_series(1, :n) n",
            n=VAULTS,
        )
        run(
            "INSERT INTO item (id, name, workload, machine_id, vault_id, source, policy)"
            " SELECT 'i' || n, 'i' || n, 'files', 'm' || 1 + n % :machines, 'v' || 1 + n % :vaults,"
            ' \'{"paths": ["/srv"], "excludes": []}\', :policy FROM generate_series(1, :n) n',
            n=items,
            machines=machines,
            vaults=VAULTS,
            policy=policy,
        )
        self.slots(everywhere=4000, machine=items_per_machine)

    def slots(self, *, everywhere: int, machine: int) -> None:
        """Give every scope so many slots, each machine ``machine``."""
        run = self.plane.sql
        run("UPDATE slot_scope SET capacity = :n, wanted = :n WHERE scope = 'global'", n=everywhere)
        run(
            "INSERT INTO slot_scope (scope, key, capacity, wanted)"
            " SELECT r.scope, r.key, r.n, r.n FROM ("
            "  SELECT 'machine' AS scope, id AS key, CAST(:machine AS integer) AS n FROM machine"
            "  UNION ALL SELECT 'vault', id, CAST(:n AS integer) FROM vault"
            "  UNION ALL SELECT 'tenant', name, CAST(:n AS integer) FROM tenant"
            "  UNION ALL SELECT DISTINCT 'location', location, CAST(:n AS integer) FROM machine) r"
            " ON CONFLICT (scope, key) DO UPDATE SET capacity = excluded.capacity, wanted = excluded.wanted",
            machine=machine,
            n=everywhere,
        )

    def queue(self, jobs: int) -> None:
        """Put so many backups into the queue, one of each item."""
        self.plane.sql(
            "INSERT INTO job (id, kind, state, trigger, rank, aged_rank, item_id, machine_id, vault_id, point_id,"
            " created_at, due_at, latest_start, wait_reason, requested_by, tenant, location)"
            " SELECT 'q' || i.id, 'backup', 'available', 'schedule', 30, 30, i.id, i.machine_id, i.vault_id,"
            " 'p' || i.id, clock_timestamp(), clock_timestamp(),"
            " clock_timestamp() + make_interval(secs => hashtext(i.id) % 90000), 'admission', 'bench', m.tenant,"
            " m.location FROM item i JOIN machine m ON m.id = i.machine_id ORDER BY i.id LIMIT :n",
            n=jobs,
        )
        self.plane.sql("INSERT INTO unit (job_id, no) SELECT id, 0 FROM job WHERE id LIKE 'q%'")

    def history(self, jobs: int) -> None:
        """Add so many backups that were done in the past, with their points, spread over the items."""
        # Counting one by one is for points that come one by one: here they are counted at the end.
        self.plane.sql("ALTER TABLE recovery_point DISABLE TRIGGER point_came")
        for first in range(1, jobs + 1, _AT_ONCE):
            self._history(first, min(jobs, first + _AT_ONCE - 1), of=jobs)
        self.plane.sql("ALTER TABLE recovery_point ENABLE TRIGGER point_came")
        self.plane.sql(
            "UPDATE vault SET points = p.n, bytes_stored = p.bytes FROM (SELECT vault_id, count(*) AS n,"
            " sum(bytes_stored) AS bytes FROM recovery_point GROUP BY vault_id) p WHERE p.vault_id = vault.id"
        )
        self.plane.sql(
            "UPDATE item SET newest_point_at = p.at FROM (SELECT item_id, max(cataloged_at) AS at FROM recovery_point"
            " GROUP BY item_id) p WHERE p.item_id = item.id"
        )
        self.plane.sql("ANALYZE")

    def _history(self, first: int, last: int, *, of: int) -> None:
        run = self.plane.sql
        run(
            "INSERT INTO job (id, kind, state, trigger, rank, aged_rank, item_id, machine_id, vault_id, point_id,"
            " type, attempt, created_at, due_at, latest_start, admitted_at, started_at, finished_at, requested_by,"
            " stats, tenant, location)"
            " SELECT lpad(to_hex(n), 8, '0') || '-past', 'backup', 'completed', 'schedule', 30, 30, i.id, i.machine_id,"
            " i.vault_id, 'pp' || n, 'incremental', 1, t.at, t.at, t.at, t.at, t.at, t.at + interval '90 seconds',"
            " 'bench', '{\"files\": 1000, \"bytes_read\": 123456}', m.tenant, m.location"
            " FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) n"
            " CROSS JOIN LATERAL (SELECT clock_timestamp() - make_interval(secs => (:of - n) * 2) AS at) t"
            " JOIN item i ON i.id = 'i' || 1 + n % (SELECT count(*) FROM item) JOIN machine m ON m.id = i.machine_id",
            first=first,
            last=last,
            of=of,
        )
        run(
            "INSERT INTO unit (job_id, no) SELECT lpad(to_hex(n), 8, '0') || '-past', 0"
            " FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) n",
            first=first,
            last=last,
        )
        run(
            "INSERT INTO recovery_point (id, job_id, item_id, machine_id, vault_id, type, sealed_at, cataloged_at,"
            " files, bytes, bytes_transferred, bytes_stored, manifest, manifest_sha256, warnings)"
            " SELECT j.point_id, j.id, j.item_id, j.machine_id, j.vault_id, j.type, j.finished_at, j.finished_at, 1000,"
            " 5000000, 123456, 123456, 'm', 's', 0"
            " FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) n"
            " JOIN job j ON j.id = lpad(to_hex(n), 8, '0') || '-past'",
            first=first,
            last=last,
        )


@contextlib.contextmanager
def new_world() -> Iterator[World]:
    """Start a server with an empty control plane, and leave nothing behind."""
    with (
        tempfile.TemporaryDirectory(prefix="skyharbor-bench-") as folder,
        PrivatePostgres(Path(folder) / "pg") as server,
    ):
        plane = ControlPlane(server.url)
        try:
            yield World(plane, server.url)
        finally:
            plane.close()
