"""The table ``vault``.

Rule of the file: adding a vault adds its slot scope. What a vault holds is counted by the database as points come and
go, nowhere else.
"""

from __future__ import annotations

from sqlalchemy.exc import IntegrityError

from orchestrator.domain.inventory import StoredVault, Vault
from orchestrator.domain.names import no_such
from orchestrator.domain.paging import Page, PageRequest, decode_cursor
from orchestrator.domain.slots import VAULT_CAPACITY, VAULT_RESTORE_FLOOR
from orchestrator.store.bandwidth import read_plan, write_plan
from orchestrator.store.base import RowMapping, Rows, inline
from orchestrator.store.paging import cut
from shared.errors import SkyharborError
from shared.model.bandwidth import BandwidthPlan

_SELECT = """
SELECT v.id, v.name, v.url, v.created_at, v.bandwidth, v.points, v.bytes_stored, s.wanted AS capacity
FROM vault v
JOIN slot_scope s ON s.scope = 'vault' AND s.key = v.id
"""


class VaultRows(Rows):
    """The vaults."""

    def add(self, vault: StoredVault) -> None:
        """Keep a vault, its generation and its slot scope. ``already-exists``."""
        try:
            self._run(
                inline("INSERT INTO vault (id, name, url, created_at) VALUES (:id, :name, :url, :created_at)"),
                id=vault.id,
                name=vault.name,
                url=vault.url,
                created_at=vault.created_at,
            )
        except IntegrityError as error:
            raise SkyharborError(
                "already-exists", f"there is a vault with the name {vault.name!r} or this id"
            ) from error
        self._run(inline("INSERT INTO vault_generation (vault_id) VALUES (:id)"), id=vault.id)
        self._run(
            inline(
                "INSERT INTO slot_scope (scope, key, capacity, wanted, floor)"
                " VALUES ('vault', :id, :capacity, :capacity, :floor)"
            ),
            id=vault.id,
            capacity=VAULT_CAPACITY,
            floor=VAULT_RESTORE_FLOOR,
        )

    def has_name(self, name: str) -> bool:
        """Tell whether a vault has this name."""
        return self._one(inline("SELECT 1 FROM vault WHERE name = :name"), name=name) is not None

    def get(self, ref: str) -> Vault:
        """Return a vault by id or name."""
        row = self._one(inline(_SELECT + "WHERE v.id = :ref OR v.name = :ref"), ref=ref)
        if row is None:
            raise no_such("vault", ref)
        return _vault(row)

    def limit(self, vault_id: str, plan: BandwidthPlan) -> None:
        """Replace the vault's bandwidth plan."""
        self._run(
            inline("UPDATE vault SET bandwidth = CAST(:plan AS jsonb) WHERE id = :id"),
            id=vault_id,
            plan=write_plan(plan),
        )

    def weigh(self, vault_id: str, *, bytes_stored: int) -> None:
        """Note what a vault holds."""
        self._run(inline("UPDATE vault SET bytes_stored = :size WHERE id = :id"), id=vault_id, size=bytes_stored)

    def lighten(self, vault_id: str, *, by: int) -> None:
        """Note what a vault has lost."""
        sql = "UPDATE vault SET bytes_stored = greatest(bytes_stored - :size, 0) WHERE id = :id"
        self._run(inline(sql), id=vault_id, size=by)

    def page(self, request: PageRequest) -> Page[Vault]:
        """Return vaults by name."""
        rows = self._all(
            inline(_SELECT + "WHERE v.name > :after ORDER BY v.name LIMIT :limit"),
            after=decode_cursor(request.cursor) or "",
            limit=request.limit + 1,
        )
        return cut([_vault(row) for row in rows], request.limit, lambda vault: vault.name)


def _vault(row: RowMapping) -> Vault:
    return Vault(
        id=row["id"],
        name=row["name"],
        url=row["url"],
        created_at=row["created_at"],
        capacity=row["capacity"],
        points=row["points"],
        bytes_stored=int(row["bytes_stored"]),
        bandwidth=read_plan(row["bandwidth"]),
    )
