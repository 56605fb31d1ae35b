"""Which bandwidth plans make sense.

Rule of the file: a bad plan is ``bad-request`` with a sentence that says what to write instead.
"""

from __future__ import annotations

from orchestrator.domain.readings import clock_time, zone
from shared.errors import SkyharborError
from shared.model.bandwidth import BandwidthPlan, BandwidthWindow

SLOWEST = 1024
FASTEST = 1 << 50
MOST_WINDOWS = 32


def check_plan(plan: BandwidthPlan) -> BandwidthPlan:
    """Return ``plan``. Limits are 0 (none) or 1 KiB/s to 1 PiB/s: below that a job would never end."""
    for limit in (plan.upload, plan.download):
        _check_limit(limit)
    if len(plan.windows) > MOST_WINDOWS:
        raise _bad(f"a vault has at most {MOST_WINDOWS} bandwidth windows")
    for window in plan.windows:
        _check_window(window)
    return plan


def _check_window(window: BandwidthWindow) -> None:
    if not window.days:
        raise _bad("a bandwidth window needs at least one day of mon, tue, wed, thu, fri, sat, sun")
    try:
        clock_time(window.start)
        clock_time(window.end)
        zone(window.zone)
    except ValueError as error:
        raise _bad(str(error)) from None
    limits = [limit for limit in (window.upload, window.download) if limit is not None]
    if not limits:
        raise _bad("a bandwidth window needs a limit for upload or for download")
    for limit in limits:
        _check_limit(limit)


def _check_limit(limit: int) -> None:
    if limit and not SLOWEST <= limit <= FASTEST:
        raise _bad(f"a limit of {limit} bytes/s is not between 1 KiB/s and 1 PiB/s; 0 is no limit")


def _bad(sentence: str) -> SkyharborError:
    return SkyharborError("bad-request", sentence, field="bandwidth")
