"""Compares two trees by everything a restore has to bring back. Independent of the engine: it shares no code with it.

Rule of the file: it looks with plain ``os`` calls only and says every difference in words.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence


def differences(original: str, restored: str, *, ignore: Sequence[str] = ()) -> list[str]:
    """Return one line for every way in which the second tree is not the first; empty when they are the same.

    Compared are names, types, content, mode, owner, group, mtime in nanoseconds, xattrs, symlink targets, device
    numbers, holes, and which names share an inode. ``ignore`` takes out ``"holes"`` or ``"owner"``.
    """
    left, right = _collect(os.fsencode(original)), _collect(os.fsencode(restored))
    found = [f"missing: {path!r}" for path in sorted(left.keys() - right.keys())]
    found += [f"extra: {path!r}" for path in sorted(right.keys() - left.keys())]
    for path in sorted(left.keys() & right.keys()):
        a, b = os.path.join(os.fsencode(original), path), os.path.join(os.fsencode(restored), path)
        found += [f"{path!r}: {line}" for line in _node_differences(a, left[path], b, right[path], ignore)]
    if _groups(left) != _groups(right):
        found.append(f"hard links: {_groups(left)} became {_groups(right)}")
    return found


def _collect(root: bytes) -> dict[bytes, os.stat_result]:
    nodes = {b".": os.lstat(root)}
    for folder, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = os.path.join(folder, name)
            nodes[os.path.relpath(path, root)] = os.lstat(path)
    return nodes


def _node_differences(
    a: bytes, left: os.stat_result, b: bytes, right: os.stat_result, ignore: Sequence[str]
) -> Iterator[str]:
    if stat.S_IFMT(left.st_mode) != stat.S_IFMT(right.st_mode):
        yield f"type {left.st_mode:o} became {right.st_mode:o}"
        return
    if left.st_mode != right.st_mode:
        yield f"mode {left.st_mode:o} became {right.st_mode:o}"
    if "owner" not in ignore and (left.st_uid, left.st_gid) != (right.st_uid, right.st_gid):
        yield f"owner {left.st_uid}:{left.st_gid} became {right.st_uid}:{right.st_gid}"
    if left.st_mtime_ns != right.st_mtime_ns:
        yield f"mtime {left.st_mtime_ns} became {right.st_mtime_ns}"
    if _xattrs(a) != _xattrs(b):
        yield f"xattrs {_xattrs(a)} became {_xattrs(b)}"
    if stat.S_ISLNK(left.st_mode) and os.readlink(a) != os.readlink(b):
        yield f"target {os.readlink(a)!r} became {os.readlink(b)!r}"
    if (stat.S_ISCHR(left.st_mode) or stat.S_ISBLK(left.st_mode)) and left.st_rdev != right.st_rdev:
        yield f"device {left.st_rdev} became {right.st_rdev}"
    if stat.S_ISREG(left.st_mode):
        yield from _content_differences(a, left, b, right, ignore)


def _content_differences(
    a: bytes, left: os.stat_result, b: bytes, right: os.stat_result, ignore: Sequence[str]
) -> Iterator[str]:
    if left.st_size != right.st_size:
        yield f"size {left.st_size} became {right.st_size}"
        return
    with open(a, "rb") as one, open(b, "rb") as other:
        while True:
            first, second = one.read(1 << 20), other.read(1 << 20)
            if first != second:
                yield "content differs"
                return
            if not first:
                break
    if "holes" not in ignore and _data(a, left.st_size) != _data(b, right.st_size):
        yield f"data ranges {_data(a, left.st_size)} became {_data(b, right.st_size)}"


def _xattrs(path: bytes) -> dict[str, bytes]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return {}
        raise
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}


def _data(path: bytes, size: int) -> list[tuple[int, int]]:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
        ranges, at = [], 0
        while at < size:
            try:
                begin = os.lseek(fd, at, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    break
                raise
            at = os.lseek(fd, begin, os.SEEK_HOLE)
            ranges.append((begin, at))
        return ranges
    finally:
        os.close(fd)


def _groups(nodes: dict[bytes, os.stat_result]) -> list[list[bytes]]:
    by_inode: dict[tuple[int, int], list[bytes]] = {}
    for path, info in nodes.items():
        if not stat.S_ISDIR(info.st_mode):
            by_inode.setdefault((info.st_dev, info.st_ino), []).append(path)
    return sorted(sorted(names) for names in by_inode.values() if len(names) > 1)
