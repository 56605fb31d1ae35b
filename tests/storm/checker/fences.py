"""I4: whoever comes with a fence that is not the current one changes nothing.

A point outlives its job: meanwhile the expirer may let it go, a collector delete it, a verify look at it. What they
write is not in the picture, so that theirs is not taken for the message's doing.

Rule of the file: a picture of everything that belongs to a job is taken before and after; equal or not is all it asks.
"""

from __future__ import annotations

from typing import Any

from tests.storm.checker.database import Look
from tests.storm.checker.violation import Violation

Picture = dict[str, list[dict[str, Any]]]

_PARTS = {
    "job": "SELECT * FROM job WHERE id = %(job)s",
    "unit": "SELECT * FROM unit WHERE job_id = %(job)s ORDER BY no",
    "slot_hold": "SELECT * FROM slot_hold WHERE job_id = %(job)s ORDER BY scope, key",
    "recovery_point": "SELECT id, item_id, machine_id, vault_id, type, reference, sealed_at, cataloged_at, files,"
    " bytes, bytes_transferred, bytes_stored, manifest, manifest_sha256, warnings, state = 'writing' AS unsealed"
    " FROM recovery_point WHERE job_id = %(job)s ORDER BY id",
    "fire": "SELECT * FROM fire WHERE job_id = %(job)s",
    "outbox": "SELECT job_id, epoch, unit FROM outbox WHERE job_id = %(job)s ORDER BY id",
    "audit": "SELECT action FROM (SELECT action, 0 AS unsealed, seq AS n FROM audit WHERE target = %(job)s"
    " UNION ALL SELECT action, 1, id FROM audit_unsealed WHERE target = %(job)s) a ORDER BY unsealed, n",
}


def picture(db: Look, job: str) -> Picture:
    """Return everything that the database holds of a job."""
    return {part: db.rows(sql, job=job) for part, sql in _PARTS.items()}


def changed(before: Picture, after: Picture, message: str) -> list[Violation]:
    """I4: the parts that a stale message has changed."""
    return [
        Violation("I4", f"{message} changed {part}", {"before": before[part], "after": after[part]})
        for part in before
        if before[part] != after[part]
    ]
