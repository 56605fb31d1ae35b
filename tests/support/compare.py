"""Compares two trees by everything a restore has to bring back. Independent of the engine: it shares no code with it.

Not compared: access, change and birth times, blocks allocated beyond the end of a file, and names outside of the tree.

Rule of the file: it looks with plain ``os`` calls only, changes nothing, and says every difference in one line. It goes
through both trees side by side, so that memory grows with the largest directory and the number of hard-linked nodes.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator, Iterator, Sequence
from itertools import zip_longest

from tests.support.chattr import flags_of
from tests.support.descent import Cursor, names_in

_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "FIFO",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_PIECE = 1 << 20
_SHOWN = 40
_Links = dict[tuple[int, int], bytes]
_Spans = list[tuple[int, int]]


def differences(original: str | bytes, restored: str | bytes, *, ignore: Sequence[str] = ()) -> list[str]:
    """Return one line for every way in which the second tree is not the first; empty when they are the same.

    Compared are names, types, content, holes, mode, owner, group, mtime in nanoseconds, xattrs (POSIX ACLs and
    capabilities are some), symlink targets, device numbers, ``chattr`` attributes, and which names share an inode.
    A directory that is missing is one line whatever was in it. ``ignore`` takes out any of ``"holes"``, ``"owner"``,
    ``"mode"``, ``"mtime"``, ``"xattrs"``, ``"flags"`` and ``"links"``.
    """
    one, other = Cursor(os.fsencode(original)), Cursor(os.fsencode(restored))
    try:
        return list(_Comparison(one, other, frozenset(ignore)).lines())
    finally:
        one.close()
        other.close()


class _Comparison:
    def __init__(self, one: Cursor, other: Cursor, ignore: frozenset[str]) -> None:
        self._one = one
        self._other = other
        self._ignore = ignore
        # The first name of every node with several, on either side.
        self._firsts: tuple[_Links, _Links] = {}, {}

    def lines(self) -> Iterator[str]:
        """Go through both trees."""
        yield from self._node(b".", b".")
        path, left = b"", [[b""]]
        left[0] = yield from self._folder(path)
        while left:
            if not left[-1]:
                left.pop()
                if left:
                    self._one.up()
                    self._other.up()
                    path = path.rpartition(b"/")[0]
                continue
            name = left[-1].pop()
            below = _joined(path, name)
            if (yield from self._down(name, below)):
                path = below
                left.append((yield from self._folder(path)))

    def _down(self, name: bytes, path: bytes) -> Generator[str, None, bool]:
        """Go into a directory of both trees; return whether that was possible."""
        failed = []
        for cursor in (self._one, self._other):
            try:
                cursor.down(name)
                failed.append("")
            except OSError as error:
                failed.append(os.strerror(error.errno or 0))
        if failed == ["", ""]:
            return True
        for cursor, failure in zip((self._one, self._other), failed, strict=True):
            if not failure:
                cursor.up()
        if failed[0] != failed[1]:
            yield f"{path!r}: entering {failed[0] or 'works'} became {failed[1] or 'works'}"
        return False

    def _folder(self, path: bytes) -> Generator[str, None, list[bytes]]:
        """Compare what is in a directory; return the directories to enter, the last one first."""
        left, right = names_in(self._one.fd), names_in(self._other.fd)
        here, there = set(left), set(right)
        for name in left:
            if name not in there:
                yield f"missing: {_joined(path, name)!r}"
        for name in right:
            if name not in here:
                yield f"extra: {_joined(path, name)!r}"
        folders = []
        for name in left:
            is_folder = name in there and (yield from self._node(name, _joined(path, name)))
            if is_folder:
                folders.append(name)
        return folders[::-1]

    def _node(self, name: bytes, path: bytes) -> Generator[str, None, bool]:
        """Compare one node; return whether it is a directory in both trees."""
        try:
            one, other = _Node(self._one.fd, name), _Node(self._other.fd, name)
        except PermissionError as error:
            yield f"{path!r}: cannot be looked at ({os.strerror(error.errno or 0)})"
            return False
        for line in self._node_lines(one, other):
            yield f"{path!r}: {line}"
        if "links" not in self._ignore:
            yield from self._link_lines(path, one.info, other.info)
        return one.type == other.type == stat.S_IFDIR

    def _node_lines(self, one: _Node, other: _Node) -> Iterator[str]:
        if one.type != other.type:
            yield f"type {_TYPES[one.type]} became {_TYPES[other.type]}"
            return
        left, right, ignore = one.info, other.info, self._ignore
        if "mode" not in ignore and left.st_mode != right.st_mode:
            yield f"mode {stat.S_IMODE(left.st_mode):04o} became {stat.S_IMODE(right.st_mode):04o}"
        if "owner" not in ignore and (left.st_uid, left.st_gid) != (right.st_uid, right.st_gid):
            yield f"owner {left.st_uid}:{left.st_gid} became {right.st_uid}:{right.st_gid}"
        if "mtime" not in ignore and left.st_mtime_ns != right.st_mtime_ns:
            yield f"mtime {left.st_mtime_ns} became {right.st_mtime_ns}"
        if "xattrs" not in ignore:
            yield from _xattr_lines(one.xattrs(), other.xattrs())
        if one.type == stat.S_IFLNK and one.target() != other.target():
            yield f"target {_short(one.target())} became {_short(other.target())}"
        if one.type in (stat.S_IFCHR, stat.S_IFBLK) and left.st_rdev != right.st_rdev:
            yield f"device {_numbers(left)} became {_numbers(right)}"
        if one.type in (stat.S_IFREG, stat.S_IFDIR):
            yield from self._open_lines(one, other)

    def _open_lines(self, one: _Node, other: _Node) -> Iterator[str]:
        """Compare what only open files and directories tell."""
        opened = [one.open(), other.open()]
        try:
            left, right = opened
            if isinstance(left, str) or isinstance(right, str):
                if left != right:
                    states = [state if isinstance(state, str) else "works" for state in opened]
                    yield f"opening {states[0]} became {states[1]}"
                return
            if "flags" not in self._ignore and flags_of(left) != flags_of(right):
                yield f"flags {flags_of(left) or 'none'} became {flags_of(right) or 'none'}"
            if one.type == stat.S_IFREG:
                yield from _content_lines(left, one.info.st_size, right, other.info.st_size, "holes" in self._ignore)
        finally:
            for fd in opened:
                if isinstance(fd, int):
                    os.close(fd)

    def _link_lines(self, path: bytes, one: os.stat_result, other: os.stat_result) -> Iterator[str]:
        firsts = []
        for known, info in zip(self._firsts, (one, other), strict=True):
            alone = info.st_nlink < 2 or stat.S_ISDIR(info.st_mode)
            firsts.append(path if alone else known.setdefault((info.st_dev, info.st_ino), path))
        if firsts[0] != firsts[1]:
            was, now = (f"same node as {first!r}" if first != path else "node of its own" for first in firsts)
            yield f"{path!r}: hard link: {was} became {now}"


class _Node:
    """A name in an open directory."""

    def __init__(self, folder: int, name: bytes) -> None:
        self._folder = folder
        self._name = name
        self.info = os.stat(name, dir_fd=folder, follow_symlinks=False)
        self.type = stat.S_IFMT(self.info.st_mode)

    def open(self) -> int | str:
        """Return a descriptor, or why there is none."""
        try:
            return os.open(self._name, _READ, dir_fd=self._folder)
        except OSError as error:
            return os.strerror(error.errno or 0)

    def target(self) -> bytes:
        return os.readlink(self._name, dir_fd=self._folder)

    def xattrs(self) -> dict[str, bytes]:
        path = b"/proc/self/fd/%d/%s" % (self._folder, self._name)
        try:
            names = os.listxattr(path, follow_symlinks=False)
            # XFS shows root every ACL a second time, in a form of its own.
            names = [name for name in names if not name.startswith("trusted.SGI_ACL_")]
            return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
        except OSError as error:
            if error.errno == errno.ENOTSUP:
                return {}
            raise


def _xattr_lines(left: dict[str, bytes], right: dict[str, bytes]) -> Iterator[str]:
    for name in sorted(left.keys() | right.keys()):
        if name not in right:
            yield f"xattr {name} is missing"
        elif name not in left:
            yield f"xattr {name} is extra: {_short(right[name])}"
        elif left[name] != right[name]:
            yield f"xattr {name} {_short(left[name])} became {_short(right[name])}"


def _content_lines(one: int, left: int, other: int, right: int, without_holes: bool) -> Iterator[str]:
    if left != right:
        yield f"size {left} became {right}"
        return
    spans, others = _data(one, left), _data(other, right)
    at = _first_difference(one, other, _union(spans, others))
    if at is not None:
        yield f"content differs at {at}"
        return
    if without_holes or spans == others:
        return
    # What was not written out yet may look different.
    os.fsync(one)
    os.fsync(other)
    spans, others = _data(one, left), _data(other, right)
    if spans != others:
        yield from _span_lines(spans, others)


def _first_difference(one: int, other: int, spans: _Spans) -> int | None:
    for begin, end in spans:
        for at in range(begin, end, _PIECE):
            count = min(_PIECE, end - at)
            first, second = os.pread(one, count, at), os.pread(other, count, at)
            if first != second:
                pairs = enumerate(zip_longest(first, second))
                return at + next(number for number, (a, b) in pairs if a != b)
    return None


def _span_lines(spans: _Spans, others: _Spans) -> Iterator[str]:
    """One line about the first place where data and holes are not the same: maps may be long."""
    number = next(n for n, (a, b) in enumerate(zip_longest(spans, others)) if a != b)
    was, now = (s[number] if number < len(s) else None for s in (spans, others))
    yield f"data range {number} of {len(spans)} {_span(was)} became {_span(now)} of {len(others)}"


def _span(span: tuple[int, int] | None) -> str:
    return f"{span[0]}-{span[1]}" if span else "nothing"


def _data(fd: int, size: int) -> _Spans:
    """Return begin and end of what is not hole."""
    spans, at = [], 0
    while at < size:
        try:
            begin = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break
            raise
        at = min(os.lseek(fd, begin, os.SEEK_HOLE), size)
        spans.append((begin, at))
    return spans


def _union(one: _Spans, other: _Spans) -> _Spans:
    joined: _Spans = []
    for begin, end in sorted(one + other):
        if joined and begin <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((begin, end))
    return joined


def _numbers(info: os.stat_result) -> str:
    return f"{os.major(info.st_rdev)}:{os.minor(info.st_rdev)}"


def _short(value: bytes) -> str:
    return repr(value) if len(value) <= _SHOWN else f"{value[:_SHOWN]!r}… ({len(value)} bytes)"


def _joined(path: bytes, name: bytes) -> bytes:
    return path + b"/" + name if path else name
