"""The log of changes of a server, read from its files: they only grow, and what is behind a position never changes.

Rule of the file: a file is opened once and read from that descriptor: a server that purges it takes only its name.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final, NamedTuple

from shared.errors import SkyharborError
from workers.engine.notices import reason
from workers.sources.mysql.chain import Place, Shipped

_TAIL: Final = 64 * 1024
_HEAD: Final = 256
_FLAGS: Final = slice(21, 23)
"""Of the first event in a file, behind four bytes of magic: they change when the server closes the file."""


class Gap(Exception):
    """The server does not have the log from there on any more."""


class Part(NamedTuple):
    """A stretch of a file, held open."""

    file: str
    begin: int
    end: int
    fd: int


def proof_of(folder: str, place: Place) -> str:
    """Return what tells this log at this place from any other that has the same names.

    A log's files begin with the second of their making, and the bytes before a place are what was committed there.
    Raises ``Gap`` when there is no such file.
    """
    with ExitStack() as stack:
        fd = _opened(folder, place.file, stack)
        head = bytearray(os.pread(fd, min(_HEAD, place.position), 0))
        head[_FLAGS] = b"\0\0"
        begin = max(0, place.position - _TAIL)
        tail = bytearray(os.pread(fd, place.position - begin, begin))
        if begin <= _FLAGS.start:
            tail[_FLAGS.start - begin : _FLAGS.stop - begin] = b"\0\0"
    return hashlib.sha256(bytes(head) + bytes(tail)).hexdigest()


def parts_between(folder: str, names: Sequence[str], since: Place | None, to: Place, stack: ExitStack) -> list[Part]:
    """Open what lies between two places; with no ``since``, the file of ``to`` from its beginning.

    Raises ``Gap`` when a file is gone, ``source-failed`` when one cannot be read.
    """
    if since is None:
        wanted = [(to.file, 0)]
    else:
        if since.file not in names or to.file not in names or names.index(since.file) > names.index(to.file):
            raise Gap
        between = names[names.index(since.file) : names.index(to.file) + 1]
        wanted = [(name, since.position if name == since.file else 0) for name in between]
    parts = []
    for name, begin in wanted:
        fd = _opened(folder, name, stack)
        size = os.fstat(fd).st_size
        end = to.position if name == to.file else size
        if not begin <= end <= size:
            raise Gap
        if end > begin:
            parts.append(Part(name, begin, end, fd))
    return parts


def with_parts(shipped: Sequence[Shipped], parts: Sequence[Part]) -> tuple[Shipped, ...]:
    """Return what a point has of the log when these parts are added to it."""
    files = {one.file: one.parts for one in shipped}
    for part in parts:
        files[part.file] = (*files.get(part.file, ()), (part.begin, part.end))
    return tuple(Shipped(file, stretches) for file, stretches in files.items())


def part_path(file: str, begin: int) -> bytes:
    """Return where a part is in the tree: sorted by name, the parts of a file are the file."""
    return os.fsencode(f"binlog/{file}/{begin:020d}")


def _opened(folder: str, name: str, stack: ExitStack) -> int:
    path = os.path.join(folder, name)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Gap from None
    except OSError as error:
        raise SkyharborError(
            "source-failed",
            f"the log of changes {path}: {reason(error)}",
            hint="Run the worker as root, or as a user that may read the server's files.",
        ) from error
    stack.callback(os.close, fd)
    return fd
