"""The entries of a point as lines: for people in the manner of ``ls -l``, for programs one JSON object each.

Rule of the file: the keys of the JSON object are stable; more may be added.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shared.errors import SkyharborError
from shared.vault.entry import Entry, EntryKind
from shared.vault.reader import PointReader
from workers.engine.notices import shown

if TYPE_CHECKING:
    from workers.break_glass.inside import Inside

_TYPES = {
    EntryKind.FILE: ("file", stat.S_IFREG),
    EntryKind.DIRECTORY: ("directory", stat.S_IFDIR),
    EntryKind.SYMLINK: ("symlink", stat.S_IFLNK),
    EntryKind.FIFO: ("fifo", stat.S_IFIFO),
    EntryKind.SOCKET: ("socket", stat.S_IFSOCK),
    EntryKind.CHAR_DEVICE: ("char-device", stat.S_IFCHR),
    EntryKind.BLOCK_DEVICE: ("block-device", stat.S_IFBLK),
}
_BILLION = 1_000_000_000


def entries_at(reader: PointReader, paths: Sequence[bytes]) -> Iterator[Entry | SkyharborError]:
    """Yield the nodes at the paths (as ``point_path`` gives them) and everything below, or all; streams.

    A page that cannot be read is an error in its place, and the rest follows. ``path-not-in-point`` for a path that is
    not there, as soon as it is its turn.
    """
    for path in paths or [b""]:
        found = path == b""
        for outcome in reader.entries_or_errors(path):
            found = True
            yield outcome
        if not found:
            raise SkyharborError("path-not-in-point", shown(path))


def document(listed: Entry | Inside) -> dict[str, object]:
    """Return the entry as ``ls --json`` prints it; ``mode`` are the permission bits as a number.

    Parts of disks have two keys more: what they hold, and why they cannot be browsed, or None.
    """
    entry = listed if isinstance(listed, Entry) else listed.entry
    more = (
        {}
        if isinstance(listed, Entry) or not listed.holds
        else {
            "holds": listed.holds,
            "note": listed.note or None,
            "mtime": None,
        }
    )
    name, _ = _TYPES[EntryKind(entry.kind)]
    return {
        "path": shown(entry.path),
        "type": name,
        "mode": entry.mode,
        "uid": entry.uid,
        "gid": entry.gid,
        "size": entry.size,
        "mtime": _moment(entry.mtime_ns),
        "target": entry.target.decode("utf-8", "backslashreplace") if entry.target else None,
    } | more


def line(listed: Entry | Inside) -> str:
    """Return the entry as one line for people."""
    entry = listed if isinstance(listed, Entry) else listed.entry
    _, format_bits = _TYPES[EntryKind(entry.kind)]
    arrow = f" -> {entry.target.decode('utf-8', 'backslashreplace')}" if entry.target else ""
    when = (_moment(entry.mtime_ns) or "?")[:19].replace("T", " ")
    return (
        f"{stat.filemode(format_bits | entry.mode)} {entry.uid:>6} {entry.gid:>6} {entry.size:>12} {when} "
        f"{shown(entry.path)}{arrow}{_remark(listed)}"
    )


def _remark(listed: Entry | Inside) -> str:
    if isinstance(listed, Entry) or not (listed.holds or listed.note):
        return ""
    return f"  ({': '.join(filter(None, (listed.holds, listed.note)))})"


def _moment(nanoseconds: int) -> str | None:
    """Return RFC 3339 in UTC with nine digits, or None for a year that the calendar does not have."""
    seconds, rest = divmod(nanoseconds, _BILLION)
    try:
        when = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        return None
    return f"{when:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
