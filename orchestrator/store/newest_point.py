"""What an item's row keeps of its newest point.

Rule of the file: whoever changes a point locks its item first.
"""

from __future__ import annotations

from sqlalchemy import Connection

from orchestrator.store.base import inline

_NEWEST = """
UPDATE item SET newest_point_at = (
    SELECT max(r.cataloged_at) FROM recovery_point r WHERE r.item_id = item.id AND r.state = 'sealed')@ALSO@
WHERE id = :id
"""
_NOTE = _NEWEST.replace("@ALSO@", "")
_NOTE_AND_LOOK = _NEWEST.replace("@ALSO@", ", retention_due_at = clock_timestamp()")


def note_newest(db: Connection, item_id: str, *, look: bool = False) -> None:
    """Keep with the item when its newest sealed point came: promises of a whole fleet are judged by it.

    With ``look`` retention looks at the item soon.
    """
    db.execute(inline(_NOTE_AND_LOOK if look else _NOTE), {"id": item_id})


def lock_item_of(db: Connection, point_id: str) -> str | None:
    """Lock the item of a point and return its id; None when there is no such point."""
    sql = inline(
        "SELECT i.id FROM item i JOIN recovery_point r ON r.item_id = i.id WHERE r.id = :id FOR NO KEY UPDATE OF i"
    )
    found = db.execute(sql, {"id": point_id}).scalar_one_or_none()
    return None if found is None else str(found)
