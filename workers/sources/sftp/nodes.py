"""What a server's nodes are in a point: SFTP 3 tells mode, owners, size and times in seconds, and no change time.

A hash of what it tells stands where the change time would, so that a new mode or owner is a change. It lies in the
years 1970 to 1972: never young.

Rule of the file: values only.
"""

from __future__ import annotations

import hashlib
import stat
import struct
from typing import TYPE_CHECKING

from workers.sources.shares.stats import FarStat

if TYPE_CHECKING:
    from asyncssh import SFTPAttrs

KINDS = frozenset({stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK})
"""What can be kept. Of devices the server does not tell the number."""


def stat_of(attrs: SFTPAttrs) -> FarStat | None:
    """Return what the engine compares, None for a node that cannot be kept or of which nothing is told."""
    mode, seconds = attrs.permissions, attrs.mtime
    if mode is None or seconds is None or stat.S_IFMT(mode) not in KINDS:
        return None
    uid, gid, size = attrs.uid or 0, attrs.gid or 0, attrs.size or 0
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        size = 0
    told = struct.pack("<QQIII", seconds, size, mode, uid, gid)
    mark = int.from_bytes(hashlib.blake2b(told, digest_size=7).digest(), "little") + 1
    return FarStat(mode, 0, size, seconds * 1_000_000_000, mark, uid, gid)
