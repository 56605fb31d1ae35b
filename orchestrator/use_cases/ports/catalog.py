"""What is protected, by which rules, and what we can restore: machines, vaults, items, policies, points.

Rule of the file: the catalog. ``ref`` is a name or an id; ``get`` raises ``not-found``; every ``page`` is ordered by
name unless it says otherwise. The id of a point may be cut to a unique beginning of at least 8 characters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from orchestrator.domain.inventory import (
    DEFAULT_TENANT,
    Care,
    Item,
    ItemAtRisk,
    Machine,
    NewItem,
    NewPoint,
    PolicyRecord,
    PolicyVersion,
    RecoveryPoint,
    StoredVault,
    Vault,
)
from orchestrator.domain.paging import Page, PageRequest
from orchestrator.domain.policy import PolicySpec
from shared.contracts.sources import SourceSpec
from shared.model.bandwidth import BandwidthPlan


class Machines(Protocol):
    """The machines."""

    def add(
        self,
        *,
        machine_id: str,
        name: str,
        key_slots: Sequence[Mapping[str, str | int]],
        tenant: str = DEFAULT_TENANT,
        location: str = "",
    ) -> None:
        """Keep a machine, its slot scope, and its tenant if that is new. ``already-exists`` for a taken name or id."""
        ...

    def get(self, ref: str) -> Machine:
        """Return a machine."""
        ...

    def page(self, request: PageRequest) -> Page[Machine]:
        """Return machines."""
        ...


class Vaults(Protocol):
    """The vaults."""

    def add(self, vault: StoredVault) -> None:
        """Keep a vault and its slot scope. ``already-exists`` for a taken name or id."""
        ...

    def has_name(self, name: str) -> bool:
        """Tell whether a vault has this name."""
        ...

    def get(self, ref: str) -> Vault:
        """Return a vault."""
        ...

    def limit(self, vault_id: str, plan: BandwidthPlan) -> None:
        """Replace the vault's bandwidth plan."""
        ...

    def weigh(self, vault_id: str, *, bytes_stored: int) -> None:
        """Note what a vault holds; points that come add to it."""
        ...

    def lighten(self, vault_id: str, *, by: int) -> None:
        """Note that so many bytes of a vault are gone."""
        ...

    def page(self, request: PageRequest) -> Page[Vault]:
        """Return vaults."""
        ...


class Items(Protocol):
    """The protected items. Removed ones are out of sight but for their points."""

    def add(self, item: NewItem) -> None:
        """Keep an item; planning begins now. ``already-exists`` for a name that a living item has."""
        ...

    def change(self, item_id: str, *, source: SourceSpec, care: Care, by_tags: bool) -> None:
        """Replace an item's source and care; its fires to come are taken back and planned anew."""
        ...

    def note_run(self, item_id: str, *, runs: Sequence[float], rates: Sequence[float]) -> None:
        """Remember how long the item's last backups took (s) and what they needed of the line (MiB/s)."""
        ...

    def get(self, ref: str, *, removed: bool = False) -> Item:
        """Return a living item, or with ``removed`` also one that was removed (the living one wins by name)."""
        ...

    def page(self, request: PageRequest) -> Page[Item]:
        """Return living items."""
        ...

    def page_of_removed(self, request: PageRequest, *, name: str | None) -> Page[Item]:
        """Return removed items that still have points, in the order in which they were added."""
        ...

    def page_at_risk(self, request: PageRequest) -> Page[ItemAtRisk]:
        """Return living items without a sound point, and those whose last backup failed."""
        ...

    def pause(self, item_id: str) -> None:
        """Set ``paused_at`` (kept when set), take the fires to come off the ledger, settle the due ones as skipped."""
        ...

    def resume(self, item_id: str) -> None:
        """Clear ``paused_at``; planning goes on from now, what was passed over is not caught up."""
        ...

    def remove(self, item_id: str) -> None:
        """Set ``removed_at``, take the fires to come off the ledger, settle the due ones as skipped."""
        ...


class Policies(Protocol):
    """Policies and their immutable versions."""

    def newest(self, name: str, *, lock: bool = False) -> PolicyRecord | None:
        """Return the policy; with ``lock`` nobody else makes a version of this name until the commit."""
        ...

    def add_version(self, name: str, *, text: str, spec: PolicySpec) -> PolicyVersion:
        """Make the next version and take fires of older versions that are still to come off the ledger."""
        ...

    def page(self, request: PageRequest) -> Page[PolicyRecord]:
        """Return policies with their newest versions."""
        ...

    def selecting(self, tags: Sequence[str]) -> Sequence[str]:
        """Return the names of the policies whose newest version selects an item with these tags."""
        ...

    def select_items(self, name: str, tags: Sequence[str]) -> Sequence[tuple[str, str]]:
        """Let go of items that the tags no longer choose and take those that they do and that have no policy.

        Returns (item, policy) of some that other policies have chosen by their tags; those stay there.
        """
        ...

    def specs(self, version_ids: Sequence[str]) -> Mapping[str, PolicySpec]:
        """Return the specs of these versions."""
        ...

    def waiting(self) -> Mapping[str, PolicySpec]:
        """Return the newest spec, by policy name, of policies with a window or blackouts whose scheduled jobs wait."""
        ...


class Points(Protocol):
    """The catalog of recovery points."""

    def add(self, point: NewPoint) -> None:
        """Keep a new point. ``conflict`` when its job has one already."""
        ...

    def get(self, ref: str) -> RecoveryPoint:
        """Return a point."""
        ...

    def share(self, point_id: str) -> RecoveryPoint:
        """Return a point that is neither doomed nor held until the commit."""
        ...

    def lock(self, ref: str) -> RecoveryPoint:
        """Return a point that nobody else changes until the commit, its item locked before it."""
        ...

    def last(self, item_id: str, *, full_only: bool = False) -> RecoveryPoint | None:
        """Return the item's newest sealed point, by the order in which the catalog learned of them."""
        ...

    def newest(self, item_id: str) -> RecoveryPoint | None:
        """Return the item's newest point, as ``last`` but also when it is damaged; never one that expires."""
        ...

    def page(self, request: PageRequest, *, item_id: str | None) -> Page[RecoveryPoint]:
        """Newest first, as ``last``."""
        ...

    def verified(self, point_id: str, *, how: str) -> None:
        """Set ``verified_at`` and ``verified_how``; a full proof makes a damaged point sealed again."""
        ...

    def damaged(self, point_id: str) -> None:
        """Mark a point as damaged; one that was expiring is kept with it, until somebody has looked."""
        ...

    def hold(self, point_id: str, *, until: datetime | None) -> None:
        """Hold a locked point that is not doomed, until then or without an end; one that was expiring is back."""
        ...

    def release(self, point_id: str) -> None:
        """End the hold of a locked point; of a damaged one somebody has looked now. Retention looks again at once."""
        ...
