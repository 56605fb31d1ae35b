"""Gives a restored node its owner, xattrs, mode and times, in the only order that works.

Owner first, because changing it clears setuid bits and capabilities; then xattrs with ACLs and capabilities; then the
times; the mode behind them, because an ACL would change it, and because a directory is known as unfinished by its mode;
flags of ``chattr`` last, but for those that have a time of their own (``node_flags``).

Rule of the file: what the target cannot hold is told, never raised; and because some file systems drop in silence what
they cannot hold, it is the result that counts.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from shared.vault.entry import Entry, EntryKind
from workers.engine.node_flags import FIRST, INHERITED, LAST, set_flags
from workers.engine.xattrs import Node, write_xattrs

_SETUID_SETGID = 0o6000


def dress(node: Node, entry: Entry, now: os.stat_result) -> list[str]:
    """Apply the entry's attributes to a node that looks like ``now``; return what could not be kept, in words.

    A node whose owner could not be kept does not get setuid and setgid bits: they would serve the wrong user.
    """
    reasons: dict[str, str] = {}
    if (now.st_uid, now.st_gid) != (entry.uid, entry.gid):
        _own(node, entry, now, reasons)
    mode = entry.mode & ~_SETUID_SETGID if reasons else entry.mode
    lost = write_xattrs(node, entry.xattrs)
    _attempt(reasons, "times", lambda: os.utime(node, ns=(entry.mtime_ns, entry.mtime_ns)))
    if entry.kind != EntryKind.SYMLINK:
        _attempt(reasons, "mode", lambda: os.chmod(node, mode))
    if isinstance(node, int):
        had = FIRST if entry.kind == EntryKind.FILE else 0
        lost += set_flags(node, entry.flags & ~(had | LAST), without=INHERITED)
    result = os.stat(node)
    if (
        result.st_mtime_ns == entry.mtime_ns
        and (result.st_uid, result.st_gid) == (entry.uid, entry.gid)
        and (stat.S_IMODE(result.st_mode) == entry.mode or entry.kind == EntryKind.SYMLINK)
    ):
        return lost
    return _told(entry, result, reasons) + lost


def _own(node: Node, entry: Entry, now: os.stat_result, reasons: dict[str, str]) -> None:
    _attempt(reasons, "owner", lambda: os.chown(node, entry.uid, entry.gid))
    if reasons and now.st_gid != entry.gid:
        # Ordinary users may still give a file to a group they are in.
        _attempt(reasons, "group", lambda: os.chown(node, -1, entry.gid))


def _told(entry: Entry, result: os.stat_result, reasons: dict[str, str]) -> list[str]:
    """Say in which ways a node did not become what it should be."""
    lost = []
    if result.st_uid != entry.uid:
        lost.append("owner")
    if result.st_gid != entry.gid:
        lost.append("group")
    mode = stat.S_IMODE(result.st_mode)
    if entry.kind != EntryKind.SYMLINK and mode != entry.mode:
        lost.append("setuid and setgid bits" if mode == entry.mode & ~_SETUID_SETGID else "mode")
    if result.st_mtime_ns != entry.mtime_ns:
        lost.append("times")
    return [f"{what} ({reasons[what]})" if what in reasons else what for what in lost]


def _attempt(reasons: dict[str, str], what: str, act: Callable[[], None]) -> None:
    try:
        act()
    except (OSError, OverflowError) as error:
        reasons[what] = (error.strerror or str(error)) if isinstance(error, OSError) else "out of range"
