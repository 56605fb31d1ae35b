"""Promises and what is known of the points, for the compliance view.

Rule of the file: reading only. The verdict is the domain's (``domain/objectives.py``); it is repeated in SQL because a
page of one verdict out of a hundred thousand items must not read them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from orchestrator.domain.estimate import USUAL_SECONDS
from orchestrator.domain.objectives import WINDOW, Record, Verdict
from orchestrator.domain.paging import Page, PageRequest, decode_cursor
from orchestrator.store.base import RowMapping, Rows, inline
from orchestrator.store.paging import cut
from shared.model.backup import JobKind

PROMISE = """
promise AS MATERIALIZED (
    SELECT p.name, CAST(v.spec ->> 'rpo' AS integer) AS rpo
    FROM policy p
    JOIN policy_version v ON v.policy = p.name AND v.n = p.newest
)
"""
"""What every policy's newest version promises, for a WITH."""

_STANDING = f"""
{PROMISE},
standing AS (
    SELECT p.*,
        CASE
            WHEN p.newest IS NULL THEN 'never'
            WHEN p.rpo IS NULL THEN 'unpromised'
            WHEN p.newest + make_interval(secs => p.rpo) < :now THEN 'missed'
            WHEN p.newest + make_interval(secs => p.rpo) - make_interval(secs => p.estimate) < :now THEN 'at_risk'
            ELSE 'met'
        END AS verdict
    FROM (
        SELECT i.id AS item_id, i.name, i.policy, i.created_at, i.paused_at, i.newest_point_at AS newest,
               coalesce(i.rpo_seconds, promise.rpo) AS rpo, coalesce(i.expected_seconds, :usual) AS estimate
        FROM item i
        LEFT JOIN promise ON promise.name = i.policy
        WHERE i.removed_at IS NULL
    ) p
)
"""  # noqa: S608 - nothing of anybody is pasted

_PAGE = """
WITH @STANDING@
SELECT s.*, gaps.longest AS longest_gap,
       (SELECT max(r.verified_at) FROM recovery_point r WHERE r.item_id = s.item_id AND r.verified_at IS NOT NULL)
           AS verified_at,
       (SELECT min(f.due_at) FROM fire f WHERE f.item_id = s.item_id AND f.state = 'planned') AS next_fire_at
FROM (
    SELECT * FROM standing
    WHERE name > :after @ONLY@
    ORDER BY name LIMIT :limit
) s
CROSS JOIN LATERAL (
    SELECT CAST(extract(epoch FROM max(g.gap)) AS double precision) AS longest
    FROM (
        SELECT r.cataloged_at - lag(r.cataloged_at) OVER (ORDER BY r.cataloged_at) AS gap
        FROM recovery_point r
        WHERE r.item_id = s.item_id AND r.state <> 'damaged' AND r.cataloged_at >= coalesce((
            SELECT max(b.cataloged_at) FROM recovery_point b
            WHERE b.item_id = s.item_id AND b.state <> 'damaged' AND b.cataloged_at < :since
        ), :since)
    ) g
) gaps
ORDER BY s.name
""".replace("@STANDING@", _STANDING)

_ALL = _PAGE.replace("@ONLY@", "")
_RARE = _PAGE.replace("@ONLY@", "AND verdict = :verdict")
_COMMON = _PAGE.replace("@ONLY@", "AND verdict <> ALL (CAST(:others AS text[]))")
"""Both ask for one verdict. The first lets the planner read the table and sort, the second walk along the names."""

_COUNT = f"WITH {_STANDING} SELECT verdict, count(*) AS items FROM standing GROUP BY verdict"  # noqa: S608


class ObjectiveRows(Rows):
    """The records of the living items."""

    def page(self, request: PageRequest, *, verdict: Verdict | None, now: datetime) -> Page[Record]:
        """Return records by name."""
        asked: dict[str, object] = {
            "after": decode_cursor(request.cursor) or "",
            "limit": request.limit + 1,
            "since": now - WINDOW,
            **_judged(now),
        }
        if verdict is None:
            rows = self._all(inline(_ALL), **asked)
        elif verdict is Verdict.MET:
            rows = self._all(inline(_COMMON), others=[other for other in Verdict if other is not verdict], **asked)
        else:
            rows = self._all(inline(_RARE), verdict=verdict, **asked)
        return cut([_record(row) for row in rows], request.limit, lambda record: record.name)

    def count_by_verdict(self, *, now: datetime) -> Mapping[Verdict, int]:
        """Return the number of living items by verdict."""
        counted = {row["verdict"]: int(row["items"]) for row in self._all(inline(_COUNT), **_judged(now))}
        return {verdict: counted.get(verdict.value, 0) for verdict in Verdict}


def _judged(now: datetime) -> dict[str, datetime | float]:
    return {"now": now, "usual": USUAL_SECONDS[JobKind.BACKUP]}


def _record(row: RowMapping) -> Record:
    return Record(
        item_id=row["item_id"],
        name=row["name"],
        policy=row["policy"],
        created_at=row["created_at"],
        paused_at=row["paused_at"],
        rpo=row["rpo"],
        newest=row["newest"],
        estimate=row["estimate"],
        longest_gap=row["longest_gap"],
        verified_at=row["verified_at"],
        next_fire_at=row["next_fire_at"],
    )
