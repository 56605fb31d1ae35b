"""The table ``fire``: the ledger of nominal times.

Rule of the file: a nominal time is inserted once; a settled fire never changes (a trigger sees to it).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from orchestrator.domain.ledger import DueFire, ItemPlan, ItemSchedule, Settlement
from orchestrator.domain.policy import PolicySpec
from orchestrator.store.base import RowMapping, Rows, inline, statement
from shared.decoders import converted


class LedgerRows(Rows):
    """The fires."""

    def to_plan(self, *, before: datetime, limit: int) -> Sequence[ItemSchedule]:
        """Return items that need planning, locked; items in other hands are skipped."""
        rows = self._all(statement("items_to_plan"), before=before, limit=limit)
        return [
            ItemSchedule(row["id"], row["planned_through"], row["version_id"], converted(row["spec"], PolicySpec))
            for row in rows
        ]

    def plan(self, plans: Sequence[ItemPlan]) -> int:
        """Insert what is new and remember how far planning went."""
        fires = [(plan.item_id, fire) for plan in plans for fire in plan.fires]
        new = 0
        if fires:
            new = self._run(
                statement("plan_fires"),
                items=[item_id for item_id, _ in fires],
                numbers=[fire.schedule_no for _, fire in fires],
                nominals=[fire.nominal for _, fire in fires],
                zones=[fire.zone for _, fire in fires],
                instants=[fire.instant for _, fire in fires],
                dues=[fire.due_at for _, fire in fires],
                versions=[fire.version_id for _, fire in fires],
            )
        self._run(
            inline(
                "UPDATE item SET planned_through = greatest(item.planned_through, p.through)"
                " FROM unnest(CAST(:items AS text[]), CAST(:throughs AS timestamptz[])) AS p (id, through)"
                " WHERE item.id = p.id"
            ),
            items=[plan.item_id for plan in plans],
            throughs=[plan.through for plan in plans],
        )
        return new

    def due(self, *, now: datetime, limit: int) -> Sequence[DueFire]:
        """Return due, planned fires by item and time, locked."""
        specs: dict[str, PolicySpec] = {}
        return [_due(row, specs) for row in self._all(statement("due_fires"), now=now, limit=limit)]

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Settle planned fires."""
        if not settlements:
            return
        self._run(
            statement("settle_fires"),
            items=[settlement.fire.item_id for settlement in settlements],
            numbers=[settlement.fire.schedule_no for settlement in settlements],
            zones=[settlement.fire.zone for settlement in settlements],
            nominals=[settlement.fire.nominal for settlement in settlements],
            states=[settlement.state for settlement in settlements],
            reasons=[settlement.reason for settlement in settlements],
            jobs=[settlement.job_id for settlement in settlements],
        )


def _due(row: RowMapping, specs: dict[str, PolicySpec]) -> DueFire:
    """Return the fire of a row. A fleet shares a few policies: each version is read once (``specs``)."""
    version = row["version_id"]
    if version not in specs:
        specs[version] = converted(row["spec"], PolicySpec)
    return DueFire(
        item_id=row["item_id"],
        schedule_no=row["schedule_no"],
        nominal=row["nominal"],
        zone=row["zone"],
        due_at=row["due_at"],
        version_id=version,
        spec=specs[version],
        machine_id=row["machine_id"],
        vault_id=row["vault_id"],
        planned_through=row["planned_through"],
        newest=row["newest_point_at"] or row["created_at"],
        rpo=row["rpo_seconds"],
        runs=tuple(row["recent_seconds"]),
        rates=tuple(row["recent_rates"]),
    )
