"""Pages of lists by keyset: a cursor names the last row seen, so pages never shift under the reader.

Rule of the file: cursors are opaque to callers and harmless when forged: they only say where to go on.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from shared.errors import SkyharborError

T = TypeVar("T")

MAX_LIMIT = 500
DEFAULT_LIMIT = 100


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page; ``next`` is None on the last."""

    items: Sequence[T]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class PageRequest:
    """How many rows, after which cursor."""

    limit: int = DEFAULT_LIMIT
    cursor: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= MAX_LIMIT:
            raise SkyharborError("bad-request", f"limit must be between 1 and {MAX_LIMIT}")


def encode_cursor(key: str) -> str:
    """Return the cursor that goes on after the row with this key."""
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None) -> str | None:
    """Return the key of a cursor; ``bad-request`` when it is not one of ours."""
    if cursor is None:
        return None
    try:
        key = base64.b64decode(cursor.encode() + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError, ValueError) as error:
        raise SkyharborError("bad-request", "the cursor is not one that a list has given") from error
    if "\0" in key:
        raise SkyharborError("bad-request", "the cursor is not one that a list has given")
    return key
