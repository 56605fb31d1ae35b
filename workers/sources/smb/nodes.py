"""What a share's nodes are in a point: a look becomes a ``Stat``, what only Windows has becomes pairs of the entry.

The pairs are xattrs of the ``user.`` kind, so that a point of a share can be brought back to any folder and still be
brought back to a share from there:

- ``user.skyharbor.smb.sd``: the security descriptor, self-relative, as the server gave it (owner, group, DACL);
- ``user.skyharbor.smb.info``: attributes (4 bytes) and creation time (8 bytes FILETIME), little-endian;
- ``user.skyharbor.smb.stream.NAME``: the content of an alternate data stream;
- ``user.skyharbor.smb.lost``: names of streams that were too large to be kept, one a line.

Rule of the file: values only.
"""

from __future__ import annotations

import os
import stat
import struct
from typing import Final

from workers.sources.shares.stats import FarStat, within
from workers.sources.smb.messages import Look, Row

DESCRIPTOR: Final = b"user.skyharbor.smb.sd"
INFO: Final = b"user.skyharbor.smb.info"
STREAM: Final = b"user.skyharbor.smb.stream."
LOST_STREAMS: Final = b"user.skyharbor.smb.lost"
MOST_STREAMS: Final = 65536
"""Bytes of streams that an entry carries: they lie in the pages of the point, with the names."""

READ_ONLY, DIRECTORY, NORMAL, SPARSE, REPARSE = 0x1, 0x10, 0x80, 0x200, 0x400
KEPT_ATTRIBUTES: Final = 0x1 | 0x2 | 0x4 | 0x20 | 0x100 | 0x200 | 0x2000
"""Read-only, hidden, system, archive, temporary, sparse, not indexed: those that a restore can give back."""

_EPOCH: Final = 116_444_736_000_000_000
_SYMLINK, _JUNCTION = 0xA000000C, 0xA0000003
_SURROGATE: Final = 0x20000000
_PAIR: Final = struct.Struct("<IQ")


def ns_of(filetime: int) -> int:
    """Return nanoseconds since 1970 for 100 ns since 1601; 0, which servers say for unknown, stays 0."""
    return within((filetime - _EPOCH) * 100) if filetime else 0


def filetime_of(ns: int) -> int:
    """Return the FILETIME of a time, never one that would mean something else (0 and -1)."""
    return max(1, ns // 100 + _EPOCH)


def is_link(attributes: int, tag: int) -> bool:
    """Tell whether a node is a symlink or a junction."""
    return bool(attributes & REPARSE) and tag in (_SYMLINK, _JUNCTION)


def is_elsewhere(attributes: int, tag: int) -> bool:
    """Tell whether a node stands for another one in a way that we do not know."""
    return bool(attributes & REPARSE) and bool(tag & _SURROGATE) and not is_link(attributes, tag)


def stat_of(look: Look, node: int, *, tag: int = 0) -> FarStat:
    """Return what the engine compares. Owners are this process: a share's own are in the descriptor.

    The change time is the server's; where that is none (``marks``), a mark takes its place.
    """
    if is_link(look.attributes, tag):
        mode = stat.S_IFLNK | 0o777
    elif look.attributes & DIRECTORY:
        mode = stat.S_IFDIR | 0o755
    else:
        mode = stat.S_IFREG | (0o444 if look.attributes & READ_ONLY else 0o644)
    size = look.size if stat.S_ISREG(mode) else 0
    number = node if node != 0xFFFFFFFFFFFFFFFF else 0
    return FarStat(mode, number, size, ns_of(look.written), ns_of(look.changed), os.geteuid(), os.getegid(), tag)


def stat_of_row(row: Row) -> FarStat:
    """Return that of a line of a folder."""
    return stat_of(row.look, row.node, tag=row.tag if row.look.attributes & REPARSE else 0)


def info_pair(look: Look) -> tuple[bytes, bytes]:
    """Return the pair of attributes and creation time."""
    return INFO, _PAIR.pack(look.attributes, look.created)


def info_of(xattrs: tuple[tuple[bytes, bytes], ...]) -> tuple[int, int]:
    """Return attributes that can be given back and creation time (FILETIME) of an entry; 0 for those not known."""
    value = dict(xattrs).get(INFO, b"")
    if len(value) != _PAIR.size:
        return 0, 0
    attributes, created = _PAIR.unpack(value)
    return attributes & KEPT_ATTRIBUTES, created


def streams_of(xattrs: tuple[tuple[bytes, bytes], ...]) -> list[tuple[bytes, bytes]]:
    """Return the streams that an entry carries."""
    return [(name[len(STREAM) :], value) for name, value in xattrs if name.startswith(STREAM)]


def link_target(data: bytes) -> bytes:
    r"""Return where a symlink or a junction leads, from the answer to FSCTL_GET_REPARSE_POINT ([MS-FSCC] 2.1.2).

    Slashes for backslashes; ``\??\`` in front, which is for the kernel, is left out. ValueError when it is neither.
    """
    if len(data) < 16:
        raise ValueError("too short")
    tag, _, _, at, size, shown_at, shown_size = struct.unpack_from("<IHHHHHH", data)
    if tag == _SYMLINK:
        base = 20
    elif tag == _JUNCTION:
        base = 16
    else:
        raise ValueError("no link")
    start, length = (shown_at, shown_size) if shown_size else (at, size)
    raw = data[base + start : base + start + length]
    if len(raw) != length:
        raise ValueError("cut short")
    name = raw.decode("utf-16-le", "surrogatepass").encode("utf-8", "surrogatepass")
    return name.removeprefix(b"\\??\\").replace(b"\\", b"/")
