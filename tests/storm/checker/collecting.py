"""I7: what retention and the collector may never do, whatever is killed when.

Rule of the file: written from decision 12. Some questions are true at any moment, the others of a tower at rest.
"""

# ruff: noqa: S608 - nothing of anybody is pasted

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.storm.checker.database import Look
from tests.storm.checker.violation import Violation

_ENDED = "('cancelled', 'completed', 'discarded', 'expired')"

# The generations of all who may still rely on, or seal, what they knew: 0 for one that never registered.
_WRITERS = f"""
    SELECT j.vault_id, j.id AS job, coalesce(u.generation, 0) AS generation
    FROM unit u JOIN job j ON j.id = u.job_id AND j.kind = 'backup'
    WHERE u.claim_id IS NOT NULL
       OR (u.no = 0 AND j.committing_at IS NOT NULL AND j.state NOT IN {_ENDED})
       OR (u.no = 0 AND j.committing_at IS NOT NULL AND j.state IN {_ENDED}
           AND NOT EXISTS (SELECT 1 FROM recovery_point p WHERE p.job_id = j.id)
           AND NOT EXISTS (SELECT 1 FROM settled_point s WHERE s.point_id = j.point_id
                           AND (s.verdict = 'found' OR s.fenced_at IS NOT NULL)))
"""


_WAYS = {
    ("expired", True): ["expire", "doom", "delete"],
    ("expiring", True): ["expire", "doom"],
    ("expiring", False): ["expire"],
}
"""What the audit log tells last of a point, by its state and whether it is doomed."""


def doomed_under_a_writer(db: Look) -> list[Violation]:
    """I7, at any moment: packs and points that may be deleted while a writer is left that is older than that."""
    found = [
        Violation("I7", f"pack {row['name']} is doomed while job {row['job']} may rely on it", row)
        for row in db.rows(
            f"SELECT c.name, c.generation AS condemned, w.job, w.generation FROM condemned_pack c"
            f" JOIN ({_WRITERS}) w ON w.vault_id = c.vault_id AND w.generation < c.generation"
            " WHERE c.doomed_at IS NOT NULL"
        )
    ]
    return found + [
        Violation("I7", f"point {row['id']} is doomed while job {row['job']} may compare with it", row)
        for row in db.rows(
            f"SELECT p.id, p.expiring_generation, w.job, w.generation FROM recovery_point p"
            f" JOIN ({_WRITERS}) w ON w.vault_id = p.vault_id AND w.generation < p.expiring_generation"
            " WHERE p.state = 'expiring' AND p.doomed_at IS NOT NULL"
        )
    ]


def doomed_under_a_reader(db: Look) -> list[Violation]:
    """I7, at any moment: doomed points that a job which has not ended reads."""
    return [
        Violation("I7", f"point {row['id']} is doomed while job {row['job']} ({row['kind']}) reads it", row)
        for row in db.rows(
            "SELECT p.id, j.id AS job, j.kind FROM recovery_point p JOIN job j ON j.point_id = p.id"
            f" AND j.kind IN ('restore', 'verify') AND j.state NOT IN {_ENDED} WHERE p.doomed_at IS NOT NULL"
        )
    ]


def miscounted(db: Look) -> list[Violation]:
    """I7, at any moment: generations that are younger than their vault's, and a count that is not that of the rows."""
    found = [
        Violation("I7", f"the vault's generation is {row['generation']}, something of it has {row['youngest']}", row)
        for row in db.rows(
            "SELECT g.vault_id, g.generation, greatest("
            " (SELECT max(c.generation) FROM condemned_pack c WHERE c.vault_id = g.vault_id),"
            " (SELECT max(p.expiring_generation) FROM recovery_point p WHERE p.vault_id = g.vault_id),"
            " (SELECT max(u.generation) FROM unit u JOIN job j ON j.id = u.job_id AND j.vault_id = g.vault_id)"
            ") AS youngest FROM vault_generation g"
        )
        if row["youngest"] is not None and row["youngest"] > row["generation"]
    ]
    return found + [
        Violation("I7", f"{row['packs']} packs are condemned, counted are {row['condemned_packs']}", row)
        for row in db.rows(
            "SELECT g.vault_id, g.condemned_packs, g.condemned_bytes, count(c.name) AS packs,"
            " coalesce(sum(c.size), 0) AS bytes FROM vault_generation g"
            " LEFT JOIN condemned_pack c ON c.vault_id = g.vault_id GROUP BY g.vault_id"
        )
        if (row["packs"], row["bytes"]) != (row["condemned_packs"], row["condemned_bytes"])
    ]


def untold(db: Look) -> list[Violation]:
    """I7: points whose way out the audit log tells otherwise than the catalog, or that a hold should have saved."""
    told: dict[str, list[str]] = {}
    for line in db.rows(
        "SELECT target, action FROM (SELECT target, action, 0 AS unsealed, seq AS n FROM audit"
        " UNION ALL SELECT target, action, 1, id FROM audit_unsealed) a"
        " WHERE action IN ('point.expire', 'point.hold', 'point.release', 'point.doom', 'point.delete')"
        " ORDER BY unsealed, n"
    ):
        told.setdefault(line["target"], []).append(line["action"].partition(".")[2])
    found = []
    for row in db.rows("SELECT id, state, doomed_at IS NOT NULL AS doomed FROM recovery_point ORDER BY id"):
        lines = told.get(row["id"], [])
        expected = {
            "expired": ["expire", "doom", "delete"],
            "expiring": ["expire", "doom"] if row["doomed"] else ["expire"],
        }
        way = expected.get(row["state"], [])
        if way and lines[-len(way) :] != way:
            found.append(Violation("I7", f"point {row['id']} is {row['state']}, the audit log tells {lines}"))
        if not way and {"doom", "delete"} & set(lines):
            found.append(Violation("I7", f"point {row['id']} is {row['state']} although it was doomed: {lines}"))
    return found


def without_a_point(db: Look) -> list[Violation]:
    """I7: items that had points and have none any more that is kept."""
    return [
        Violation("I7", f"item {row['name']} had {row['points']} points and none is kept")
        for row in db.rows(
            "SELECT i.name, count(*) AS points FROM recovery_point p JOIN item i ON i.id = p.item_id GROUP BY 1"
            " HAVING NOT bool_or(p.state IN ('sealed', 'damaged'))"
        )
    ]


def manifests(db: Look, vaults: Mapping[str, Path]) -> list[Violation]:
    """I7: points that nobody doomed and whose manifest is gone, and expired ones whose manifest is still there.

    Behind a fence a manifest may have come late: it is no point, and the next collection deletes it.
    """
    found = []
    for row in db.rows(
        "SELECT p.id, p.state, p.doomed_at IS NOT NULL AS doomed, p.manifest, v.name AS vault"
        " FROM recovery_point p JOIN vault v ON v.id = p.vault_id ORDER BY p.id"
    ):
        there = (vaults[row["vault"]] / row["manifest"]).is_file()
        if not there and not row["doomed"]:
            found.append(Violation("I7", f"point {row['id']} is {row['state']}, was not doomed and has no manifest"))
        fenced = any(vaults[row["vault"]].glob(f"fenced/**/{row['id']}*"))
        if there and row["state"] == "expired" and not fenced:
            found.append(Violation("I7", f"point {row['id']} is expired and its manifest is still in {row['vault']}"))
    return found


AT_ANY_MOMENT = (doomed_under_a_writer, doomed_under_a_reader, miscounted)
AT_REST = (*AT_ANY_MOMENT, untold, without_a_point)
