"""I2: at most one sealed point per job, and a vault and a catalog that know the same points.

Rule of the file: the vault is a folder, looked at by its names (``docs/format``) and hashed byte by byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from tests.storm.checker.database import Look
from tests.storm.checker.violation import Violation


def points_of_jobs(db: Look) -> list[Violation]:
    """I2: jobs with several points, completed backups without one, and points of jobs that did not complete."""
    found = [
        Violation("I2", f"job {row['job_id']} has {row['number']} points", row["points"])
        for row in db.rows(
            "SELECT job_id, count(*) AS number, array_agg(id) AS points FROM recovery_point GROUP BY 1"
            " HAVING count(*) > 1"
        )
    ]
    return found + [
        Violation("I2", f"job {row['id']} is {row['state']} and its point is {row['point']}", dict(row))
        for row in db.rows(
            "SELECT j.id, j.kind, j.state, j.point_id, p.id AS point FROM job j"
            " LEFT JOIN recovery_point p ON p.job_id = j.id"
            " WHERE (j.kind = 'backup' AND j.state = 'completed') <> (p.id IS NOT NULL) OR p.id <> j.point_id"
        )
    ]


def disagreements(db: Look, vaults: Mapping[str, Path]) -> list[Violation]:
    """I2: manifests that the catalog does not know, rows without manifest, and rows that mean other bytes.

    ``vaults`` are folders by the name of the vault. Points that expire may be there or gone, and so may those that a
    collector has found or given up; both are judged as I7.
    """
    found = []
    for name, folder in vaults.items():
        there = {str(path.relative_to(folder)): path for path in folder.glob("points/*/*/*") if path.is_file()}
        known = {
            row["manifest"]: row
            for row in db.rows(
                "SELECT p.id, p.job_id, p.item_id, p.machine_id, p.state, p.manifest, p.manifest_sha256"
                " FROM recovery_point p JOIN vault v ON v.id = p.vault_id"
                " WHERE v.name = %(name)s AND p.state IN ('sealed', 'damaged')",
                name=name,
            )
        }
        leaving = {
            row["id"]
            for row in db.rows(
                "SELECT p.id FROM recovery_point p WHERE p.state IN ('expiring', 'expired')"
                " UNION ALL SELECT s.point_id FROM settled_point s"
            )
        }
        unknown = [name for name in there.keys() - known.keys() if name.rpartition("/")[2] not in leaving]
        for manifest in sorted(unknown):
            point = manifest.rpartition("/")[2]
            jobs = db.rows("SELECT id, kind, state, error_code FROM job WHERE point_id = %(point)s", point=point)
            found.append(Violation("I2", f"vault {name} has {manifest}, the catalog has not", jobs))
        for manifest, row in sorted(known.items()):
            if manifest != f"points/{row['machine_id']}/{row['item_id']}/{row['id']}":
                found.append(Violation("I2", f"point {row['id']} is cataloged as {manifest}"))
            if manifest not in there:
                found.append(Violation("I2", f"point {row['id']} has no manifest in vault {name}", dict(row)))
            elif _sha256(there[manifest]) != row["manifest_sha256"]:
                found.append(Violation("I2", f"the manifest of point {row['id']} is not the one cataloged", dict(row)))
    return found


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
