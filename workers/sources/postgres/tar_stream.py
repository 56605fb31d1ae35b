"""A tar archive that arrives in pieces: members one after the other, nothing gathered.

PostgreSQL writes plain ustar headers; sizes beyond 8 GiB are in base 256.

Rule of the file: the format only; pieces come from a function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from shared.errors import SkyharborError

FILE: Final = b"0"
SYMLINK: Final = b"2"
DIRECTORY: Final = b"5"

_BLOCK = 512
_EMPTY = memoryview(b"")


class Member(NamedTuple):
    """The header of a member. ``name`` has no slash at either end; ``mtime`` is in seconds."""

    name: bytes
    kind: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    target: bytes


class TarStream:
    """Reads members in order; ``more`` returns the next bytes of the archive, None at its end."""

    def __init__(self, more: Callable[[], memoryview | None]) -> None:
        self._more = more
        self._rest: memoryview = _EMPTY
        self._left = 0  # of the member's content
        self._pad = 0

    def next(self) -> Member | None:
        """Return the next member, passing over what was left of the last one; None at the end of the archive.

        Raises ``source-failed`` when the archive breaks off or a header is none.
        """
        self._skip(self._left + self._pad)
        self._left = self._pad = 0
        header = self._header()
        if header is None or not any(header):
            self._drain()
            return None
        member = _member(header)
        self._left, self._pad = member.size, -member.size % _BLOCK
        return member

    def read_into(self, buffer: memoryview) -> int:
        """Fill the beginning of a buffer with the member's content; fewer bytes than it holds at the end only."""
        done, most = 0, min(len(buffer), self._left)
        while done < most:
            piece = self._piece()
            count = min(len(piece), most - done)
            buffer[done : done + count] = piece[:count]
            self._rest = piece[count:]
            done += count
        self._left -= done
        return done

    def _header(self) -> bytes | None:
        data = bytearray()
        while len(data) < _BLOCK:
            if not self._rest:
                piece = self._more()
                if piece is None:
                    if data:
                        raise SkyharborError("source-failed", "the backup's archive broke off")
                    return None
                self._rest = piece
            count = _BLOCK - len(data)
            data += self._rest[:count]
            self._rest = self._rest[count:]
        return bytes(data)

    def _piece(self) -> memoryview:
        while not self._rest:
            piece = self._more()
            if piece is None:
                raise SkyharborError("source-failed", "the backup's archive broke off")
            self._rest = piece
        return self._rest

    def _skip(self, count: int) -> None:
        while count:
            piece = self._piece()
            step = min(count, len(piece))
            self._rest = piece[step:]
            count -= step

    def _drain(self) -> None:
        self._rest = _EMPTY
        while self._more() is not None:
            pass


def _member(header: bytes) -> Member:
    if sum(header[:148]) + 8 * 32 + sum(header[156:]) != _number(header[148:156]):
        raise SkyharborError("source-failed", "a header of the backup's archive is not one")
    prefix, name = header[345:500].partition(b"\0")[0], header[:100].partition(b"\0")[0]
    path = b"/".join(part for part in (prefix + b"/" + name).split(b"/") if part not in (b"", b"."))
    kind = header[156:157]
    return Member(
        name=path,
        kind=FILE if kind == b"\0" else kind,
        mode=_number(header[100:108]),
        uid=_number(header[108:116]),
        gid=_number(header[116:124]),
        size=_number(header[124:136]),
        mtime=_number(header[136:148]),
        target=header[157:257].partition(b"\0")[0],
    )


def _number(field: bytes) -> int:
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    try:
        return int(field.rstrip(b"\0 ") or b"0", 8)
    except ValueError:
        raise SkyharborError("source-failed", "a header of the backup's archive is not one") from None
