"""Numbers and times as people read them; JSON output never passes through here."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal

from shared.errors import SkyharborError

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,6})?)\s*(?:([kmgt])(i?b)?|b)?", re.ASCII | re.IGNORECASE)


def size(count: object) -> str:
    """Return bytes in binary units, ``1.2 GiB``; a dash for what is not a number."""
    if not isinstance(count, int | float):
        return "-"
    value = float(count)
    for unit in _UNITS:
        if abs(value) < 1024 or unit == _UNITS[-1]:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("the loop always returns")


def bytes_of(text: str) -> int:
    """Return how many bytes a person means: ``500M``, ``1.5GiB``, ``2MB``, ``1000``. ``bad-request`` for anything else.

    As everywhere in GNU's programs K, M, G, T (or KiB, …) are powers of 1024 and KB, MB, GB, TB are powers of 1000.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise SkyharborError("bad-request", f"{text!r} is no size: write a number and K, M, G or T, such as 500M")
    number, letter, rest = found.groups("")
    return int(Decimal(number) * (1000 if rest.lower() == "b" else 1024) ** ("bkmgt".index(letter.lower() or "b")))


def moment(text: object) -> str:
    """Return an RFC 3339 time in the local zone, to the second; a dash for no time."""
    if not isinstance(text, str) or not text:
        return "-"
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def instant(text: str) -> str:
    """Return the RFC 3339 time that a person means: a date, or a time, local unless it has a zone. ``bad-request``."""
    try:
        return datetime.fromisoformat(text).astimezone().isoformat()
    except (ValueError, OverflowError) as error:
        raise SkyharborError(
            "bad-request", f"{text!r} is no time: write 2027-01-31, 2027-01-31T18:00 or with a zone, 2027-01-31T18:00Z"
        ) from error


def seconds(value: object) -> str:
    """Return a duration as ``1.9 s``, ``3 min 20 s`` or ``2 h 05 min``; a dash for none."""
    if not isinstance(value, int | float):
        return "-"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(int(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def count(value: object) -> str:
    """Return a whole number with thin grouping, ``117,745``; a dash for none."""
    return f"{value:,}" if isinstance(value, int) else "-"


def octal(mode: object) -> str:
    """Return permission bits as four octal digits."""
    return f"{mode:04o}" if isinstance(mode, int) else str(mode)
