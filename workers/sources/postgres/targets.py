"""What moment a restore is to bring back, and from which backup it begins.

Rule of the file: decided from the window alone, before anything is read or written.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, NamedTuple

from shared.errors import SkyharborError
from workers.sources.postgres.lsn import parse_lsn
from workers.sources.postgres.window import Backup, Window, parse_time

LATEST: Final = "latest"
IMMEDIATE: Final = "immediate"


class Target(NamedTuple):
    """Where to begin, and PostgreSQL's ``recovery_target…`` setting: its name and value, empty for the log's end."""

    backup: Backup
    setting: str = ""
    value: str = ""


def choose(window: Window, until: str) -> Target:
    """Return the target for ``latest`` (or nothing), ``immediate``, a time or the name of a restore point.

    ``immediate`` is the newest backup without what came after it. A time without a zone is in UTC. Raises
    ``bad-request``, with the window, for what the point cannot bring back.
    """
    ready = window.replayable()
    if not ready:
        raise SkyharborError("object-damaged", "the point has no backup from which its log goes on")
    if until in ("", LATEST):
        return Target(ready[-1])
    if until == IMMEDIATE:
        return Target(ready[-1], "recovery_target", "immediate")
    try:
        time = parse_time(until)
    except ValueError:
        return _named(window, until)
    return _timed(window, time)


def _timed(window: Window, time: datetime) -> Target:
    ready = [one for one in window.replayable() if parse_time(one.ended) <= time]
    if not ready or not parse_time(window.begins) <= time <= parse_time(window.ends):
        shown = time.astimezone(UTC).isoformat(sep=" ")
        raise _outside(window, f"{shown} is not in this point")
    if not window.last_change or time >= parse_time(window.last_change):
        # Nothing was changed after this time: PostgreSQL would look for something later, and fail at the log's end.
        return Target(ready[-1])
    value = time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00")
    return Target(ready[-1], "recovery_target_time", value)


def _named(window: Window, name: str) -> Target:
    places = [parse_lsn(one.position) for one in window.restore_points if one.name == name]
    ready = [one for one in window.replayable() if places and parse_lsn(one.stop) <= places[0]]
    if not ready:
        names = ", ".join(sorted({one.name for one in window.restore_points})[:20]) or "none"
        raise _outside(window, f"{name!r} is neither a time nor a restore point of this point; there are: {names}")
    return Target(ready[-1], "recovery_target_name", name)


def _outside(window: Window, detail: str) -> SkyharborError:
    hint = "Give a time in the window, or restore another point of the item: each has a window of its own."
    return SkyharborError("bad-request", f"{detail}. It can bring back {window.begins} to {window.ends}", hint=hint)
