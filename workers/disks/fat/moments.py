"""Times as FAT and exFAT write them.

Rule of the file: ns since the epoch out; a date that the calendar does not have is the epoch.
"""

from __future__ import annotations

from datetime import UTC, datetime

_BILLION = 1_000_000_000


def moment(date: int, time: int, *, hundredths: int = 0, quarters: int = 0) -> int:
    """Return a local time, of a zone so many quarters of an hour ahead of UTC, as ns since the epoch."""
    try:
        when = datetime(
            1980 + (date >> 9),
            date >> 5 & 0xF,
            date & 0x1F,
            time >> 11,
            time >> 5 & 0x3F,
            (time & 0x1F) * 2,
            tzinfo=UTC,
        )
    except ValueError:
        return 0
    return (int(when.timestamp()) - quarters * 900) * _BILLION + hundredths * 10_000_000
