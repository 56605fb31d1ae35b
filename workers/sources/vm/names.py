"""What we call things inside of a QEMU, so that they are found again by whoever has to clean up.

Nodes, jobs and exports carry the item's tag and that of the session (31 characters are all that a node may have),
bitmaps the item's and the point's ids: they outlive the session.

Rule of the file: text only.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

_PREFIX: Final = "sky-"
_BITMAP: Final = "skyharbor-"
_FROZEN: Final = "-frozen"


def item_tag(item_id: str) -> str:
    """Return the beginning of every name that any session of the item gives."""
    return f"{_PREFIX}{hashlib.sha256(item_id.encode()).hexdigest()[:8]}-"


def new_session_tag(item_id: str) -> str:
    """Return the beginning of the names of a session that begins now."""
    return f"{item_tag(item_id)}{secrets.token_hex(3)}-"


def bitmap_of(item_id: str, point_id: str) -> str:
    """Return the name of the bitmap that has what was changed since the point."""
    return f"{_BITMAP}{item_id}-{point_id}"


def bitmaps_of(item_id: str) -> str:
    """Return how the names of all bitmaps of an item begin."""
    return f"{_BITMAP}{item_id}-"


def frozen(bitmap: str) -> str:
    """Return the name of the copy of a bitmap that stands still while it is read."""
    return bitmap + _FROZEN


def is_frozen(bitmap: str) -> bool:
    """Tell whether a bitmap is such a copy."""
    return bitmap.endswith(_FROZEN)
