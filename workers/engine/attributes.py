"""Gives a restored node its owner, xattrs, mode and times, in the only order that works.

Owner first, because changing it clears setuid bits and capabilities; then xattrs with ACLs and capabilities; then the
times; the mode behind them, because an ACL would change it, and because a directory is known as unfinished by its mode;
flags of ``chattr`` last, but for those that have a time of their own (``node_flags``).

Rule of the file: what the target cannot hold is told, never raised.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from shared.vault.entry import Entry, EntryKind
from workers.engine.node_flags import FIRST, LAST, set_flags
from workers.engine.xattrs import Node, write_xattrs

_SETUID_SETGID = 0o6000


def dress(node: Node, entry: Entry, now: os.stat_result) -> list[str]:
    """Apply the entry's attributes to a node that looks like ``now``; return what could not be kept, in words.

    A node whose owner could not be kept does not get setuid and setgid bits: they would serve the wrong user.
    """
    lost = _own(node, entry, now)
    mode = entry.mode & ~_SETUID_SETGID if lost and entry.mode & _SETUID_SETGID else entry.mode
    lost += write_xattrs(node, entry.xattrs)
    lost += _attempt("times", lambda: os.utime(node, ns=(entry.mtime_ns, entry.mtime_ns)))
    if entry.kind != EntryKind.SYMLINK:
        lost += _attempt("mode", lambda: os.chmod(node, mode))
    if entry.flags and isinstance(node, int):
        lost += set_flags(node, entry.flags & ~(FIRST | LAST))
    return lost


def _own(node: Node, entry: Entry, now: os.stat_result) -> list[str]:
    if (now.st_uid, now.st_gid) == (entry.uid, entry.gid):
        return []
    lost = _attempt("owner", lambda: os.chown(node, entry.uid, entry.gid))
    if lost and now.st_gid != entry.gid:
        # Ordinary users may still give a file to a group they are in.
        _attempt("group", lambda: os.chown(node, -1, entry.gid))
    return lost


def _attempt(what: str, act: Callable[[], None]) -> list[str]:
    try:
        act()
    except (OSError, OverflowError) as error:
        return [f"{what} ({error.strerror if isinstance(error, OSError) else 'out of range'})"]
    return []
