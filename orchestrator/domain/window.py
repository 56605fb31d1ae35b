"""Windows: between which local times a scheduled backup may start.

Rule of the file: pure; the end is exclusive; equal start and end mean the whole day.
"""

from __future__ import annotations

from datetime import datetime, time
from zoneinfo import ZoneInfo

from orchestrator.domain.policy import WindowSpec


def is_open(window: WindowSpec | None, now: datetime) -> bool:
    """Tell whether a start is allowed at ``now``; without a window always."""
    if window is None:
        return True
    local = now.astimezone(ZoneInfo(window.zone)).time().replace(tzinfo=None)
    start, end = time.fromisoformat(window.start), time.fromisoformat(window.end)
    if start == end:
        return True
    if start < end:
        return start <= local < end
    return local >= start or local < end
