"""Finding a row by an id or a unique beginning of one.

Rule of the file: an id is compared byte by byte, so a beginning is a range of the primary key.
"""

from __future__ import annotations

from sqlalchemy import Connection

from orchestrator.domain.names import is_id, is_id_prefix, no_such
from orchestrator.store.base import inline
from shared.errors import SkyharborError

_MOST_TOLD = 5

_FIND = {
    "job": inline("SELECT id FROM job WHERE id >= :low AND id < :high ORDER BY id LIMIT 6"),
    "recovery point": inline("SELECT id FROM recovery_point WHERE id >= :low AND id < :high ORDER BY id LIMIT 6"),
}


def full_id(db: Connection, noun: str, ref: str) -> str:
    """Return the whole id; a whole one unseen. ``not-found``; ``conflict`` with candidates when several begin so."""
    if is_id(ref):
        return ref
    found = []
    if is_id_prefix(ref):
        # "g" is behind every character of an id.
        found = list(db.execute(_FIND[noun], {"low": ref, "high": ref + "g"}).scalars())
    if not found:
        raise no_such(noun, ref)
    if len(found) > 1:
        told = ", ".join([*found[:_MOST_TOLD], *(["…"] if len(found) > _MOST_TOLD else [])])
        raise SkyharborError(
            "conflict",
            f"several {noun}s begin with {ref}: {told}",
            hint="Give as much of the id as makes it one of them.",
        )
    return str(found[0])
