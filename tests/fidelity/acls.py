"""POSIX ACLs in the kernel's own form.

Rule of the file: written down from ``linux/posix_acl_xattr.h``; no program has to be installed for it.
"""

from __future__ import annotations

import os
import struct

import pytest

_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 1, 2, 4, 8, 16, 32
_NOBODY_SPECIAL = 0xFFFFFFFF


def acl(*entries):
    """The kernel's form of a POSIX ACL: (tag, permissions, id) sorted by tag and id."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


ACL = acl(
    (_USER_OBJ, 6, _NOBODY_SPECIAL),
    (_USER, 7, 1000),
    (_USER, 0, 4_000_000_000),
    (_GROUP_OBJ, 4, _NOBODY_SPECIAL),
    (_GROUP, 5, 1001),
    (_MASK, 5, _NOBODY_SPECIAL),
    (_OTHER, 0, _NOBODY_SPECIAL),
)
ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"


def set_acl(path, name, value, mtime_ns=7):
    try:
        os.setxattr(path, name, value)
    except OSError as error:
        pytest.skip(f"no ACLs here: {error}")
    os.utime(path, ns=(mtime_ns, mtime_ns))
