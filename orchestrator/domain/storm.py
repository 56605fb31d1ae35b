"""When many leases end at once the fault is ours or the network's, not the workers': the rescuer holds its hand.

Rule of the file: pure.
"""

from __future__ import annotations

SMALLEST_FLEET = 10
"""Below this many leases any share is chance."""

STORM_SHARE = 0.30

LONGEST_PAUSE = 180.0
"""Seconds. Three leases long: whoever is alive has renewed by then; what is still over belongs to the dead."""


def is_storm(*, expired: int, leases: int) -> bool:
    """Tell whether so many of all leases ended that rescuing them would be a mistake."""
    return leases >= SMALLEST_FLEET and expired > STORM_SHARE * leases


def may_rescue(*, expired: int, leases: int, storm_age: float) -> bool:
    """Tell whether to go on: no storm, or one that has lasted longer than anybody alive would have needed."""
    return not is_storm(expired=expired, leases=leases) or storm_age >= LONGEST_PAUSE
