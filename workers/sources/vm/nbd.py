"""An NBD client that reads: several requests under way at a time, and where data or changes are.

A server may lie or fail in the middle of an answer: every byte asked for must come exactly once, between the borders
of its request, or the call fails. After a failure the connection is of no use any more.

Rule of the file: never a byte that the server did not send for exactly this place.
"""

from __future__ import annotations

import contextlib
import errno
import os
import ssl
import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Self

from workers.sources.vm.nbd_handshake import Export, NbdError, negotiate
from workers.sources.vm.wire import Address, Wire

__all__ = ["ALLOCATION", "DIRTY", "HOLE", "ZERO", "Extent", "NbdClient", "NbdError", "dirty_context"]

ALLOCATION: Final = "base:allocation"
HOLE: Final = 1
ZERO: Final = 2
"""Flags of ``base:allocation``."""
DIRTY: Final = 1
"""The flag of a bitmap's context."""

_REQUEST: Final = 0x25609513
_SIMPLE: Final = 0x67446698
_CHUNK: Final = 0x668E33EF
_READ, _DISCONNECT, _STATUS = 0, 2, 7
_DONE: Final = 1
_NONE, _DATA, _ZEROES, _EXTENTS = 0, 1, 2, 5
_ERROR: Final = 1 << 15
_PIECE: Final = 256 * 1024
_WINDOW: Final = 8
_MOST_STATUS: Final = 0xFFFF0000
_MOST_TEXT: Final = 64 * 1024
_MOST_EXTENTS: Final = 16 * 1024 * 1024


class Extent(NamedTuple):
    """A stretch of one status."""

    offset: int
    length: int
    flags: int


def dirty_context(bitmap: str) -> str:
    """Return the name of the meta context of a bitmap of QEMU."""
    return f"qemu:dirty-bitmap:{bitmap}"


class _Asked:
    """A read under way and what of it has come."""

    __slots__ = ("begin", "came", "view")

    def __init__(self, begin: int, view: memoryview) -> None:
        self.begin = begin
        self.view = view
        self.came: list[tuple[int, int]] = []

    def room(self, offset: int, length: int) -> memoryview:
        """Return where these bytes go; they must be inside of what was asked."""
        at = offset - self.begin
        if at < 0 or length < 1 or at + length > len(self.view):
            raise NbdError("the server sends bytes that nobody has asked for")
        self.came.append((at, at + length))
        return self.view[at : at + length]

    def finish(self) -> None:
        """Check that every byte has come once."""
        reached = 0
        for begin, end in sorted(self.came):
            if begin != reached:
                raise NbdError("the server has left out bytes, or sent them twice")
            reached = end
        if reached != len(self.view):
            raise NbdError("the server has left out bytes")


