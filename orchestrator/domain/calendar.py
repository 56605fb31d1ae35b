"""Calendar expressions: schedules in the words that people use, brought into cron's five fields.

    every 15m | every 4h | hourly :20
    daily 02:30 | weekdays 22:00 | sat,sun 03:00,15:00 | mon-fri 19:30
    monthly 1,15,last 04:00 | monthly last-fri 22:00 | monthly second-sun 03:00
    yearly 12-31 23:00

Rule of the file: every expression means exactly some cron expressions, one for each different minute, so that fires,
daylight saving and previews know one kind of schedule.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from orchestrator.domain.readings import DAYS, clock_time, days

EXAMPLES = "'daily 02:30', 'mon-fri 22:00', 'monthly last-fri 23:00' or 'every 4h'"
_EVERY = re.compile(r"(\d{1,2})\s*(m|h)")
_NTH = {"first": "#1", "second": "#2", "third": "#3", "fourth": "#4", "last": "L"}
_CRON_DAY = {day: (number + 1) % 7 for number, day in enumerate(DAYS)}


def crons_of(text: str) -> tuple[str, ...]:
    """Return the cron expressions that a calendar expression means. ``ValueError`` says what to write instead."""
    words = text.lower().split(maxsplit=1)
    if not words:
        raise ValueError(f"write a calendar expression, such as {EXAMPLES}")
    head, rest = words[0], words[1] if len(words) > 1 else ""
    if head == "every":
        return (_every(rest),)
    if head == "hourly":
        return (_hourly(rest),)
    if head == "monthly":
        which, _, at = rest.partition(" ")
        return _at(at, _of_month(which))
    if head == "yearly":
        which, _, at = rest.partition(" ")
        return _at(at, [_of_year(which)])
    try:
        chosen = days(head)
    except ValueError:
        raise ValueError(f"{text!r} is not a calendar expression; write such as {EXAMPLES}") from None
    return _at(rest, [f"* * {','.join(str(_CRON_DAY[day]) for day in chosen) if len(chosen) < 7 else '*'}"])


def _every(rest: str) -> str:
    match = _EVERY.fullmatch(rest.strip())
    number, unit = (int(match[1]), match[2]) if match else (0, "")
    if unit == "m" and number in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30):
        return f"*/{number} * * * *"
    if unit == "h" and number in (1, 2, 3, 4, 6, 8, 12):
        return f"0 */{number} * * *"
    raise ValueError("write every with a part of an hour (5m, 10m, 15m, 30m …) or of a day (1h, 2h, 4h, 6h, 8h, 12h)")


def _hourly(rest: str) -> str:
    match = re.fullmatch(r":([0-5]\d)", rest.strip() or ":00")
    if match is None:
        raise ValueError("write the minute after hourly as such as :20")
    return f"{int(match[1])} * * * *"


def _of_month(which: str) -> list[str]:
    fields: list[str] = []
    for part in filter(None, which.split(",")):
        nth, dash, day = part.partition("-")
        if part == "last":
            fields.append("L * *")
        elif part.isdigit() and 1 <= int(part) <= 31:
            fields.append(f"{int(part)} * *")
        elif dash and nth in _NTH and day in DAYS:
            fields.append(f"* * {_CRON_DAY[day]}{_NTH[nth]}")
        else:
            raise ValueError(f"{part!r} is no day of a month; write 1 to 31, last, or such as first-mon, last-fri")
    if not fields:
        raise ValueError("write which days after monthly, such as monthly 1,15 04:00 or monthly last-fri 22:00")
    return fields


def _of_year(which: str) -> str:
    match = re.fullmatch(r"(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])", which)
    if match is None:
        raise ValueError("write the day after yearly as month-day, such as 12-31")
    return f"{int(match[2])} {int(match[1])} *"


def _at(times: str, fields: Sequence[str]) -> tuple[str, ...]:
    """Return the expressions for times of day, those of one minute of the hour together."""
    if not times.strip():
        raise ValueError(f"write the time of day at the end, such as {EXAMPLES}")
    clock = sorted({clock_time(time.strip()) for time in times.split(",")}, key=lambda time: (time[3:], time))
    crons = []
    for minute, group in groupby(clock, key=lambda time: int(time[3:])):
        hours = ",".join(str(int(time[:2])) for time in group)
        crons += [f"{minute} {hours} {field}" for field in fields]
    return tuple(crons)
