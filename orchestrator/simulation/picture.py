"""A picture of a simulation: slots in use and jobs waiting over time, one band per scope, as SVG.

Rule of the file: a report in, text out; nothing but what every browser draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from orchestrator.simulation.report import Report

_WIDTH, _BAND, _GAP, _LEFT, _TOP = 1080, 96, 34, 60, 64
_MOST_BANDS = 8
_INK, _PALE, _FILL, _FULL = "#1b2a3a", "#d6dde5", "#5b8db8", "#c0504d"


def picture_of(report: Report) -> str:
    """Return the SVG: what waits on top, then the scopes that jobs waited for most."""
    samples = report["samples"]
    named = {scope["scope"]: scope for scope in report["scopes"]}
    shown = [name for name in named if any(name in sample["used"] for sample in samples)][:_MOST_BANDS]
    waiting = [sample["waiting"] for sample in samples]
    bands = [_band(0, f"jobs waiting (most {max(waiting, default=0):,.0f})", waiting, max([1.0, *waiting]), limit=None)]
    for place, name in enumerate(shown, start=1):
        scope, used = named[name], [sample["used"].get(name, 0.0) for sample in samples]
        title = (
            f"{name}: mean {scope['mean']:,} of {scope['capacity']:,}, full {scope['share_full']:.0%} of the time,"
            f" {scope['job_hours_waited']:,} job hours waited"
        )
        bands.append(_band(place, title, used, max(1.0, scope["capacity"]), limit=scope["capacity"]))
    height = _TOP + len(bands) * (_BAND + _GAP) + 10
    fits = "fits" if report["fits"] else "does not fit"
    head = f"{report['items']:,} items, {report['start'][:10]} to {report['end'][:10]}: the fleet {fits}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{_LEFT}" y="30" font-size="18" fill="{_INK}">{escape(head)}</text>',
        *bands,
        *_days(samples, height),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _band(place: int, title: str, values: Sequence[float], highest: float, *, limit: float | None) -> str:
    top = _TOP + place * (_BAND + _GAP)
    step = (_WIDTH - _LEFT - 20) / max(1, len(values))
    points = [f"{_LEFT},{top + _BAND}"]
    for number, value in enumerate(values):
        y = top + _BAND * (1 - min(1.0, value / highest))
        points += [f"{_LEFT + number * step:.1f},{y:.1f}", f"{_LEFT + (number + 1) * step:.1f},{y:.1f}"]
    points.append(f"{_LEFT + len(values) * step:.1f},{top + _BAND}")
    line = "" if limit is None else f'<path d="M{_LEFT} {top}H{_WIDTH - 20}" stroke="{_FULL}" stroke-dasharray="4 3"/>'
    return (
        f'<text x="{_LEFT}" y="{top - 6}" font-size="13" fill="{_INK}">{escape(title)}</text>'
        f'<rect x="{_LEFT}" y="{top}" width="{_WIDTH - _LEFT - 20}" height="{_BAND}" fill="none" stroke="{_PALE}"/>'
        f'<polygon points="{" ".join(points)}" fill="{_FILL}"/>{line}'
        f'<text x="{_LEFT - 6}" y="{top + 11}" font-size="11" text-anchor="end" fill="{_INK}">{highest:,.0f}</text>'
    )


def _days(samples: Sequence[Report], height: int) -> list[str]:
    """Return a line and a date at every midnight (UTC), at most about thirty."""
    step = (_WIDTH - _LEFT - 20) / max(1, len(samples))
    starts = [
        (number, sample["at"][:10])
        for number, sample in enumerate(samples)
        if number and sample["at"][:10] != samples[number - 1]["at"][:10]
    ]
    every = max(1, len(starts) // 15)
    return [
        f'<path d="M{_LEFT + number * step:.1f} {_TOP - 20}V{height - 10}" stroke="{_PALE}"/>'
        f'<text x="{_LEFT + number * step:.1f}" y="{_TOP - 24}" font-size="10" fill="{_INK}">{day[5:]}</text>'
        for number, day in starts[::every]
    ]
