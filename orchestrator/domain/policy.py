"""What a policy says: for which items, when to back up, when a start is allowed, how often to try, what to keep.

Rule of the file: values only; reading them from YAML is ``policy_text``. They are kept as JSON, so every field is
plain.
"""

from __future__ import annotations

from enum import StrEnum
from zoneinfo import ZoneInfo

import msgspec

from shared.model.backup import BackupType


class OnMissed(StrEnum):
    """What happens with times that passed while nobody could file them."""

    RUN_ONCE = "run_once"  # the newest is run, the others are recorded as missed
    RUN_ALL = "run_all"  # every one is run, one after the other
    SKIP = "skip"  # all are recorded as missed


class ScheduleSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One schedule: five cron fields in an IANA zone, and the type of the backups it makes."""

    cron: str
    zone: str
    type: BackupType = BackupType.INCREMENTAL


class WindowSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Local times HH:MM between which a scheduled backup may start; end before start means over midnight."""

    start: str
    end: str
    zone: str


class BlackoutSpec(msgspec.Struct, frozen=True, kw_only=True):
    """When no scheduled backup starts: either every week, on ``days`` from ``start`` to ``end`` (HH:MM), or once.

    Once is from the local time ``begin`` to ``until`` (``YYYY-MM-DD HH:MM``); then ``days`` is empty.
    """

    zone: str
    days: tuple[str, ...] = ()
    start: str = "00:00"
    end: str = "00:00"
    begin: str = ""
    until: str = ""


class RetrySpec(msgspec.Struct, frozen=True, kw_only=True):
    """How often a scheduled backup is tried, and the longest pause between two attempts in seconds."""

    attempts: int = 3
    longest_pause: int = 600


class RetentionSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How many points of each kind to keep; 0 keeps none on that account, all 0 keeps everything."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0


class PolicySpec(msgspec.Struct, frozen=True, kw_only=True):
    """A policy's whole meaning. ``jitter`` is the longest delay in seconds; ``priority`` -4 (last) to 4 (first).

    ``tags`` selects the items that have all of them and no policy of their own. ``rpo`` is how old the newest point of
    an item may be, ``start_within`` and ``finish_within`` count from a fire's time; all in seconds, None for no limit.
    """

    name: str
    schedules: tuple[ScheduleSpec, ...] = ()
    on_missed: OnMissed = OnMissed.RUN_ONCE
    jitter: int = 0
    tags: tuple[str, ...] = ()
    rpo: int | None = None
    window: WindowSpec | None = None
    start_within: int | None = None
    finish_within: int | None = None
    blackouts: tuple[BlackoutSpec, ...] = ()
    retry: RetrySpec = RetrySpec()
    retention: RetentionSpec = RetentionSpec()
    priority: int = 0

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which days, weeks and months of the retention are counted: the first schedule's, or UTC."""
        return ZoneInfo(self.schedules[0].zone if self.schedules else "UTC")
