"""POSIX ACLs as the kernel shows them in ``system.posix_acl_*``, from the forms in which file systems keep them.

Rule of the file: bytes in, bytes out; ``Damaged`` for what is no ACL.
"""

from __future__ import annotations

import struct

from workers.disks.volume import Damaged

_SHOWN_VERSION = 2
_NO_ID = 0xFFFFFFFF
_WITH_ID = frozenset({0x02, 0x08})  # a named user, a named group
_TAGS = frozenset({0x01, 0x02, 0x04, 0x08, 0x10, 0x20})


def shown_acl(kept: bytes) -> bytes:
    """Turn what ext keeps: tags of 2 and rights of 2 bytes, with an id of 4 where somebody is named."""
    if len(kept) < 4 or struct.unpack_from("<I", kept)[0] != 1:
        raise Damaged("an access control list is damaged")
    rows, at = [], 4
    while at + 4 <= len(kept):
        tag, rights = struct.unpack_from("<HH", kept, at)
        at += 4
        who = _NO_ID
        if tag in _WITH_ID:
            if at + 4 > len(kept):
                raise Damaged("an access control list is cut short")
            who = struct.unpack_from("<I", kept, at)[0]
            at += 4
        rows.append((tag, rights, who))
    return _shown(rows)


def shown_sgi_acl(kept: bytes) -> bytes:
    """Turn what XFS keeps: a count, and rows of 12 bytes, all with the high byte first."""
    (count,) = struct.unpack_from(">I", kept) if len(kept) >= 4 else (0,)
    if len(kept) < 4 + 12 * count:
        raise Damaged("an access control list is cut short")
    rows = []
    for at in range(4, 4 + 12 * count, 12):
        tag, who, rights = struct.unpack_from(">IIH", kept, at)
        rows.append((tag, rights, who if tag in _WITH_ID else _NO_ID))
    return _shown(rows)


def _shown(rows: list[tuple[int, int, int]]) -> bytes:
    if any(tag not in _TAGS for tag, _, _ in rows):
        raise Damaged("an access control list names nobody known")
    return struct.pack("<I", _SHOWN_VERSION) + b"".join(struct.pack("<HHI", *row) for row in rows)
