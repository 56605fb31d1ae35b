"""Tells whether a database can have changed since it was last read.

What proves it: every commit writes into the database file, its ``-wal`` or its rollback journal by ``write(2)``, which
sets the change time of that file; nobody can set that time back. So when inode, size and both times of all three are
what they were, nothing was committed. A file whose change time is younger than file systems' clocks are exact is not
trusted: then there is no fingerprint, and the database is read again.

Rule of the file: it looks at files from outside and never opens them: closing a descriptor of a database would drop the
locks that SQLite holds in this process.
"""

from __future__ import annotations

import os
from typing import Final

_BESIDE: Final = ("", "-wal", "-journal")
_YOUNG_NS: Final = 2_000_000_000
"""More than any local clock ticks, and what a file server's clock may be off before times mean nothing at all."""


def fingerprint(path: str, *, now_ns: int) -> str:
    """Return what the database looks like from outside; empty when that proves nothing.

    Take it before the transaction that reads: a commit in between only makes the next backup read it again.
    Raises ``OSError`` when there is no database file.
    """
    os.stat(path)
    parts = []
    for suffix in _BESIDE:
        try:
            info = os.stat(path + suffix)
        except FileNotFoundError:
            parts.append("-")
            continue
        if info.st_ctime_ns > now_ns - _YOUNG_NS:
            return ""
        parts.append(f"{info.st_dev}.{info.st_ino}.{info.st_size}.{info.st_mtime_ns}.{info.st_ctime_ns}")
    return "/".join(parts)
