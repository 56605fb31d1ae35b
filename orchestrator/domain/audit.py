"""The audit chain: every line's hash covers the line and the hash before it.

Nothing can be changed or taken out unseen.

Rule of the file: the bytes hashed are fixed here; changing them breaks every chain there is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from orchestrator.domain.inventory import AuditEntry

GENESIS = "0" * 64
"""What the first line has before it."""


def line_hash(
    *, previous: str, seq: int, at: datetime, actor: str, action: str, target: str, detail: Mapping[str, object]
) -> str:
    """Return the hex SHA-256 of the canonical JSON array [previous, seq, at, actor, action, target, detail]."""
    stamp = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    line = json.dumps([previous, seq, stamp, actor, action, target, detail], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(line.encode()).hexdigest()


def first_break(entries: Iterable[AuditEntry], *, previous: str = GENESIS, seq: int = 0) -> int | None:
    """Return the number of the first line that does not follow from the one before it, or None when the chain is whole.

    ``previous`` and ``seq`` are those of the last line already checked.
    """
    for entry in entries:
        expected = line_hash(
            previous=previous,
            seq=seq + 1,
            at=entry.at,
            actor=entry.actor,
            action=entry.action,
            target=entry.target,
            detail=entry.detail,
        )
        if (entry.seq, entry.previous, entry.hash) != (seq + 1, previous, expected):
            return entry.seq
        previous, seq = entry.hash, entry.seq
    return None
