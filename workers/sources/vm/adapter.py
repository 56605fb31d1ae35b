"""A virtual machine as a tree: ``disk0.raw`` and so on, cut into blocks, with the small files that describe it.

Rule of the file: it reads what a session holds still, by the session's description, in whatever process.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from shared.errors import SkyharborError
from shared.model.backup import Notice
from shared.vault.entry import Entry, sort_key
from workers.engine.notices import reason, shown
from workers.engine.ports import Found, Haste, OpenedFile, Survey, Unreadable
from workers.engine.seen import entry_of
from workers.engine.span import EVERYTHING, Span
from workers.sources.vm.connections import Connections
from workers.sources.vm.description import DiskReading, FileReading, VmReading
from workers.sources.vm.opened_disk import OpenedExport, OpenedImage

_MODE = stat.S_IFREG | 0o600
_SMALL = 1 << 32  # inode numbers of small files begin here: disks count from 1


@dataclass(frozen=True, slots=True)
class _Node:
    """The engine's ``Stat`` of a file that has no owner and one name."""

    st_size: int
    st_ino: int
    st_mtime_ns: int
    st_ctime_ns: int
    st_mode: int = _MODE
    st_dev: int = 0
    st_nlink: int = 1
    st_uid: int = 0
    st_gid: int = 0
    st_rdev: int = 0


class VmAdapter:
    """The engine's ``Source`` over the description of a session."""

    excluded = 0

    def __init__(self, told: VmReading) -> None:
        self.block = told.block
        self._disks = {disk.name.encode(): disk for disk in told.disks}
        self._files = {file.name.encode(): _content(file) for file in told.files}
        self._nodes = {path: _disk_node(disk) for path, disk in self._disks.items()}
        for number, file in enumerate(told.files):
            content = self._files[file.name.encode()]
            self._nodes[file.name.encode()] = _Node(len(content), _SMALL + number, file.time_ns, file.time_ns)
        self._connections = {path: Connections(disk, told.block) for path, disk in self._disks.items() if not disk.file}

    def scan(self, span: Span = EVERYTHING) -> Iterator[Found | Notice]:
        """Yield all files of the span (see the port)."""
        paths = sorted((path for path in self._nodes if span.holds(path)), key=sort_key)
        if paths:
            yield Found(paths, [self._nodes[path] for path in paths])

    def survey(self, most: int) -> Survey:  # noqa: ARG002 - there are never many
        """List the files, as one entry each: a session's sockets are of this machine, whose hands share one disk."""
        return Survey([(path, 1) for path in sorted(self._nodes, key=sort_key)], cut_off=False)

    def complete(self, entry: Entry) -> Entry:
        """Return the node: there are only files, and they have nothing besides."""
        return entry

    def read_whole(self, entry: Entry, room: memoryview) -> Haste:
        """Give a small file (see the port)."""
        content = self._files.get(entry.path)
        if content is None or len(content) != entry.size:
            return Haste.NO
        room[: len(content)] = content
        return Haste.READ

    def warm(self, entries: Iterable[Entry]) -> None:
        """There is nothing to warm."""

    def open(self, entry: Entry) -> OpenedFile:
        """Open a disk, or a small file (see the port). Raises ``source-failed`` for a disk that cannot be read."""
        disk = self._disks.get(entry.path)
        if disk is not None:
            found = entry_of(entry.path, self._nodes[entry.path])
            if disk.file:
                return OpenedImage(disk, found, self.block)
            return OpenedExport(disk, found, self.block, self._connections[entry.path])
        content = self._files.get(entry.path)
        if content is None:
            raise Unreadable(Notice(shown(entry.path), "vanished", "the session has no such file"))
        return _OpenedContent(entry_of(entry.path, self._nodes[entry.path]), content)

    def close(self) -> None:
        """Hang up (see the port)."""
        for connections in self._connections.values():
            connections.close()

    def names_of_owners(self, uids: Iterable[int], gids: Iterable[int]) -> tuple[dict[str, str], dict[str, str]]:  # noqa: ARG002
        """Nobody owns anything in here."""
        return {}, {}


class _OpenedContent:
    """The engine's ``OpenedFile`` over bytes."""

    def __init__(self, entry: Entry, content: bytes) -> None:
        self.entry = entry
        self._content = content

    def changes(self) -> list[tuple[int, int]] | None:
        return None

    def look(self) -> bool:
        return True

    def next_data(self, offset: int) -> int | None:
        return offset if offset < len(self._content) else None

    def data(self, begin: int, end: int) -> list[tuple[int, int]]:
        end = min(end, len(self._content))
        return [(begin, end - begin)] if begin < end else []

    def read(self, size: int, offset: int) -> bytes:
        return self._content[offset : offset + size]

    def read_into(self, buffer: memoryview, offset: int) -> int:
        data = self._content[offset : offset + len(buffer)]
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        pass


def _disk_node(disk: DiskReading) -> _Node:
    return _Node(disk.size, disk.inode, disk.mtime_ns, disk.ctime_ns)


def _content(file: FileReading) -> bytes:
    if not file.path:
        return file.content
    try:
        with open(file.path, "rb") as opened:
            return opened.read()
    except OSError as error:
        raise SkyharborError("source-failed", f"{file.path}: {reason(error)}") from error