class NbdClient:
    """One connection to one export. Used by one thread at a time. Every method raises OSError, ``NbdError`` mostly."""

    def __init__(self, wire: Wire, export: Export) -> None:
        self._wire = wire
        self._export = export
        self._last = 0
        self._numbers = {name: number for number, name in export.contexts.items()}
        self._piece = max(min(_PIECE, export.most) // export.least * export.least, export.least)

    @classmethod
    def connect(
        cls,
        address: Address,
        export: str,
        *,
        contexts: Sequence[str] = (),
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        patience: float = 60.0,
    ) -> Self:
        """Connect; without any of these meta contexts there is no connection. ``patience`` is seconds per answer."""
        wire = Wire.connect(address, patience=patience)
        try:
            return cls(wire, negotiate(wire, export, contexts=contexts, tls=tls, server_name=server_name))
        except ssl.SSLError as error:
            wire.close()
            raise NbdError(f"no TLS with the server: {error.reason or error}") from error
        except BaseException:
            wire.close()
            raise

    @property
    def size(self) -> int:
        """How large the export is, in bytes."""
        return self._export.size

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill the buffer; all of it must be inside of the export."""
        if offset < 0 or offset + len(buffer) > self.size:
            raise NbdError("a read beyond the end of the export")
        waiting: dict[int, _Asked] = {}
        at = 0
        while at < len(buffer) or waiting:
            if at < len(buffer) and len(waiting) < _WINDOW:
                # The first piece ends where a multiple of its size does: servers work in whole clusters.
                size = min(self._piece - (offset + at) % self._piece, len(buffer) - at)
                number = self._ask(_READ, offset + at, size)
                waiting[number] = _Asked(offset + at, buffer[at : at + size])
                at += size
                continue
            self._take_read(waiting)

    def extents(self, context: str, begin: int, end: int) -> Iterator[Extent]:
        """Yield what a meta context says of the bytes between, in order and without gaps; neighbours differ."""
        number = self._numbers[context]
        last: Extent | None = None
        while begin < end:
            length = min(end - begin, _MOST_STATUS)
            for size, flags in self._status(number, begin, length):
                size = min(size, end - begin)  # the last one may reach beyond what was asked
                if last is not None and last.flags == flags:
                    last = Extent(last.offset, last.length + size, flags)
                else:
                    if last is not None:
                        yield last
                    last = Extent(begin, size, flags)
                begin += size
        if last is not None:
            yield last

    def close(self) -> None:
        """Say good-bye and let go. Idempotent."""
        with contextlib.suppress(OSError):
            self._ask(_DISCONNECT, 0, 0)
        self._wire.close()

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    def _ask(self, command: int, offset: int, length: int) -> int:
        self._last += 1
        self._wire.send(struct.pack(">IHHQQI", _REQUEST, 0, command, self._last, offset, length))
        return self._last

    def _take_read(self, waiting: dict[int, _Asked]) -> None:
        """Take the next part of an answer to any of these reads."""
        flags, kind, number, size = self._header()
        asked = waiting.get(number)
        if asked is None:
            raise NbdError("the server answers what nobody has asked")
        if kind == _DATA and size > 8:
            offset = int.from_bytes(self._wire.receive(8), "big")
            self._wire.receive_into(asked.room(offset, size - 8))
        elif kind == _ZEROES and size == 12:
            offset, length = struct.unpack(">QI", self._wire.receive(12))
            room = asked.room(offset, length)
            room[:] = bytes(len(room))
        elif kind != _NONE or size:
            self._fail(kind, size)
        if flags & _DONE:
            asked.finish()
            del waiting[number]

    def _status(self, context: int, offset: int, length: int) -> list[tuple[int, int]]:
        """Return (length, flags) of consecutive extents from ``offset`` on, one at least."""
        number = self._ask(_STATUS, offset, length)
        found: list[tuple[int, int]] = []
        done = False
        while not done:
            flags, kind, about, size = self._header()
            done = bool(flags & _DONE)
            if about != number:
                raise NbdError("the server answers what nobody has asked")
            if kind == _NONE and not size:
                continue
            if kind != _EXTENTS:
                self._fail(kind, size)
            if size < 12 or (size - 4) % 8 or size > _MOST_EXTENTS:
                raise NbdError("a list of extents of a length that makes no sense")
            data = self._wire.receive(size)
            if int.from_bytes(data[:4], "big") == context:
                if found:
                    raise NbdError("the server tells twice of one stretch")
                found = [(size, flags) for size, flags in struct.iter_unpack(">II", data[4:])]
        reached = 0
        for size, _ in found:
            if not size or reached >= length:
                raise NbdError("the server tells of extents that nobody has asked for, or of empty ones")
            reached += size
        if not found:
            raise NbdError("the server does not say what it was asked")
        return found

    def _header(self) -> tuple[int, int, int, int]:
        """Return flags, kind, number and size of what comes next."""
        magic = int.from_bytes(self._wire.receive(4), "big")
        if magic == _SIMPLE:
            error, _ = struct.unpack(">IQ", self._wire.receive(12))
            if error:
                raise NbdError(error, _words(error))
            raise NbdError("the server answers without structure, against what was agreed")
        if magic != _CHUNK:
            raise NbdError("the server does not speak NBD any more")
        flags, kind, number, size = struct.unpack(">HHQI", self._wire.receive(16))
        return flags, kind, number, size

    def _fail(self, kind: int, size: int) -> None:
        """Raise what the server says is wrong."""
        if not kind & _ERROR or not 6 <= size <= _MOST_TEXT:
            raise NbdError(f"an answer of kind {kind} with {size} bytes that nobody has asked for")
        data = self._wire.receive(size)
        error, length = struct.unpack(">IH", data[:6])
        said = bytes(data[6 : 6 + length]).decode("utf-8", "backslashreplace")
        raise NbdError(error, said or _words(error))


def _words(error: int) -> str:
    return os.strerror(error) if error in errno.errorcode else f"error {error} of the server"
