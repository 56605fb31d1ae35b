"""Makes of an interleaved stream files that come one after the other.

The file whose first bytes come while no other is on its way passes straight through. What comes of others meanwhile
waits in files without a name in the worker's folder, and so does every log: the redo log is sent in parallel to
everything, until the end.

A server on which tables are renamed, made and dropped during a backup has complete files renamed, replaced and removed.
What has been passed on cannot be called back, so files keep the name under which they came, or get one of their own
when that is taken, and ``names`` says in the end what they are really called.

Rule of the file: memory does not grow with what is sent; every path that is passed on is passed on once.
"""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Iterator
from typing import Final

from shared.errors import SkyharborError
from workers.engine.notices import reason
from workers.sources.mysql.mbstream import Data, Ended, MbstreamReader, Piece, Removed, Renamed

_ZEROS: Final = memoryview(bytes(256 * 1024))


_LOGS: Final = (b"ib_logfile", b"xtrabackup_logfile", b"aria_log.")


def is_log(path: bytes) -> bool:
    """Tell whether a file is one that grows during the whole backup."""
    return path.startswith(_LOGS)


class Spool:
    """Bytes that wait, in a file without a name."""

    def __init__(self, folder: str, *, rewrites: bool = False) -> None:
        self.rewrites = rewrites
        self._folder = folder
        self._at = 0
        try:
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - it is ours to close
        except OSError as error:
            raise SkyharborError("source-failed", f"{folder}: {reason(error)}") from error

    def put(self, data: Data) -> None:
        """Keep bytes at their place."""
        fd, piece, offset = self._file.fileno(), data.data, data.offset
        try:
            while piece:
                done = os.pwrite(fd, piece, offset)
                piece, offset = piece[done:], offset + done
        except OSError as error:
            raise SkyharborError(
                "source-failed", f"{self._folder}: {reason(error)}", hint="Free space on the disk of the worker's home."
            ) from error

    def read_into(self, buffer: memoryview) -> int:
        """Give the bytes back, from the beginning."""
        got = os.preadv(self._file.fileno(), [buffer], self._at)
        self._at += got
        return got

    def close(self) -> None:
        """Let the bytes go."""
        self._file.close()


class Passing:
    """A file on its way straight from the stream."""

    def __init__(self, unraveled: Unraveled, path: bytes) -> None:
        self._unraveled = unraveled
        self._path = path
        self._data = memoryview(b"")
        self._zeros = 0
        self._at = 0
        self._ended = False

    def take(self, piece: Data | Ended) -> None:
        """Take the next piece; the last one must have been read."""
        if isinstance(piece, Ended):
            self._ended = True
        else:
            self._zeros, self._data = piece.offset - self._at, piece.data
            self._at = piece.offset + len(piece.data)

    def read_into(self, buffer: memoryview) -> int:
        """Fill the beginning of the buffer; 0 at the end of the file."""
        while not self._data and not self._zeros:
            if self._ended:
                return 0
            self._unraveled.advance(self._path, self)
        if self._zeros:
            part = _ZEROS[: min(self._zeros, len(buffer), len(_ZEROS))]
            self._zeros -= len(part)
        else:
            part = self._data[: len(buffer)]
            self._data = self._data[len(part) :]
        buffer[: len(part)] = part
        return len(part)

    def drain(self) -> None:
        """Read what nobody wanted to."""
        room = memoryview(bytearray(len(_ZEROS)))
        while self.read_into(room):
            pass


class Unraveled:
    """The files of one stream. Use ``files`` once, to its end, then ``names``."""

    def __init__(self, reader: MbstreamReader, folder: str) -> None:
        self._pieces = reader.pieces()
        self._folder = folder
        self._spools: dict[bytes, Spool] = {}
        self._ready: deque[tuple[bytes, Spool]] = deque()
        self._called: dict[bytes, bytes] = {}  # by the name that it has now: the name under which it was passed on
        self._passed: set[bytes] = set()

    def files(self) -> Iterator[tuple[bytes, Passing | Spool]]:
        """Yield every file with the name under which to keep it; read it before the next one is asked for."""
        try:
            for piece in self._pieces:
                if isinstance(piece, Data | Ended) and piece.path not in self._spools and not is_log(piece.path):
                    passing = Passing(self, piece.path)
                    passing.take(piece)
                    yield self._named(piece.path, rewrites=isinstance(piece, Data) and piece.rewrites), passing
                    passing.drain()
                else:
                    self._put_aside(piece)
                yield from self._waiting()
        finally:
            for spool in [*self._spools.values(), *(spool for _, spool in self._ready)]:
                spool.close()

    @property
    def names(self) -> dict[str, str | None]:
        """What files are called that were passed on under another name; None for those that are not wanted."""
        now = {kept: name for name, kept in self._called.items()}
        return {
            os.fsdecode(kept): os.fsdecode(now[kept]) if kept in now else None
            for kept in sorted(self._passed)
            if now.get(kept) != kept
        }

    def advance(self, path: bytes, passing: Passing) -> None:
        """Have the passing file take its next piece; put aside what comes of others before."""
        for piece in self._pieces:
            if isinstance(piece, Data | Ended) and piece.path == path:
                passing.take(piece)
                return
            self._put_aside(piece)
        raise SkyharborError("source-failed", f"the stream of mariabackup ends before {path!r} does")

    def _waiting(self) -> Iterator[tuple[bytes, Spool]]:
        while self._ready:
            name, spool = self._ready.popleft()
            try:
                yield name, spool
            finally:
                spool.close()

    def _put_aside(self, piece: Piece) -> None:
        match piece:
            case Data():
                if piece.path not in self._spools:
                    self._spools[piece.path] = Spool(self._folder, rewrites=piece.rewrites)
                self._spools[piece.path].put(piece)
            case Ended():
                spool = self._spools.pop(piece.path, None) or Spool(self._folder)
                self._ready.append((self._named(piece.path, rewrites=spool.rewrites), spool))
            # It speaks of files, too, that it never sent, because they were gone before it came to them.
            case Renamed() if piece.path in self._called:
                self._called[piece.to] = self._called.pop(piece.path)
            case Removed():
                self._called.pop(piece.path, None)

    def _named(self, path: bytes, *, rewrites: bool) -> bytes:
        if rewrites:
            self._called.pop(path, None)
        if path in self._called:
            hint = "A table was replaced while it was read; the next attempt begins again."
            raise SkyharborError("source-failed", f"mariabackup sent {path!r} twice", hint=hint)
        name, number = path, 1
        while name in self._passed:
            name, number = b"%s.again-%d" % (path, number), number + 1
        self._passed.add(name)
        self._called[path] = name
        return name
