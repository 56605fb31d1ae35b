"""The tables ``slot_scope``, ``slot_return`` and ``tenant``: what is scarce, whose share is how large.

Rule of the file: a limit may be set below what is in use. Nothing is taken from anybody then; nothing new fits.
``slot_scope.in_use`` still counts what ended attempts gave back until somebody counts the returns; readers subtract it.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.domain.inventory import Tenant
from orchestrator.domain.paging import Page, PageRequest, decode_cursor
from orchestrator.domain.slots import Scope
from orchestrator.domain.system import SlotScope
from orchestrator.store.base import Rows, inline, statement
from orchestrator.store.paging import cut
from shared.errors import SkyharborError

_SELECT = """
SELECT s.scope, s.key, s.wanted AS capacity, s.floor, CAST(s.in_use - coalesce(b.n, 0) AS integer) AS in_use, s.paused,
       coalesce(m.name, v.name, s.key) AS name
FROM slot_scope s
LEFT JOIN (SELECT scope, key, sum(n) AS n FROM slot_return GROUP BY scope, key) b ON b.scope = s.scope AND b.key = s.key
LEFT JOIN machine m ON s.scope = 'machine' AND m.id = s.key
LEFT JOIN vault v ON s.scope = 'vault' AND v.id = s.key
"""


class SlotRows(Rows):
    """The slot scopes."""

    def page(self, request: PageRequest) -> Page[SlotScope]:
        """Return scopes, by kind and key."""
        scope, _, key = (decode_cursor(request.cursor) or "").partition("/")
        rows = self._all(
            inline(_SELECT + "WHERE (s.scope, s.key) > (:scope, :key) ORDER BY s.scope, s.key LIMIT :limit"),
            scope=scope,
            key=key,
            limit=request.limit + 1,
        )
        return cut([SlotScope(**row) for row in rows], request.limit, lambda slot: f"{slot.scope}/{slot.key}")

    def noteworthy(self) -> Sequence[SlotScope]:
        """Return every scope that is in use or paused, and all that are not of a machine, by kind and key."""
        where = "WHERE s.in_use > coalesce(b.n, 0) OR s.paused OR s.scope <> 'machine' "
        return [SlotScope(**row) for row in self._all(inline(_SELECT + where + "ORDER BY s.scope, s.key"))]

    def get(self, scope: Scope, key: str) -> SlotScope | None:
        """Return a scope by its key, or by the name of its machine or vault."""
        where = "WHERE s.scope = :scope AND (s.key = :key OR m.name = :key OR v.name = :key)"
        row = self._one(inline(_SELECT + where), scope=scope, key=key)
        return None if row is None else SlotScope(**row)

    def set(self, scope: Scope, key: str, *, capacity: int, floor: int) -> None:
        """Make a scope, or change how much there is of it."""
        self._run(
            inline(
                "INSERT INTO slot_scope AS s (scope, key, capacity, wanted, floor)"
                " VALUES (:scope, :key, :capacity, :capacity, :floor)"
                " ON CONFLICT (scope, key) DO UPDATE SET wanted = :capacity, floor = :floor,"
                " capacity = greatest(:capacity, s.in_use)"
            ),
            scope=scope,
            key=key,
            capacity=capacity,
            floor=floor,
        )

    def pause(self, scope: Scope, key: str, *, paused: bool) -> None:
        """Give no new slots of a scope, or give them again."""
        self._run(
            inline("UPDATE slot_scope SET paused = :paused WHERE scope = :scope AND key = :key"),
            scope=scope,
            key=key,
            paused=paused,
        )

    def remove(self, scope: Scope, key: str) -> None:
        """Remove a limit. ``conflict`` while jobs hold slots of it."""
        self._run(statement("count_returns"))
        removed = self._run(
            inline("DELETE FROM slot_scope WHERE scope = :scope AND key = :key AND in_use = 0"), scope=scope, key=key
        )
        if removed != 1:
            raise SkyharborError("conflict", f"jobs are running under {scope}/{key}: pause it and wait, or cancel them")


class TenantRows(Rows):
    """The tenants."""

    def all(self) -> Sequence[Tenant]:
        """Return every tenant, by name."""
        rows = self._all(
            inline(
                "SELECT t.name, t.weight, (SELECT count(*) FROM machine m WHERE m.tenant = t.name) AS machines"
                " FROM tenant t ORDER BY t.name"
            )
        )
        return [Tenant(**row) for row in rows]

    def set(self, name: str, *, weight: int) -> None:
        """Make a tenant, or change its weight."""
        self._run(
            inline(
                "INSERT INTO tenant (name, weight) VALUES (:name, :weight)"
                " ON CONFLICT (name) DO UPDATE SET weight = :weight"
            ),
            name=name,
            weight=weight,
        )
