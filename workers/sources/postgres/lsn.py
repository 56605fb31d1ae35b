"""Positions in the write-ahead log, and the names of its segments.

Rule of the file: arithmetic only. A position is an int, a count of bytes since the cluster was made.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def parse_lsn(text: str) -> int:
    """Return the position that PostgreSQL writes as ``16/B374D848``. Raises ``ValueError``."""
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def show_lsn(position: int) -> str:
    """Return a position as PostgreSQL writes it."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def segment_start(position: int, segment: int) -> int:
    """Return where the segment begins that the position is in; ``segment`` is the size of one, in bytes."""
    return position // segment * segment


def segment_name(timeline: int, position: int, segment: int) -> str:
    """Return the name of the segment that the position is in: 24 hexadecimal digits."""
    number, per_id = position // segment, (1 << 32) // segment
    return f"{timeline:08X}{number // per_id:08X}{number % per_id:08X}"


def segment_of(name: str, segment: int) -> tuple[int, int]:
    """Return the timeline and the first position of a segment. Raises ``ValueError`` when it is no segment's name."""
    if len(name) != 24:
        raise ValueError(name)
    timeline, high, low = (int(name[at : at + 8], 16) for at in (0, 8, 16))
    return timeline, (high * ((1 << 32) // segment) + low) * segment


def from_server(microseconds: int) -> datetime:
    """Return the time that PostgreSQL counts in microseconds since 2000."""
    return _EPOCH + microseconds * _MICROSECOND


def to_server(time: datetime) -> int:
    """Return a time as PostgreSQL counts it."""
    return (time - _EPOCH) // _MICROSECOND
