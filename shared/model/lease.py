"""For how long something is lent: until somebody ends it, and never longer than was said.

Rule of the file: a length of time and the words for it; whoever lends has the clock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared.errors import SkyharborError

DEFAULT_LEASE = "8h"

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = 366 * 86400


@dataclass(frozen=True, slots=True)
class Lease:
    """A length in seconds, and the words that a person said it in."""

    seconds: int
    said: str

    def until(self, now: datetime) -> str:
        """Return when a lease that begins now ends, RFC 3339 in UTC."""
        return (now.astimezone(UTC) + timedelta(seconds=self.seconds)).isoformat(timespec="seconds")


def parse_lease(text: str) -> Lease:
    """Return the lease that a person means by ``90s``, ``30m``, ``8h`` or ``2d``. Raises ``bad-request``."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text.strip())
    seconds = int(match[1]) * _SECONDS[match[2]] if match else 0
    if not 0 < seconds <= _LONGEST:
        raise SkyharborError("bad-request", f"{text!r} is no length of time: write 90s, 30m, 8h or 2d, a year at most")
    return Lease(seconds, text.strip())
