"""Nodes that the source pushes: what they look like, and where their bytes come from.

Rule of the file: each has an ``entry`` without content and a ``read_into`` (``workers.engine.ports.Pushed``).
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from typing import Final

from shared.clock import SystemClock
from shared.vault.entry import Entry, EntryKind
from workers.sources.postgres import tar_stream
from workers.sources.postgres.tar_stream import Member, TarStream

BLOCK: Final = 1 << 20
"""Pages stay where they are in a file, and so does the log: cut at fixed places, what did not change is known again."""

_KINDS = {
    tar_stream.FILE: EntryKind.FILE,
    tar_stream.SYMLINK: EntryKind.SYMLINK,
    tar_stream.DIRECTORY: EntryKind.DIRECTORY,
}


class Folder:
    """A directory of the tree."""

    def __init__(self, path: bytes) -> None:
        self.entry = made(path, EntryKind.DIRECTORY, mode=stat.S_IRWXU)

    def read_into(self, buffer: memoryview) -> int:  # noqa: ARG002
        """See the port: a directory has no content."""
        return 0


class Text:
    """A small file that is there as bytes."""

    def __init__(self, path: bytes, data: bytes) -> None:
        self.entry = made(path, EntryKind.FILE)
        self._rest = memoryview(data)

    def read_into(self, buffer: memoryview) -> int:
        """See the port."""
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


class Pieces:
    """A file whose bytes come in pieces of any size from an iterator."""

    block = BLOCK

    def __init__(self, path: bytes, pieces: Iterator[bytes | memoryview]) -> None:
        self.entry = made(path, EntryKind.FILE)
        self._pieces = pieces
        self._rest: bytes | memoryview = b""

    def read_into(self, buffer: memoryview) -> int:
        """See the port."""
        done = 0
        while done < len(buffer):
            if not self._rest:
                piece = next(self._pieces, None)
                if piece is None:
                    break
                self._rest = memoryview(piece)
            count = min(len(self._rest), len(buffer) - done)
            buffer[done : done + count] = self._rest[:count]
            self._rest = self._rest[count:]
            done += count
        return done


class TarNode:
    """A member of an archive as a node of the tree. ``count`` is told how many bytes were read."""

    block = BLOCK

    def __init__(self, path: bytes, member: Member, archive: TarStream, count: Callable[[int], None]) -> None:
        kind = _KINDS[member.kind]
        self.entry = Entry(
            path=path,
            kind=kind,
            mode=member.mode & 0o7777,
            uid=member.uid,
            gid=member.gid,
            size=0,
            mtime_ns=member.mtime * 10**9,
            ctime_ns=0,
            device=0,
            inode=0,
            target=member.target if kind == EntryKind.SYMLINK else b"",
        )
        self._archive, self._count = archive, count

    def read_into(self, buffer: memoryview) -> int:
        """See the port."""
        done = self._archive.read_into(buffer)
        self._count(done)
        return done


def is_known(member: Member) -> bool:
    """Tell whether a member can be a node: PostgreSQL sends nothing but files, directories and symlinks."""
    return member.kind in _KINDS


def made(path: bytes, kind: EntryKind, *, mode: int = stat.S_IRUSR | stat.S_IWUSR) -> Entry:
    """Return the entry of a node that the source makes itself: it belongs to nobody in particular."""
    return Entry(
        path=path,
        kind=kind,
        mode=mode,
        uid=0,
        gid=0,
        size=0,
        mtime_ns=int(SystemClock().now().timestamp()) * 10**9,
        ctime_ns=0,
        device=0,
        inode=0,
    )
