"""The attributes of ``chattr`` that a point keeps; the numbers are the kernel's (``linux/fs.h``) and the format's.

Rule of the file: names and numbers; asking and setting are the source's and the restore's.
"""

from __future__ import annotations

from enum import IntFlag


class NodeFlag(IntFlag):
    """Flags that say something about the node, wherever it is; how blocks are laid out (extents, index) is left out."""

    SECURE_DELETE = 0x1
    UNDELETE = 0x2
    COMPRESSED = 0x4
    SYNC = 0x8
    IMMUTABLE = 0x10
    APPEND_ONLY = 0x20
    NO_DUMP = 0x40
    NO_ATIME = 0x80
    NO_COMPRESSION = 0x400
    JOURNAL_DATA = 0x4000
    NO_TAIL_MERGE = 0x8000
    DIRECTORY_SYNC = 0x10000
    TOP_OF_TREE = 0x20000
    VERITY = 0x100000  # recorded only: it cannot be set by a flag
    NO_COPY_ON_WRITE = 0x800000  # only on an empty file
    DAX = 0x2000000
    INHERIT_PROJECT = 0x20000000
    CASE_FOLD = 0x40000000  # only on an empty directory


KEPT = int(NodeFlag(sum(NodeFlag)))
"""All of them: what a source takes of the kernel's answer."""
