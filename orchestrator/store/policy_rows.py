"""The tables ``policy`` and ``policy_version``.

Rule of the file: a version is inserted once and read for ever; items follow the newest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from orchestrator.domain.inventory import PolicyRecord, PolicyVersion
from orchestrator.domain.paging import Page, PageRequest, decode_cursor
from orchestrator.domain.policy import PolicySpec
from orchestrator.store.base import RowMapping, Rows, inline, statement, to_json
from orchestrator.store.paging import cut
from shared.decoders import converted
from shared.model.ids import new_id

_SELECT = """
SELECT p.name, v.id, v.n, v.created_at, v.text,
       ARRAY(SELECT i.name FROM item i WHERE i.policy = p.name AND i.removed_at IS NULL ORDER BY i.name) AS items
FROM policy p
JOIN policy_version v ON v.policy = p.name AND v.n = p.newest
"""


class PolicyRows(Rows):
    """Policies and their versions."""

    def newest(self, name: str, *, lock: bool = False) -> PolicyRecord | None:
        """Return the policy; ``lock`` orders everybody who makes versions of this name, new names included."""
        if lock:
            self._run(inline("SELECT pg_advisory_xact_lock(hashtextextended('policy:' || :name, 0))"), name=name)
        row = self._one(inline(_SELECT + "WHERE p.name = :name"), name=name)
        return None if row is None else _record(row)

    def add_version(self, name: str, *, text: str, spec: PolicySpec) -> PolicyVersion:
        """Make the next version and take back the fires of older ones."""
        number = self._one(
            inline(
                "INSERT INTO policy AS p (name, newest) VALUES (:name, 1)"
                " ON CONFLICT (name) DO UPDATE SET newest = p.newest + 1 RETURNING newest"
            ),
            name=name,
        )
        row = self._one(
            inline(
                "INSERT INTO policy_version (id, policy, n, text, spec)"
                " VALUES (:id, :name, :n, :text, CAST(:spec AS jsonb)) RETURNING id, n, created_at, text"
            ),
            id=new_id(),
            name=name,
            n=number["newest"] if number is not None else 1,
            text=text,
            spec=to_json(msgspec.to_builtins(spec)),
        )
        if row is None:
            raise AssertionError("an INSERT with RETURNING gave no row")
        self._run(statement("lock_items"), item_id=None, policy=name)
        self._run(statement("take_back_fires"), item_id=None, policy=name)
        return PolicyVersion(row["id"], row["n"], row["created_at"], row["text"])

    def page(self, request: PageRequest) -> Page[PolicyRecord]:
        """Return policies by name."""
        rows = self._all(
            inline(_SELECT + "WHERE p.name > :after ORDER BY p.name LIMIT :limit"),
            after=decode_cursor(request.cursor) or "",
            limit=request.limit + 1,
        )
        return cut([_record(row) for row in rows], request.limit, lambda record: record.name)

    def selecting(self, tags: Sequence[str]) -> Sequence[str]:
        """Return the names of the policies whose newest version selects an item with these tags."""
        rows = self._all(
            inline(
                "SELECT p.name FROM policy p JOIN policy_version v ON v.policy = p.name AND v.n = p.newest"
                " WHERE v.spec -> 'tags' <> '[]' AND v.spec -> 'tags' <@ CAST(:tags AS jsonb) ORDER BY p.name"
            ),
            tags=to_json(list(tags)),
        )
        return [row["name"] for row in rows]

    def select_items(self, name: str, tags: Sequence[str]) -> Sequence[tuple[str, str]]:
        """Let go of items that the tags no longer choose and take those that they do and that have no policy.

        Returns (item, policy) of items that other policies have chosen by their tags, at most 10: they stay there.
        """
        self._run(
            inline(
                "UPDATE item SET policy = NULL, chosen = 'item' WHERE policy = :name AND chosen = 'tags'"
                " AND NOT (tags @> CAST(:tags AS text[]) AND cardinality(CAST(:tags AS text[])) > 0)"
            ),
            name=name,
            tags=list(tags),
        )
        if not tags:
            return []
        self._run(
            inline(
                "UPDATE item SET policy = :name, chosen = 'tags', planned_through = clock_timestamp()"
                " WHERE policy IS NULL AND removed_at IS NULL AND tags @> CAST(:tags AS text[])"
            ),
            name=name,
            tags=list(tags),
        )
        rows = self._all(
            inline(
                "SELECT name, policy FROM item WHERE chosen = 'tags' AND policy <> :name AND removed_at IS NULL"
                " AND tags @> CAST(:tags AS text[]) ORDER BY name LIMIT 10"
            ),
            name=name,
            tags=list(tags),
        )
        return [(row["name"], row["policy"]) for row in rows]

    def specs(self, version_ids: Sequence[str]) -> Mapping[str, PolicySpec]:
        """Return the specs of these versions."""
        if not version_ids:
            return {}
        rows = self._all(
            inline("SELECT id, spec FROM policy_version WHERE id = ANY (CAST(:ids AS text[]))"), ids=list(version_ids)
        )
        return {row["id"]: converted(row["spec"], PolicySpec) for row in rows}

    def waiting(self) -> Mapping[str, PolicySpec]:
        """Return the newest specs, with a window or blackouts, of policies whose items have waiting, scheduled jobs."""
        rows = self._all(
            inline(
                "SELECT p.name, v.spec FROM policy p JOIN policy_version v ON v.policy = p.name AND v.n = p.newest"
                " WHERE (v.spec ->> 'window' IS NOT NULL OR v.spec ->> 'blackouts' <> '[]')"
                " AND EXISTS (SELECT 1 FROM job j JOIN item i ON i.id = j.item_id"
                " WHERE i.policy = p.name AND j.trigger = 'schedule' AND j.state = 'available'"
                " AND j.admitted_at IS NULL)"
            )
        )
        return {row["name"]: converted(row["spec"], PolicySpec) for row in rows}


def _record(row: RowMapping) -> PolicyRecord:
    version = PolicyVersion(row["id"], row["n"], row["created_at"], row["text"])
    return PolicyRecord(name=row["name"], version=version, items=tuple(row["items"]))
