"""One entry of a recovery point: what a file, directory or other node was, and where its bytes are.

Rule of the file: plain columns, raw bytes, no behaviour beyond what sorting and comparing need.
"""

from __future__ import annotations

import stat
from enum import IntEnum

import msgspec


class EntryKind(IntEnum):
    """The type of a node; the numbers are part of the format."""

    FILE = 1
    DIRECTORY = 2
    SYMLINK = 3
    FIFO = 4
    SOCKET = 5
    CHAR_DEVICE = 6
    BLOCK_DEVICE = 7


_KINDS = {
    stat.S_IFREG: EntryKind.FILE,
    stat.S_IFDIR: EntryKind.DIRECTORY,
    stat.S_IFLNK: EntryKind.SYMLINK,
    stat.S_IFIFO: EntryKind.FIFO,
    stat.S_IFSOCK: EntryKind.SOCKET,
    stat.S_IFCHR: EntryKind.CHAR_DEVICE,
    stat.S_IFBLK: EntryKind.BLOCK_DEVICE,
}


def kind_of(st_mode: int) -> EntryKind:
    """Return the kind for a ``st_mode``; KeyError for a type Linux does not have."""
    return _KINDS[stat.S_IFMT(st_mode)]


class Entry(msgspec.Struct, array_like=True, gc=False):
    """A node as it was at the source.

    ``path`` is the original absolute path without its leading ``/``, raw bytes. ``mode`` is the permission bits with
    setuid, setgid and sticky (``st_mode & 0o7777``). Times are nanoseconds since the epoch and may be negative.
    ``chunks`` is the concatenation of the file's 32-byte chunk ids in order. ``device``, ``inode`` and ``ctime_ns``
    serve change detection and hard links only. ``link`` is empty, or for every further name of a hard-linked node the
    path of the first name in the point (which carries the data). ``holes`` are (offset, length) pairs that hold no
    data: ``chunks`` then covers only the bytes between the holes. ``flags`` are those of ``chattr``
    (``FS_IOC_GETFLAGS``) that describe the node and not how the file system stores it (``shared.vault.node_flags``).
    """

    path: bytes
    kind: int
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    ctime_ns: int
    device: int
    inode: int
    chunks: bytes = b""
    target: bytes = b""
    rdev: int = 0
    link: bytes = b""
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    holes: tuple[tuple[int, int], ...] = ()
    flags: int = 0


def sort_key(path: bytes) -> bytes:
    """Return the key by which entries of a point are ordered: by component, a directory before its content."""
    return path.replace(b"/", b"\0")
