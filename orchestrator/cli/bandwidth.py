"""Bandwidth limits as people write and read them: ``20MiB/s``, and ``mon-fri 08:00-18:00 Europe/Berlin``.

Rule of the file: it reads and writes; whether a zone exists and a limit makes sense the tower says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestrator.cli import formats
from orchestrator.domain.readings import DAYS, days
from shared.errors import SkyharborError

_UNITS = {
    "b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30,
    "kbit": 125.0, "mbit": 125e3, "gbit": 125e6,
}  # fmt: skip
_RATE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?) ?([a-z]{1,4})(?:/s)?", re.IGNORECASE)
_WINDOW = re.compile(r"(\S+) +(\d\d:\d\d)-(\d\d:\d\d) +(\S+)")


def rate(text: str) -> int:
    """Return bytes per second; 0 is unlimited. ``bad-request`` with an example for anything else."""
    if text in ("0", "unlimited"):
        return 0
    match = _RATE.fullmatch(text.strip())
    unit = _UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise SkyharborError(
            "bad-request",
            f"{text!r} is not a rate",
            hint="Write such as 20MiB/s, 500KB/s or 100Mbit/s; 0 lifts the limit.",
        )
    return round(float(match[1]) * unit)


def plan(options: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return the API's document of a plan from ``upload``, ``download`` and ``window`` options in their order.

    What stands before the first window holds outside of windows; what follows a window belongs to it.
    """
    document: dict[str, Any] = {"windows": []}
    part = document
    for name, value in options:
        if name == "window":
            part = _window(value)
            document["windows"].append(part)
            continue
        if name in part:
            raise _mistake(f"--{name} is given twice for the same hours")
        part[name] = rate(value)
    for window in document["windows"]:
        if not {"upload", "download"} & set(window):
            raise _mistake("a --window has no limit: write --upload or --download behind it")
    return document


def lines(bandwidth: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Return a plan as label and text, one line for each part of it."""
    if bandwidth is None:
        return [("bandwidth", "unlimited")]
    usual = f"upload {_speed(bandwidth['upload'])}, download {_speed(bandwidth['download'])}"
    return [("bandwidth", usual), *(("window", _window_line(window)) for window in bandwidth["windows"])]


def _window(text: str) -> dict[str, Any]:
    match = _WINDOW.fullmatch(text.strip())
    try:
        open_on = days(match[1]) if match else ()
    except ValueError:
        open_on = ()
    if match is None or not open_on:
        raise SkyharborError(
            "bad-request",
            f"{text!r} is not a window",
            hint='Write days, times and a time zone, such as "mon-fri 08:00-18:00 Europe/Berlin" or "daily …".',
        )
    end = "00:00" if match[3] == "24:00" else match[3]
    return {"days": list(open_on), "start": match[2], "end": end, "zone": match[4]}


def _window_line(window: Mapping[str, Any]) -> str:
    limits = [f"{way} {_speed(window[way])}" for way in ("upload", "download") if window[way] is not None]
    hours = f"{window['start']}-{window['end']} {window['zone']}"
    return f"{_day_text(window['days'])} {hours}: {', '.join(limits)}"


def _day_text(open_on: Sequence[str]) -> str:
    """The shortest way to say them: runs of three days or more as a range."""
    if len(open_on) == len(DAYS):
        return "daily"
    runs: list[list[str]] = []
    for day in open_on:
        if runs and DAYS.index(day) == DAYS.index(runs[-1][-1]) + 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(run) for run in runs)


def _speed(limit: int) -> str:
    return f"{formats.size(limit)}/s" if limit else "unlimited"


def _mistake(sentence: str) -> SkyharborError:
    return SkyharborError("bad-request", sentence, hint="See 'skyharbor vault limit --help'.")
