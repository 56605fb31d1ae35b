"""Opens and describes single nodes below the protected paths, whatever somebody does to the tree meanwhile.

The usual way is one ``open`` by full path. When the node found there is not the one the scan met, or the path is too
long for the kernel, the node is opened again folder by folder with ``O_NOFOLLOW``, so that a directory swapped for a
symlink can never make a privileged worker read something outside of the protected paths.

Rule of the file: nothing here follows a symlink below a protected path, blocks on a FIFO, or changes an access time
when it is allowed not to.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from shared.vault.entry import Entry, EntryKind, kind_of
from workers.engine.node_flags import read_flags
from workers.engine.ports import Haste
from workers.engine.seen import entry_of, is_unchanged
from workers.engine.xattrs import path_node, read_xattrs
from workers.sources.shown import Places

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_FOLDER = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY
_STEP = os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY


class Nodes:
    """Access to the nodes below the given roots (absolute raw paths). Safe for any thread.

    ``places`` says which of them are read elsewhere.
    """

    def __init__(self, roots: Sequence[bytes], places: Places = Places()) -> None:
        self.places = places
        self._at: Callable[[bytes], bytes] = places.of if not places.none else b"/".__add__
        self._roots = tuple(roots)
        self._lock = threading.Lock()
        self._last = _Walked(b"", -1)

    def open_file(self, entry: Entry) -> int:
        """Return a descriptor for a regular file or whatever now stands in its place (the caller looks)."""
        return self._open(entry.path, _READ, entry.device, entry.inode)

    def read_whole(self, entry: Entry, room: memoryview) -> Haste:
        """Read a small file in one go; see the port. The look after the read proves that it was this very file."""
        try:
            fd = _open_quietly(self._at(entry.path), _READ)
        except OSError:
            return Haste.NO
        try:
            how, got = _read_noting(fd, room)
            # The number of blocks does not tell: xattrs have blocks too, and some are reserved behind the end.
            full = not got or os.lseek(fd, 0, os.SEEK_HOLE) >= got
            xattrs, flags = read_xattrs(fd), read_flags(fd)
            info = os.fstat(fd)
        except OSError:
            return Haste.NO
        finally:
            os.close(fd)
        if got != entry.size or not full or not is_unchanged(info, entry):
            return Haste.NO
        entry.xattrs, entry.flags = xattrs, flags
        return how

    def warm(self, entries: Iterable[Entry]) -> None:
        """Ask the kernel for the content of files, all at once: a disk is quicker when it knows what comes next."""
        for entry in entries:
            with suppress(OSError):
                fd = _open_quietly(self._at(entry.path), _READ)
                try:
                    os.posix_fadvise(fd, 0, entry.size, os.POSIX_FADV_WILLNEED)
                finally:
                    os.close(fd)

    def look(self, path: bytes) -> os.stat_result:
        """Return what a node looks like now; OSError when it is not there."""
        try:
            return os.lstat(self._at(path))
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
        parent, _, name = path.rpartition(b"/")
        folder = self._walk_to(b"/" + parent)
        try:
            return os.stat(name, dir_fd=folder, follow_symlinks=False)
        finally:
            os.close(folder)

    def open_folder(self, path: bytes, device: int, inode: int) -> int:
        """Return a descriptor for listing a directory; OSError when it is none any more."""
        return self._open(path, _FOLDER, device, inode)

    def open_below(self, folder: int, name: bytes) -> int:
        """Return a descriptor for listing a directory inside of an open one; OSError when it is none any more."""
        return _open_quietly(name, _FOLDER, folder)

    def open_above(self, folder: int, device: int, inode: int) -> int | None:
        """Return a descriptor for listing the directory above an open one, None when that is another one by now."""
        try:
            above = _open_quietly(b"..", _FOLDER, folder)
        except OSError:
            return None
        info = os.fstat(above)
        if (info.st_dev, info.st_ino) == (device, inode):
            return above
        os.close(above)
        return None

    def describe(self, entry: Entry) -> Entry:
        """Return the node with its xattrs and, if it is a symlink, its target; OSError when it is gone.

        When another node of the same kind stands in its place by now, it is that one that is returned.
        """
        directory = entry.kind == EntryKind.DIRECTORY
        how = _FOLDER if directory else os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            fd = self._open(entry.path, how, entry.device, entry.inode)
        except PermissionError:
            if not directory:
                raise
            directory = False  # one that may not be listed still has a mode, an owner and times
            fd = self._open(entry.path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW, entry.device, entry.inode)
        try:
            info = os.fstat(fd)
            if (info.st_dev, info.st_ino) != (entry.device, entry.inode) and not self._is_above_roots(entry.path):
                if kind_of(info.st_mode) != entry.kind:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
                entry = entry_of(entry.path, info)
            if entry.kind == EntryKind.SYMLINK:
                entry.target = os.readlink(b"", dir_fd=fd)
                entry.size = len(entry.target)
            entry.xattrs = read_xattrs(fd if directory else path_node(fd))
            entry.flags = read_flags(fd) if directory else 0
            return entry
        finally:
            os.close(fd)

    def _is_above_roots(self, path: bytes) -> bool:
        """Roots and their ancestors are named by the operator, who may reach them through symlinks."""
        return not any((b"/" + path).startswith(root.rstrip(b"/") + b"/") for root in self._roots)

    def _open(self, path: bytes, flags: int, device: int, inode: int) -> int:
        try:
            found = _open_quietly(self._at(path), flags)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
        else:
            info = os.fstat(found)
            if (info.st_ino == inode and info.st_dev == device) or self._is_above_roots(path):
                return found
            os.close(found)
        parent, _, name = path.rpartition(b"/")
        folder = self._walk_to(b"/" + parent)
        try:
            return _open_quietly(name, flags, folder)
        finally:
            os.close(folder)

    def _walk_to(self, folder: bytes) -> int:
        """Return a path descriptor of a folder at or below a root, reached without following a symlink below it.

        It goes on from the last such folder where that is above: in trees too deep for a path the next one mostly is.
        """
        with self._lock:
            last, self._last = self._last, _Walked(b"", -1)
        if last.fd >= 0 and (folder == last.path or folder.startswith(last.path + b"/")):
            at, done = os.dup(last.fd), len(last.path)
        else:
            root = self._nearest(folder)
            at, done = os.open(self._at(root[1:]), _STEP), len(root)
        for part in folder[done:].split(b"/"):
            if part:
                try:
                    below = os.open(part, _STEP, dir_fd=at)
                finally:
                    os.close(at)
                at = below
        walked = _Walked(folder, os.dup(at))
        with self._lock:
            self._last = walked
        return at

    def _nearest(self, folder: bytes) -> bytes:
        """Return the root that a folder is at or below, or the last place on the way to it where another one begins."""
        root = next(root for root in self._roots if folder == root or folder.startswith(root.rstrip(b"/") + b"/"))
        for border in self.places.borders:
            at = b"/" + border
            if len(at) > len(root) and (folder == at or folder.startswith(at + b"/")):
                root = at
        return root


class _Walked:
    """A folder that was reached, open for as long as somebody knows of it."""

    __slots__ = ("fd", "path")

    def __init__(self, path: bytes, fd: int) -> None:
        self.path = path
        self.fd = fd

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


def _open_quietly(path: bytes, flags: int, folder: int | None = None) -> int:
    """Open without touching the access time where that is allowed (owner or CAP_FOWNER)."""
    try:
        return os.open(path, flags | os.O_NOATIME, dir_fd=folder)
    except PermissionError as error:
        if error.errno != errno.EPERM:
            raise
        return os.open(path, flags, dir_fd=folder)


def _read_noting(fd: int, room: memoryview) -> tuple[Haste, int]:
    """Read from the page cache if it has the file, and otherwise from the disk."""
    try:
        got = os.preadv(fd, (room,), 0, os.RWF_NOWAIT)
    except BlockingIOError:
        return Haste.WAITED, os.preadv(fd, (room,), 0)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        return Haste.READ, os.preadv(fd, (room,), 0)
    if got < len(room) - 1:  # what the cache had of it, or a file that shrank
        return Haste.WAITED, got + os.preadv(fd, (room[got:],), got)
    return Haste.READ, got


def is_regular(info: os.stat_result) -> bool:
    """Tell whether this is a regular file."""
    return stat.S_ISREG(info.st_mode)
