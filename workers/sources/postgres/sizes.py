"""Sizes as PostgreSQL writes them: ``16MB``, ``1GB``.

Rule of the file: text to bytes and back.
"""

from __future__ import annotations

import re

_UNITS = {"B": 0, "kB": 1, "MB": 2, "GB": 3, "TB": 4}
_SIZE = re.compile(r"(\d+)(B|kB|MB|GB|TB)?")


def parse_size(text: str) -> int:
    """Return a size in bytes. Raises ``ValueError``."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return int(match[1]) << 10 * _UNITS[match[2] or "B"]


def show_size(size: int) -> str:
    """Return a size for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 10 * 1024:
            return f"{size} {unit}"
        size >>= 10
    return f"{size} TiB"
