"""Windows and blackouts: at which times a scheduled backup may start.

Rule of the file: pure; ends are exclusive; equal start and end mean the whole day. Times are local, so a day may have
23 or 25 hours.
"""

from __future__ import annotations

from datetime import datetime, time
from enum import StrEnum
from zoneinfo import ZoneInfo

from orchestrator.domain.policy import BlackoutSpec, PolicySpec, WindowSpec
from orchestrator.domain.readings import DAYS


class Closed(StrEnum):
    """Why a scheduled backup may not start now."""

    WINDOW = "window"
    BLACKOUT = "blackout"


def why_closed(spec: PolicySpec, now: datetime) -> Closed | None:
    """Return why the policy's backups may not start at ``now``; None when they may."""
    if any(is_dark(blackout, now) for blackout in spec.blackouts):
        return Closed.BLACKOUT
    return None if is_open(spec.window, now) else Closed.WINDOW


def is_open(window: WindowSpec | None, now: datetime) -> bool:
    """Tell whether a window allows a start at ``now``; without a window always."""
    if window is None:
        return True
    return _is_between(now.astimezone(ZoneInfo(window.zone)).time(), window.start, window.end)


def is_dark(blackout: BlackoutSpec, now: datetime) -> bool:
    """Tell whether a blackout forbids a start at ``now``. One over midnight belongs to the day on which it begins."""
    local = now.astimezone(ZoneInfo(blackout.zone))
    if not blackout.days:
        naive = local.replace(tzinfo=None)
        return datetime.fromisoformat(blackout.begin) <= naive < datetime.fromisoformat(blackout.until)
    if not _is_between(local.time(), blackout.start, blackout.end):
        return False
    begun_yesterday = time.fromisoformat(blackout.start) > local.time()
    return DAYS[(local.weekday() - begun_yesterday) % 7] in blackout.days


def _is_between(local: time, start: str, end: str) -> bool:
    begin, until = time.fromisoformat(start), time.fromisoformat(end)
    if begin == until:
        return True
    if begin < until:
        return begin <= local < until
    return local >= begin or local < until
