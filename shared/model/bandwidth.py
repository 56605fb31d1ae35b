"""How fast a machine may move bytes to and from a vault, and when.

Rule of the file: a value and its one look-up. A window is a pair of local times of day: whether it is open is asked
anew at every look-up, of the local time at that moment, so that it stays where people put it across daylight saving.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

import msgspec


class Day(StrEnum):
    """Days of the week, in ISO order."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


_WEEK = tuple(Day)


class BandwidthWindow(msgspec.Struct, frozen=True, kw_only=True):
    """Limits for certain hours, in bytes per second; 0 is unlimited, None is what holds outside of windows.

    From ``start`` to ``end``, both HH:MM local time of ``zone`` (IANA), on each of the ``days``. An end before the
    start means into the next day, an equal one the whole day: the days are those on which the window opens.
    """

    days: tuple[Day, ...]
    start: str
    end: str
    zone: str
    upload: int | None = None
    download: int | None = None


class Limits(msgspec.Struct, frozen=True):
    """Bytes per second; 0 is unlimited."""

    upload: int = 0
    download: int = 0


class BandwidthPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one vault for each machine, in bytes per second; 0 is unlimited. The first open window decides."""

    upload: int = 0
    download: int = 0
    windows: tuple[BandwidthWindow, ...] = ()

    def limits_at(self, now: datetime) -> Limits:
        """Return what holds at ``now`` (aware).

        A machine that does not know a window's zone (its zone data are older than the tower's) takes the window for
        open: of it and of what follows the lower limits hold, so that it is never faster than it was told.
        """
        usual = Limits(self.upload, self.download)
        held: list[Limits] = []
        for window in self.windows:
            limits = Limits(_or(window.upload, self.upload), _or(window.download, self.download))
            opened = _is_open(window, now)
            if opened:
                return _lowest([*held, limits])
            if opened is None:
                held.append(limits)
        return _lowest([*held, usual])


UNLIMITED = BandwidthPlan()
"""As fast as it goes."""


def _or(limit: int | None, usual: int) -> int:
    return usual if limit is None else limit


def _lowest(held: list[Limits]) -> Limits:
    return Limits(_low([limits.upload for limits in held]), _low([limits.download for limits in held]))


def _low(limits: list[int]) -> int:
    return min((limit for limit in limits if limit), default=0)


def _is_open(window: BandwidthWindow, now: datetime) -> bool | None:
    """Whether it is; None when nobody here can say."""
    try:
        local = now.astimezone(ZoneInfo(window.zone))
    except (KeyError, ValueError, OSError):
        return None
    clock = f"{local:%H:%M}"
    today = _WEEK[local.weekday()] in window.days
    if window.start < window.end:
        return today and window.start <= clock < window.end
    if window.start == window.end:
        return today
    yesterday = _WEEK[(local.date() - timedelta(days=1)).weekday()] in window.days
    return (today and clock >= window.start) or (yesterday and clock < window.end)
