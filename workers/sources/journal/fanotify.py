"""fanotify(7) by its system calls: marks on whole file systems, and events as directory, name and node.

Needs Linux 5.17 (``FAN_REPORT_TARGET_FID``), CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH.

Rule of the file: the kernel's structures and nothing else; what an event means is ``record``'s.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

_CLOEXEC, _NONBLOCK, _UNLIMITED_QUEUE, _UNLIMITED_MARKS = 0x1, 0x2, 0x10, 0x20
_REPORT_FID, _REPORT_DIR_FID, _REPORT_NAME, _REPORT_TARGET_FID = 0x200, 0x400, 0x800, 0x1000
_MARK_ADD, _MARK_FILESYSTEM = 0x1, 0x100
_AT_FDCWD = -100

MODIFY, ATTRIB, CLOSE_WRITE = 0x2, 0x4, 0x8
MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x40, 0x80, 0x100, 0x200
OVERFLOW, ONDIR = 0x4000, 0x40000000
_MASK = MODIFY | ATTRIB | CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE | ONDIR

_EVENT = struct.Struct("<IBBHQii")
_INFO = struct.Struct("<BBH")
_HANDLE = struct.Struct("<Ii")
_FID, _DFID_NAME, _DFID = 1, 2, 3
_FSID = 8
_INO32_GEN, _XFS_INO64, _BTRFS = 0x1, 0x81, 0x4D
_ROOM = 1 << 20

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fanotify_mark.argtypes = [ctypes.c_int, ctypes.c_uint, ctypes.c_uint64, ctypes.c_int, ctypes.c_char_p]
_libc.open_by_handle_at.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int]


class Node(NamedTuple):
    """A node wherever it is: its file system (``f_fsid``), and its handle as ``open_by_handle_at`` takes it."""

    filesystem: int
    handle: bytes


class Event(NamedTuple):
    """What happened: the directory in which, when there is one, and the node to which, when that is another one."""

    mask: int
    folder: Node | None
    node: Node | None


class Watch:
    """One fanotify group. OSError when this kernel or this user cannot have one."""

    def __init__(self) -> None:
        flags = _CLOEXEC | _NONBLOCK | _UNLIMITED_QUEUE | _UNLIMITED_MARKS
        flags |= _REPORT_FID | _REPORT_DIR_FID | _REPORT_NAME | _REPORT_TARGET_FID
        self.fd: int = _libc.fanotify_init(flags, os.O_RDONLY | os.O_CLOEXEC)
        if self.fd < 0:
            raise _error("fanotify")

    def mark(self, path: str) -> None:
        """Watch the whole file system that a path is on. OSError when that cannot be."""
        if _libc.fanotify_mark(self.fd, _MARK_ADD | _MARK_FILESYSTEM, _MASK, _AT_FDCWD, os.fsencode(path)) < 0:
            raise _error(path)

    def marked(self) -> set[int]:
        """Return the device numbers (``os.makedev``) of the file systems that are watched: gone with an unmount."""
        found = set()
        with open(f"/proc/self/fdinfo/{self.fd}") as lines:
            for line in lines:
                kind, _, rest = line.partition(" ")
                if kind == "fanotify" and rest.startswith("sdev:"):
                    number = int(rest[5:].split(" ", 1)[0], 16)
                    found.add(os.makedev(number >> 20, number & 0xFFFFF))
        return found

    def events(self) -> Iterator[Event]:
        """Yield what has happened so far: everything of which the system call had returned before this was called."""
        while True:
            try:
                data = os.read(self.fd, _ROOM)
            except BlockingIOError:
                return
            yield from _events(data)

    def close(self) -> None:
        """Stop watching."""
        os.close(self.fd)


def open_node(mount: int, handle: bytes) -> int:
    """Return a path descriptor of a node; ``mount`` is a descriptor on its file system. ESTALE when it is gone."""
    fd: int = _libc.open_by_handle_at(mount, handle, os.O_PATH | os.O_CLOEXEC)
    if fd < 0:
        raise _error("a file handle")
    return fd


def inode_of(handle: bytes) -> int | None:
    """Return the inode number that a handle of a kind known here holds, without asking the kernel; None for others."""
    _, kind = _HANDLE.unpack_from(handle)
    if kind == _INO32_GEN:
        return int.from_bytes(handle[_HANDLE.size : _HANDLE.size + 4], sys.byteorder)
    if kind in (_XFS_INO64, _BTRFS):
        return int.from_bytes(handle[_HANDLE.size : _HANDLE.size + 8], sys.byteorder)
    return None


def _events(data: bytes) -> Iterator[Event]:
    at = 0
    while at < len(data):
        length, _, _, begin, mask, _, _ = _EVENT.unpack_from(data, at)
        folder = node = None
        info, end = at + begin, at + length
        while info < end:
            kind, _, size = _INFO.unpack_from(data, info)
            if kind in (_FID, _DFID_NAME, _DFID):
                place = info + _INFO.size + _FSID
                handle_size, _ = _HANDLE.unpack_from(data, place)
                found = Node(
                    int.from_bytes(data[place - _FSID : place], "little"),
                    data[place : place + _HANDLE.size + handle_size],
                )
                if kind == _FID:
                    node = found
                else:
                    folder = found
            info += size
        yield Event(mask, folder, node)
        at = end


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), what)
