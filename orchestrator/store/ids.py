"""Finding a row by an id or a unique beginning of one.

Rule of the file: an id is compared byte by byte, so a beginning is a range of the primary key.
"""

from __future__ import annotations

from sqlalchemy import Connection

from orchestrator.domain.names import is_id, is_id_prefix
from orchestrator.store.base import inline
from shared.errors import SkyharborError

_FIND = {
    "job": inline("SELECT id FROM job WHERE id >= :low AND id < :high ORDER BY id LIMIT 2"),
    "recovery point": inline("SELECT id FROM recovery_point WHERE id >= :low AND id < :high ORDER BY id LIMIT 2"),
}


def full_id(db: Connection, noun: str, ref: str) -> str:
    """Return the whole id. ``not-found``; ``conflict`` when several begin so. A whole id is returned unseen."""
    if is_id(ref):
        return ref
    found = []
    if is_id_prefix(ref):
        # "g" is behind every character of an id.
        found = list(db.execute(_FIND[noun], {"low": ref, "high": ref + "g"}).scalars())
    if not found:
        raise SkyharborError("not-found", f"there is no {noun} {ref}")
    if len(found) > 1:
        raise SkyharborError("conflict", f"several {noun}s begin with {ref}: give more of the id")
    return str(found[0])
