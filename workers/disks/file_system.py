"""What every reader of a file system gives: nodes by number, what is in directories, and where the data of files is.

Rule of the file: the port and its values. Readers raise ``Damaged`` and ``Unsupported`` (``volume``); names and
numbers are as the file system has them, and nothing here trusts them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import msgspec

from workers.disks.volume import Volume

HOLE = -1
NOBODY = -1
"""The owner of a node whose file system has no owners."""


class Child(NamedTuple):
    """A name in a directory, and the number of its node."""

    name: bytes
    number: int


class Piece(msgspec.Struct, array_like=True, frozen=True):
    """A run of a file's bytes: where on which disk, or nowhere for a hole."""

    disk: int
    offset: int
    length: int


class Node(msgspec.Struct, array_like=True):
    """A node without its name. Times in ns since the epoch; ``mode`` is permissions and the bits beside them.

    ``trouble`` says for people why the content cannot be had, where it cannot; ``lost`` what else is not here.
    ``where`` is where the content lies, if it was asked for and is in a few pieces: it saves a question for each file.
    """

    number: int
    kind: int  # of EntryKind
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    ctime_ns: int
    links: int = 1
    rdev: int = 0
    flags: int = 0
    target: bytes = b""
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    trouble: str = ""
    lost: str = ""
    where: list[Piece] | None = None


class FileSystem(Protocol):
    """One file system. Used by one thread."""

    root: int

    @property
    def notes(self) -> list[str]:
        """What has to be said about the file system as a whole, for people."""
        ...

    def children(self, number: int) -> Iterator[Child]:
        """Yield what is in a directory, without itself and the one above, in any order."""
        ...

    def node(self, number: int, *, full: bool) -> Node:
        """Return a node; with its target and xattrs if it is to be ``full``."""
        ...

    def pieces(self, number: int) -> Iterator[Piece] | None:
        """Yield where the content of a file lies, from its first byte to its last; None: it has to be ``read``."""
        ...

    def read(self, number: int, offset: int, length: int) -> bytes:
        """Return content of a file from ``offset`` on; fewer bytes only at its end."""
        ...


def placed(volume: Volume, offset: int, length: int) -> Iterator[Piece]:
    """Yield the pieces of a run of a volume."""
    for disk, at, count in volume.where(offset, length):
        yield Piece(disk, at, count)


def hole(length: int) -> Piece:
    """Return a piece without data."""
    return Piece(HOLE, 0, length)
