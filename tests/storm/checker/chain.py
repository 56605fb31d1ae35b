"""I10: the audit chain is unbroken, and what was once read in it is still there.

The rule, as it is written: a line's hash is the hex SHA-256 of the canonical JSON (keys sorted, no spaces, ASCII) of
the array [previous hash, number, time, actor, action, target, detail]; the time is UTC with six decimals and ``Z``;
the first line has 64 zeros before it; numbers count from 1 without holes.

Rule of the file: the hash is computed here, by that sentence.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC
from typing import Any

from tests.storm.checker.database import Look
from tests.storm.checker.violation import Violation

SEALED_WITHIN = 20.0
"""Seconds in which a tower at rest has chained what was told; a sealer looks every second."""


def broken_links(db: Look) -> list[Violation]:
    """I10: the first line that does not follow from the one before it."""
    previous = "0" * 64
    lines = db.rows("SELECT seq, at, actor, action, target, detail, previous, hash FROM audit ORDER BY seq")
    for number, row in enumerate(lines, start=1):
        if row["seq"] != number:
            return [Violation("I10", f"line {number} is missing in the audit log", row)]
        if (row["previous"], row["hash"]) != (previous, _hash(previous, row)):
            return [Violation("I10", f"line {number} of the audit log does not follow from the one before", row)]
        previous = row["hash"]
    return []


def forgotten_lines(db: Look) -> list[Violation]:
    """I10: lines that were told so many seconds ago and have not come into the chain. Asked of a tower that runs."""
    rows = db.rows(
        "SELECT id, at, action FROM audit_unsealed WHERE at < clock_timestamp() - make_interval(secs => %(s)s)",
        s=SEALED_WITHIN,
    )
    return [Violation("I10", f"line {row['id']} was told and is not in the chain", row) for row in rows]


def lost_lines(db: Look, seen: Mapping[int, str]) -> list[Violation]:
    """I10: lines that were read during the storm (number to hash) and are gone or others now."""
    now = {row["seq"]: row["hash"] for row in db.rows("SELECT seq, hash FROM audit")}
    return [
        Violation("I10", f"line {number} of the audit log was {hash_[:12]} and is {str(now.get(number))[:12]}")
        for number, hash_ in sorted(seen.items())
        if now.get(number) != hash_
    ]


def _hash(previous: str, row: Mapping[str, Any]) -> str:
    at = row["at"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    line = [previous, row["seq"], at, row["actor"], row["action"], row["target"], row["detail"]]
    return hashlib.sha256(json.dumps(line, sort_keys=True, separators=(",", ":")).encode("ascii")).hexdigest()
