"""The bandwidth plan of a vault on this machine: one process is told it by the tower, others follow.

The plan travels in a small file beside the bucket, replaced as a whole, so that a follower needs no line to whoever
was told. What cannot be written or read changes nothing: a follower goes on with the last plan that it knows.

Rule of the file: who keeps a plan and who follows; what a plan means is the plan's own affair.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable

import msgspec

from shared.clock import since_boot
from shared.decoders import json_decoder
from shared.model.bandwidth import UNLIMITED, BandwidthPlan

_LOOK_EVERY = 0.25
_LONGEST = 64 * 1024


class KeptPlan:
    """The plan where the tower is heard. Any thread may change it and ask for it."""

    def __init__(self, path: str, plan: BandwidthPlan) -> None:
        """Take ``plan``, whatever an earlier process has left in the file."""
        self._path = path
        self._lock = threading.Lock()
        self._plan = plan
        if plan != UNLIMITED or os.path.exists(path):
            _write(path, plan)

    def current(self) -> BandwidthPlan:
        """Return what holds."""
        return self._plan

    def change(self, plan: BandwidthPlan) -> None:
        """Let another plan hold, here at once and with followers within a quarter of a second."""
        with self._lock:
            if plan != self._plan:
                self._plan = plan
                _write(self._path, plan)


class FollowedPlan:
    """The plan elsewhere: ``plan`` until the file says something, and then what it says."""

    def __init__(self, path: str, plan: BandwidthPlan, *, now: Callable[[], float] = since_boot) -> None:
        self._path = path
        self._now = now
        self._plan = plan
        self._looked = -_LOOK_EVERY
        self._seen: tuple[int, int] | None = None

    def current(self) -> BandwidthPlan:
        """Return what holds; the file is looked at four times a second at most."""
        now = self._now()
        if not 0 <= now - self._looked < _LOOK_EVERY:
            self._looked = now
            self._look()
        return self._plan

    def _look(self) -> None:
        try:
            there = os.stat(self._path)
            seen = (there.st_ino, there.st_mtime_ns)
            if seen != self._seen:
                with open(self._path, "rb") as file:
                    self._plan = json_decoder(BandwidthPlan).decode(file.read(_LONGEST))
                self._seen = seen
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return


def _write(path: str, plan: BandwidthPlan) -> None:
    temporary = f"{path}.{os.getpid()}"
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(msgspec.json.encode(plan))
        os.replace(temporary, path)
