"""What a stream of a server pushes: folders, texts, stretches of files, and files that come by themselves.

Rule of the file: a node and its bytes, nothing else.
"""

from __future__ import annotations

import os
import time
from typing import Protocol

from shared.errors import SkyharborError
from shared.vault.entry import Entry, EntryKind
from workers.sources.mysql.chain import Owner

_FOLDER = 0o750
_FILE = 0o640


class Bytes(Protocol):
    """Where bytes come from."""

    def read_into(self, buffer: memoryview) -> int:
        """Fill the beginning of the buffer; 0 at the end."""
        ...


class Node:
    """The engine's ``Pushed``."""

    def __init__(self, entry: Entry, content: Bytes) -> None:
        self.entry = entry
        self.size = 0
        self._content = content

    def read_into(self, buffer: memoryview) -> int:
        """Fill the beginning of ``buffer`` (see the port)."""
        got = self._content.read_into(buffer)
        self.size += got
        return got


class Tablespace(Node):
    """The engine's ``PushedInBlocks``: pages are changed where they are, and what follows them is not shifted."""

    block = 65536


class Text:
    """Bytes in memory."""

    def __init__(self, text: bytes) -> None:
        self._left = memoryview(text)

    def read_into(self, buffer: memoryview) -> int:
        """Fill the beginning of the buffer."""
        part = self._left[: len(buffer)]
        buffer[: len(part)] = part
        self._left = self._left[len(part) :]
        return len(part)


class Stretch:
    """A part of a file that somebody else holds open. Raises ``source-failed`` when the file has become shorter."""

    def __init__(self, fd: int, begin: int, end: int) -> None:
        self._fd = fd
        self._at = begin
        self._end = end

    def read_into(self, buffer: memoryview) -> int:
        """Fill the beginning of the buffer."""
        want = min(len(buffer), self._end - self._at)
        if not want:
            return 0
        got = os.preadv(self._fd, [buffer[:want]], self._at)
        if not got:
            raise SkyharborError("source-failed", "a file of the log of changes has become shorter")
        self._at += got
        return got


class Remembering:
    """Passes bytes on and keeps them: for small files that say something about the others."""

    def __init__(self, content: Bytes) -> None:
        self._content = content
        self.text = bytearray()

    def read_into(self, buffer: memoryview) -> int:
        """Fill the beginning of the buffer."""
        got = self._content.read_into(buffer)
        self.text += buffer[:got]
        return got


class Tree:
    """Makes nodes, and the folders above each that have not been made yet."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._made: set[bytes] = set()
        self._now = time.time_ns()

    def file(self, path: bytes, content: Bytes) -> tuple[list[Node], Node]:
        """Return the folders to push first, and the file."""
        parts = path.split(b"/")
        above = [b"/".join(parts[:count]) for count in range(1, len(parts))]
        folders = [self._node(folder, EntryKind.DIRECTORY, Text(b"")) for folder in above if folder not in self._made]
        self._made.update(above)
        return folders, self._node(path, EntryKind.FILE, content)

    def tablespace(self, path: bytes, content: Bytes) -> tuple[list[Node], Node]:
        """Return the folders to push first, and a file that is made of pages."""
        folders, node = self.file(path, content)
        return folders, Tablespace(node.entry, content)

    def keep(self, folder: bytes) -> None:
        """The point has this folder already; those above it are still to be made."""
        self._made.add(folder)

    def _node(self, path: bytes, kind: EntryKind, content: Bytes) -> Node:
        mode = _FILE if kind is EntryKind.FILE else _FOLDER
        uid, gid = self._owner.uid, self._owner.gid
        return Node(Entry(path, int(kind), mode, uid, gid, 0, self._now, 0, 0, 0), content)
