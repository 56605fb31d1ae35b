"""Reads the stream format of mariabackup: chunks of files, interleaved, each with a CRC-32 of its payload.

A chunk is ``XBSTCK01``, a byte of flags, a byte of type, the length of a path (4 bytes) and the path; then
- ``P`` payload: its length (8), its place in the file (8), its CRC-32 (4), the bytes;
- ``S`` seek: the place in the file where the next payload goes (8); between them is a hole;
- ``E``: the file is complete;
- ``R`` rename: the length of the new path (4) and the new path, of a complete file;
- ``D`` remove, of a complete file.
The flag 2 of a payload says that the file takes the place of one that was sent before. All numbers are little-endian.
Nothing but the payload has a checksum, so everything else is checked by what must follow from what: payloads of a file
are in order and without gaps, every file that began ends.

Rule of the file: one chunk after the other, a megabyte in memory; whatever is not understood is an error, for a stream
that was misread by one byte is a database that cannot be started.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from shared.errors import SkyharborError
from workers.engine.landing import is_safe

_MAGIC: Final = b"XBSTCK01"
_HEAD: Final = struct.Struct("<8sBcI")
_PAYLOAD: Final = struct.Struct("<QQI")
_PLACE: Final = struct.Struct("<Q")
_LENGTH: Final = struct.Struct("<I")
_REWRITES: Final = 2
_LONGEST_PATH: Final = 512
_PIECE: Final = 1024 * 1024

Fill = Callable[[memoryview], int]
"""Fills the beginning of a buffer and returns how many bytes came, 0 at the end of the stream."""


class Data(NamedTuple):
    """Bytes at a place of a file, valid only until the next piece is asked for.

    ``rewrites``: the file takes the place of a complete one of its name.
    """

    path: bytes
    offset: int
    data: memoryview
    rewrites: bool


class Ended(NamedTuple):
    """A file is complete."""

    path: bytes


class Renamed(NamedTuple):
    """A complete file has another name now."""

    path: bytes
    to: bytes


class Removed(NamedTuple):
    """A complete file is not wanted any more."""

    path: bytes


Piece = Data | Ended | Renamed | Removed


class MbstreamReader:
    """Yields what a stream says, piece by piece. One pass, one thread."""

    def __init__(self, fill: Fill) -> None:
        self._fill = fill
        self._room = memoryview(bytearray(_PIECE))
        self._at = 0
        self._places: dict[bytes, int] = {}

    def pieces(self) -> Iterator[Piece]:
        """Yield all pieces. Raises ``source-failed`` when the stream is damaged or ends too early."""
        while head := self._exactly(_HEAD.size, at_end_too=True):
            magic, flags, kind, length = _HEAD.unpack(head)
            if magic != _MAGIC:
                raise self._damaged("no chunk begins here")
            path = self._path(length)
            if flags and (kind != b"P" or flags != _REWRITES):
                raise self._damaged(f"flags {flags:#x} have no meaning")
            if kind == b"P":
                yield from self._payload(path, rewrites=flags == _REWRITES)
            elif kind == b"S":
                self._seek(path)
            elif kind == b"E":
                self._places.pop(path, None)
                yield Ended(path)
            elif kind in (b"R", b"D"):
                if path in self._places:
                    raise self._damaged(f"{path!r} is not complete yet")
                yield Renamed(path, self._path(*_LENGTH.unpack(self._exactly(4)))) if kind == b"R" else Removed(path)
            else:
                raise self._damaged(f"the type of chunk {kind!r} is not known")
        if self._places:
            raise self._damaged(f"it ends before {min(self._places)!r} does")

    def _payload(self, path: bytes, *, rewrites: bool) -> Iterator[Data]:
        left, offset, expected = _PAYLOAD.unpack(self._exactly(_PAYLOAD.size))
        if offset != self._places.get(path, 0):
            raise self._damaged(f"a part of {path!r} is missing")
        crc = 0
        while left:
            piece = self._room[: min(left, _PIECE)]
            self._into(piece)
            crc = zlib.crc32(piece, crc)
            yield Data(path, offset, piece, rewrites)
            left -= len(piece)
            offset += len(piece)
            self._places[path] = offset
        if crc != expected:
            raise self._damaged(f"the checksum of a part of {path!r} is wrong")
        self._places[path] = offset

    def _seek(self, path: bytes) -> None:
        (place,) = _PLACE.unpack(self._exactly(_PLACE.size))
        if place < self._places.get(path, 0):
            raise self._damaged(f"{path!r} goes backwards")
        self._places[path] = place

    def _path(self, length: int) -> bytes:
        if not 0 < length <= _LONGEST_PATH:
            raise self._damaged(f"a path of {length} bytes")
        path = self._exactly(length)
        if not is_safe(path):
            raise self._damaged(f"the path {path!r} leads outside")
        return path

    def _exactly(self, size: int, *, at_end_too: bool = False) -> bytes:
        piece = self._room[:size]
        if at_end_too:
            got = self._fill(piece)
            self._at += got
            if not got:
                return b""
            piece = piece[got:]
        self._into(piece)
        return bytes(self._room[:size])

    def _into(self, piece: memoryview) -> None:
        while piece:
            got = self._fill(piece)
            if not got:
                raise self._damaged("it breaks off")
            self._at += got
            piece = piece[got:]

    def _damaged(self, what: str) -> SkyharborError:
        return SkyharborError("source-failed", f"the stream of mariabackup is not right at byte {self._at}: {what}")
