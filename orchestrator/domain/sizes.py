"""Whether a point is of a strange size beside those before it: an unmounted disk, an emptied folder, a mass change.

Rule of the file: pure. The measure is the median of the item's last points, so that one odd one does not move it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from shared.model.backup import BackupType

MOST_EARLIER = 10
FEWEST_EARLIER = 3
"""With fewer points before it nothing is usual yet."""

_MIB = 1 << 20
_SHRUNK, _GROWN, _BURST = 2, 3, 10
_FEW_FILES, _MANY_FILES = 10, 1000
_FEW_BYTES, _MANY_BYTES = _MIB, 64 * _MIB
"""Differences below these are nobody's alarm, whatever their ratio."""


@dataclass(frozen=True, slots=True)
class PointSize:
    """How large a point is, and how much was transferred to make it, in bytes."""

    type: BackupType
    files: int
    bytes: int
    transferred: int


def strangeness(newest: PointSize, earlier: Sequence[PointSize]) -> str | None:
    """Return what is strange about the newest point, for people; None when nothing is, or too little is known.

    ``earlier`` are up to ten points before it, in any order. Less than half of the files or bytes is strange, more than
    three times as many, and an incremental that transferred more than ten times as much as they do.
    """
    if len(earlier) < FEWEST_EARLIER:
        return None
    files, size = median(point.files for point in earlier), median(point.bytes for point in earlier)
    if newest.files * _SHRUNK < files and files - newest.files >= _FEW_FILES:
        return f"it has {newest.files:,} files, usual are {files:,.0f}"
    if newest.bytes * _SHRUNK < size and size - newest.bytes >= _FEW_BYTES:
        return f"it has {_mib(newest.bytes)}, usual are {_mib(size)}"
    if newest.files > files * _GROWN and newest.files - files >= _MANY_FILES:
        return f"it has {newest.files:,} files, usual are {files:,.0f}"
    if newest.bytes > size * _GROWN and newest.bytes - size >= _MANY_BYTES:
        return f"it has {_mib(newest.bytes)}, usual are {_mib(size)}"
    return _burst(newest, earlier)


def _burst(newest: PointSize, earlier: Sequence[PointSize]) -> str | None:
    """A full backup transfers what it likes, so only the others are compared."""
    partial = [point.transferred for point in earlier if point.type is not BackupType.FULL]
    if newest.type is BackupType.FULL or len(partial) < FEWEST_EARLIER:
        return None
    usual = median(partial)
    if newest.transferred > usual * _BURST and newest.transferred - usual >= _MANY_BYTES:
        return f"{_mib(newest.transferred)} of it were new, usual are {_mib(usual)}"
    return None


def _mib(count: float) -> str:
    return f"{count / _MIB:,.1f} MiB"
