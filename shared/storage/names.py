"""Object names: which are allowed, checked the same way before every backend.

Rule of the file: a name that passes here cannot leave the store's folder and means the same on every backend.
"""

from __future__ import annotations

import re

from shared.errors import SkyharborError

TEMPORARY = "tmp"
"""First part of names that no object may have: backends keep unfinished objects there."""

_PART = re.compile(r"[a-z0-9._-]{1,255}")
_MAX_NAME = 900


def check_name(name: str) -> None:
    """Raise ``bad-request`` unless ``name`` may name an object."""
    parts = name.split("/")
    if len(name) > _MAX_NAME or parts[0] == TEMPORARY or not all(_is_part(part) for part in parts):
        raise SkyharborError("bad-request", f"not an object name: {name[:120]!r}")


def check_prefix(prefix: str) -> None:
    """Raise ``bad-request`` unless ``prefix`` is empty or names a whole folder, ending in ``/``."""
    if prefix == "":
        return
    if not prefix.endswith("/"):
        raise SkyharborError("bad-request", f"not a folder of objects: {prefix[:120]!r}")
    check_name(prefix.removesuffix("/"))


def check_range(offset: int, length: int | None) -> None:
    """Raise ``bad-request`` for a range that starts or counts below zero."""
    if offset < 0 or (length is not None and length < 0):
        raise SkyharborError("bad-request", f"not a range: {length} bytes from {offset}")


def _is_part(part: str) -> bool:
    return part not in (".", "..") and _PART.fullmatch(part) is not None
