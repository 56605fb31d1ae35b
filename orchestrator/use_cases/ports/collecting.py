"""What expires and what is deleted (decision 12): retention of items, generations and condemned packs of vaults.

Rule of the file: everything that deletes asks what is ripe in the same transaction. Time is the database's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from orchestrator.domain.collecting import Amount, Doomed, Garbage, Listed, Location, Ruled, VaultMachine
from orchestrator.domain.retention import Kept


class Retention(Protocol):
    """The points of items, as retention sees them."""

    def due(self, *, limit: int) -> Sequence[Ruled]:
        """Return living items whose time to be looked at has come, the longest waiting first. Nothing is locked."""
        ...

    def rule(self, item_id: str, *, lock: bool = False) -> Ruled:
        """Return the rule of an item; with ``lock`` no point of it comes, expires or is held until the commit."""
        ...

    def points(self, item_ids: Sequence[str]) -> Mapping[str, Sequence[Kept]]:
        """Return the sealed and damaged points of items, by item; items without any are missing."""
        ...

    def expire(self, item_id: str, reasons: Mapping[str, str]) -> Sequence[str]:
        """Move points of a locked item to expiring and raise the generation of its vault; returns those that moved."""
        ...

    def looked(self, item_ids: Sequence[str], *, again_in: timedelta) -> None:
        """Remember that items were looked at and nothing is held back."""
        ...

    def hold_back(self, item_id: str, count: int, *, again_in: timedelta) -> None:
        """Remember that so many points of an item wait for a person's word."""
        ...


class Collecting(Protocol):
    """A vault's generation, its condemned packs, and its points on their way out."""

    def ripe_through(self, vault_id: str) -> int:
        """Return the newest generation at which something may have been given up that can go now.

        That of the oldest backup that may rely on, or seal, what it knew (one that had leave to seal and ended without
        a point counts until it is settled) or, without any, the present one: what is given up after this look waits.
        """
        ...

    def condemned(self, vault_id: str, *, through: int, grace: timedelta, after: str, limit: int) -> list[Listed]:
        """Return condemned packs by name, after a name."""
        ...

    def condemn(self, vault_id: str, packs: Sequence[tuple[str, int]]) -> Amount:
        """Condemn packs (name, bytes) and raise the generation; returns those that were not condemned before."""
        ...

    def revive(self, vault_id: str, names: Sequence[str]) -> Amount:
        """Take condemned packs back. ``conflict`` when one is doomed."""
        ...

    def doom(self, vault_id: str, names: Sequence[str], *, claim_id: str, through: int, grace: timedelta) -> Amount:
        """Doom those of the packs that are ripe, for the collector with this claim."""
        ...

    def doomed(self, vault_id: str, names: Sequence[str]) -> Sequence[str]:
        """Return those of the packs that are doomed."""
        ...

    def forget(self, vault_id: str, names: Sequence[str], *, claim_id: str) -> Amount:
        """Note that doomed packs are gone; forget those whose deletion no other collector was allowed."""
        ...

    def doom_points(self, vault_id: str, *, through: int, after: str, limit: int) -> Doomed:
        """Doom expiring points, by id: those whose expiry no older writer has lived to see, and no open job works on.

        It looks at ``limit`` of them at most.
        """
        ...

    def doomed_points(self, vault_id: str, *, after: str, until: str | None, limit: int) -> Sequence[Location]:
        """Return doomed points that are not expired, by id; ``fence`` for those that another attempt may put again."""
        ...

    def waiting_points(self, vault_id: str) -> int:
        """Return how many expiring points are not doomed."""
        ...

    def expired(self, vault_id: str, point_ids: Sequence[str]) -> Sequence[str]:
        """Move doomed points to expired and return those that moved."""
        ...

    def unsettled(self, vault_id: str, *, after: str, limit: int) -> Sequence[Location]:
        """Return points whose jobs had leave to seal and ended without one, by id, unless they are settled.

        ``fence`` for those that are given up.
        """
        ...

    def settle(self, vault_id: str, point_ids: Sequence[str], *, found: bool) -> Sequence[str]:
        """Decide that unsettled points are found, or given up; returns those of which nothing was decided before.

        ``conflict`` when it was decided otherwise. Points that need no settling are passed over.
        """
        ...

    def fenced(self, vault_id: str, point_ids: Sequence[str]) -> Sequence[str]:
        """Note that names are fenced; returns those of points given up that were not before.

        ``conflict`` for a name that is not dead: given up, or of a point that is doomed or expired.
        """
        ...

    def machines(self, vault_id: str) -> Sequence[VaultMachine]:
        """Return the machines that have, or had, items in the vault."""
        ...

    def due_vaults(self, *, rest: timedelta, rest_after_failure: timedelta, limit: int) -> Sequence[str]:
        """Return vaults in which there is something to collect, that nobody collects, and that have rested."""
        ...

    def open_job(self, vault_id: str) -> str | None:
        """Return the job that collects the vault, if one has not ended."""
        ...

    def garbage(self, vault_id: str) -> Garbage:
        """Return what of a vault is on its way out."""
        ...
