"""A point as a read-only file system, without the machinery that mounts it: paths in, attributes and bytes out.

Rule of the file: what is damaged is ``EIO`` and a line about it. A read is never short but at the end of a file: to the
kernel that would mean that the file ends there.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import NamedTuple

from shared.errors import SkyharborError
from shared.vault.entry import Entry, EntryKind
from shared.vault.reader import PointReader
from workers.images.chunk_cache import ChunkCache
from workers.images.image import Image, open_image
from workers.serving.complaints import Complaints
from workers.serving.link_counts import LinkCounts, node_number
from workers.serving.listing import Listing
from workers.serving.tree import Tree

_FORMATS = {
    EntryKind.FILE: stat.S_IFREG,
    EntryKind.DIRECTORY: stat.S_IFDIR,
    EntryKind.SYMLINK: stat.S_IFLNK,
    EntryKind.FIFO: stat.S_IFIFO,
    EntryKind.SOCKET: stat.S_IFSOCK,
    EntryKind.CHAR_DEVICE: stat.S_IFCHR,
    EntryKind.BLOCK_DEVICE: stat.S_IFBLK,
}
_ROOT = 1
_KEEP = 32 * 1024 * 1024  # of chunks: the kernel keeps what was read anyway
_SECTOR = 512


class Attributes(NamedTuple):
    """What ``stat`` shows of a node; times in nanoseconds, ``blocks`` of 512 bytes without the holes."""

    mode: int
    inode: int
    links: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    ctime_ns: int
    blocks: int
    rdev: int


_IMPLIED = Attributes(stat.S_IFDIR | 0o755, _ROOT, 1, 0, 0, 0, 0, 0, 0, 0)
"""A folder that the point has only as a part of paths."""


class Folder:
    """The tree of one point. Safe to share between threads. Raises ``OSError`` as a file system would.

    Paths are raw bytes with a leading slash.
    """

    def __init__(self, reader: PointReader, complaints: Complaints) -> None:
        self._reader, self._complaints = reader, complaints
        self._tree = Tree(reader)
        self._cache = ChunkCache(reader.chunks, keep=_KEEP)
        self._links = LinkCounts(reader, complaints)
        self._numbers = count(1)
        self._images: dict[int, Image] = {}
        self._listings: dict[int, Listing] = {}
        self._lock = threading.Lock()

    def attributes(self, path: bytes) -> Attributes:
        """Return the attributes of a node."""
        path = path[1:]
        with self._told(path):
            entry = self._tree.find(path) if path else None
            if entry is not None:
                return self.attributes_of(entry)
            if self._tree.is_above(path):
                return _IMPLIED._replace(inode=node_number(path) if path else _ROOT)
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))

    def attributes_of(self, entry: Entry) -> Attributes:
        """Return the attributes of an entry. Raises ``SkyharborError`` when they cannot be known."""
        if entry.kind == EntryKind.DIRECTORY:
            # One name: some programs take 2 for a folder without folders in it.
            links, first = 1, entry
        else:
            links, first = self._links.names(entry), self._tree.with_content(entry)
        data = first.size - sum(length for _, length in first.holes)
        is_file, number = first.kind == EntryKind.FILE, node_number(first.path)
        return Attributes(
            _FORMATS[EntryKind(first.kind)] | first.mode, number, links, first.uid, first.gid, first.size,
            first.mtime_ns, first.ctime_ns, -(-data // _SECTOR) if is_file else 0, first.rdev,
        )  # fmt: skip

    def link_target(self, path: bytes) -> bytes:
        """Return where a symbolic link points to."""
        entry = self._entry(path)
        if entry.kind != EntryKind.SYMLINK:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return entry.target

    def xattrs(self, path: bytes) -> dict[bytes, bytes]:
        """Return the extended attributes of a node by their names."""
        return dict(self._entry(path).xattrs) if path != b"/" else {}

    def open_file(self, path: bytes) -> int:
        """Open a regular file and return a number to read it by."""
        entry = self._entry(path)
        if entry.kind != EntryKind.FILE:
            raise OSError(errno.EISDIR if entry.kind == EntryKind.DIRECTORY else errno.EINVAL, "no regular file")
        with self._told(path[1:]):
            image = open_image(entry, self._cache, self._complaints.about, workload=self._reader.body.workload)
        with self._lock:
            number = next(self._numbers)
            self._images[number] = image
            return number

    def read(self, number: int, offset: int, length: int) -> bytes:
        """Return bytes of an open file; fewer only at its end."""
        try:
            return self._images[number].read(offset, length)
        except SkyharborError as error:  # the image has told it
            raise OSError(errno.EIO, str(error)) from error

    def seek(self, number: int, offset: int, whence: int) -> int:
        """Return where data, or a hole, begins at or behind an offset of an open file: ``SEEK_DATA``, ``SEEK_HOLE``."""
        image = self._images[number]
        if whence not in (os.SEEK_DATA, os.SEEK_HOLE):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if not 0 <= offset < image.size:
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
        for at, _, is_hole in image.extents(offset, image.size - offset):
            if is_hole == (whence == os.SEEK_HOLE):
                return at
        if whence == os.SEEK_HOLE:
            return image.size
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))

    def close_file(self, number: int) -> None:
        """Let go of an open file."""
        with self._lock:
            self._images.pop(number, None)

    def open_folder(self, path: bytes) -> int:
        """Open a folder and return a number to list it by."""
        listing = Listing(self._tree, path[1:], self._complaints)
        with self._lock:
            number = next(self._numbers)
            self._listings[number] = listing
            return number

    def listing(self, number: int) -> Listing:
        """Return the listing of an open folder."""
        return self._listings[number]

    def close_folder(self, number: int) -> None:
        """Let go of an open folder."""
        with self._lock:
            self._listings.pop(number, None)

    def size(self) -> tuple[int, int]:
        """Return how many bytes and how many files the point has."""
        return self._reader.body.bytes, self._reader.body.files

    def _entry(self, path: bytes) -> Entry:
        """Return the entry with the content and the attributes of a node."""
        path = path[1:]
        with self._told(path):
            entry = self._tree.find(path)
            if entry is not None:
                return self._tree.with_content(entry)
        code = errno.EISDIR if self._tree.is_above(path) else errno.ENOENT
        raise OSError(code, os.strerror(code))

    @contextmanager
    def _told(self, path: bytes) -> Iterator[None]:
        try:
            yield
        except SkyharborError as error:
            self._complaints.about_names(path, error)
            raise OSError(errno.EIO, str(error)) from error
