"""How single values of people's documents are read: durations, times, days, zones, numbers.

Rule of the file: a text in, a value out; a text that is none is a ``ValueError`` that says what to write instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""In the order of ``datetime.weekday``."""

_DURATION = re.compile(r"(\d{1,6})\s*(s|m|h|d)")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")


def whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    """Return what reads a whole number between two, inclusive."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[+-]?\d{1,9}", text) or not lowest <= int(text) <= highest:
            raise ValueError(f"{text!r} is not a whole number between {lowest} and {highest}")
        return int(text)

    return read


def duration(longest: str) -> Callable[[str], int]:
    """Return what reads a duration, such as ``10m``, in seconds, up to ``longest``."""
    most = _seconds(longest)

    def read(text: str) -> int:
        seconds = _seconds(text)
        if seconds is None or most is None or seconds > most:
            raise ValueError(f"{text!r} is not a duration up to {longest}; write such as 90s, 10m, 2h or 1d")
        return seconds

    return read


def _seconds(text: str) -> int | None:
    match = _DURATION.fullmatch(text.strip())
    return None if match is None else int(match[1]) * _UNITS[match[2]]


def clock_time(text: str) -> str:
    """Return a time of day HH:MM."""
    if not _CLOCK.fullmatch(text):
        raise ValueError(f'{text!r} is not a time of day; write such as "22:00", in YAML with the quotes')
    return text


def zone(text: str) -> str:
    """Return the name of a time zone."""
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{text!r} is not a time zone; write an IANA name such as Europe/Berlin") from error
    return text


def local_time(text: str) -> str:
    """Return a local date, or date and time, in ISO form, without zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is not None:
        raise ValueError(f'{text!r} is not a local date; write "2026-12-24" or "2026-12-24 18:00"')
    return moment.isoformat(sep=" ", timespec="minutes")


def days(text: str) -> tuple[str, ...]:
    """Return days of the week, in their order: names, ranges such as mon-fri, ``weekdays``, ``weekends``, ``daily``."""
    named = {"daily": DAYS, "weekdays": DAYS[:5], "weekends": DAYS[5:]}
    found: set[str] = set()
    for part in text.lower().replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        if part in named:
            found.update(named[part])
        elif first in DAYS and not dash:
            found.add(first)
        elif first in DAYS and last in DAYS:
            begin, length = DAYS.index(first), (DAYS.index(last) - DAYS.index(first)) % 7 + 1
            found.update(DAYS[(begin + step) % 7] for step in range(length))
        else:
            raise ValueError(f"{text!r} names no days; write such as mon-fri, or sat,sun, or weekdays")
    return tuple(day for day in DAYS if day in found)
