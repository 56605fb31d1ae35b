"""Read by a worker's interpreter before anything else: its wall clock is off by STORM_CLOCK_OFF seconds.

What Python code asks is moved (``time.time``, the product's own clock), monotonic time is not, as on a machine whose
clock is wrong. (Debian's libfaketime breaks ``time.sleep``, so it cannot be used.)

Rule of the file: its folder is on PYTHONPATH of such a worker and of nobody else.
"""

from __future__ import annotations

import os
import time
from datetime import timedelta

from shared.clock import SystemClock

_OFF = int(os.environ["STORM_CLOCK_OFF"])
_seconds, _nanoseconds, _now = time.time, time.time_ns, SystemClock.now

time.time = lambda: _seconds() + _OFF
time.time_ns = lambda: _nanoseconds() + _OFF * 10**9
SystemClock.now = lambda clock: _now(clock) + timedelta(seconds=_OFF)  # type: ignore[method-assign]
