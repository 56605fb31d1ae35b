"""The table ``machine``.

Rule of the file: adding a machine adds its slot scope, so admission never meets a machine without one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy.exc import IntegrityError

from orchestrator.domain.inventory import DEFAULT_TENANT, Machine
from orchestrator.domain.names import no_such
from orchestrator.domain.paging import Page, PageRequest, decode_cursor
from orchestrator.domain.slots import MACHINE_CAPACITY
from orchestrator.store.base import RowMapping, Rows, inline, to_json
from orchestrator.store.paging import cut
from shared.errors import SkyharborError

_SELECT = """
SELECT m.id, m.name, m.key_slots, m.created_at, m.tenant, m.location,
       (SELECT count(*) FROM item i WHERE i.machine_id = m.id AND i.removed_at IS NULL) AS items
FROM machine m
"""


class MachineRows(Rows):
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
        """Keep a machine, its slot scope, and its tenant if that is new. ``already-exists``."""
        self._run(inline("INSERT INTO tenant (name) VALUES (:name) ON CONFLICT DO NOTHING"), name=tenant)
        try:
            self._run(
                inline(
                    "INSERT INTO machine (id, name, key_slots, tenant, location)"
                    " VALUES (:id, :name, CAST(:slots AS jsonb), :tenant, :location)"
                ),
                id=machine_id,
                name=name,
                slots=to_json([dict(slot) for slot in key_slots]),
                tenant=tenant,
                location=location,
            )
        except IntegrityError as error:
            raise SkyharborError("already-exists", f"there is a machine with the name {name!r} or this id") from error
        self._run(
            inline(
                "INSERT INTO slot_scope (scope, key, capacity, wanted) VALUES ('machine', :id, :capacity, :capacity)"
            ),
            id=machine_id,
            capacity=MACHINE_CAPACITY,
        )

    def get(self, ref: str) -> Machine:
        """Return a machine by id or name."""
        row = self._one(inline(_SELECT + "WHERE m.id = :ref OR m.name = :ref"), ref=ref)
        if row is None:
            raise no_such("machine", ref)
        return _machine(row)

    def page(self, request: PageRequest) -> Page[Machine]:
        """Return machines by name."""
        rows = self._all(
            inline(_SELECT + "WHERE m.name > :after ORDER BY m.name LIMIT :limit"),
            after=decode_cursor(request.cursor) or "",
            limit=request.limit + 1,
        )
        return cut([_machine(row) for row in rows], request.limit, lambda machine: machine.name)


def _machine(row: RowMapping) -> Machine:
    return Machine(
        id=row["id"],
        name=row["name"],
        key_slots=tuple(row["key_slots"]),
        created_at=row["created_at"],
        items=row["items"],
        tenant=row["tenant"],
        location=row["location"],
    )
