"""The second part of an NBD connection: reads and maps of holes are answered, and everything that writes is refused.

Rule of the file: a reply is sent in parts of at most a megabyte; where a byte is lost the reply says so from there on.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from itertools import islice

from shared.errors import SkyharborError
from workers.serving import nbd_wire as nbd
from workers.serving.allocation import in_whole_blocks
from workers.serving.nbd_negotiation import Chosen
from workers.serving.nbd_wire import Gone, Wire

PART = 1024 * 1024
_MOST_EXTENTS = 8192
_WHOLE_AT_ONCE = 4
"""How many long reads without structured replies are in memory at a time: they cannot be sent in parts, for a reply
that has begun well must end well."""

_REQUEST = struct.Struct(">IHHQQI")
_REFUSED = frozenset({nbd.CMD_TRIM, nbd.CMD_WRITE_ZEROES})


class Transmission:
    """Answers one client about one disk, in the order of its requests. One thread."""

    _whole = threading.BoundedSemaphore(_WHOLE_AT_ONCE)

    def __init__(self, wire: Wire, chosen: Chosen) -> None:
        self._wire, self._image = wire, chosen.export.image
        self._structured, self._allocation = chosen.structured, chosen.allocation

    def run(self) -> None:
        """Answer until the client says goodbye. Raises ``Gone`` when it is gone, or lies."""
        while True:
            magic, flags, kind, cookie, offset, length = _REQUEST.unpack(self._wire.receive(28, begun=False))
            if magic != nbd.REQUEST_MAGIC:
                raise Gone("no request where one must be")
            if kind == nbd.CMD_DISC:
                return
            if kind == nbd.CMD_READ:
                self._read(cookie, flags, offset, length)
            elif kind == nbd.CMD_BLOCK_STATUS and self._allocation:
                self._map(cookie, flags, offset, length)
            elif kind == nbd.CMD_WRITE:
                if length > nbd.MOST:
                    raise Gone("a write is too long")
                self._wire.drop(length)
                self._fail(cookie, nbd.EPERM)
            elif kind == nbd.CMD_FLUSH:
                self._succeed(cookie)
            else:
                self._fail(cookie, nbd.EPERM if kind in _REFUSED else nbd.EINVAL)

    def _read(self, cookie: int, flags: int, offset: int, length: int) -> None:
        known = nbd.FLAG_FUA | (nbd.FLAG_DF if self._structured else 0)
        if flags & ~known or not self._is_inside(offset, length):
            self._fail(cookie, nbd.EINVAL)
        elif length > nbd.MOST:
            self._fail(cookie, nbd.EOVERFLOW if flags & nbd.FLAG_DF else nbd.EINVAL)
        elif not self._structured:
            self._read_whole(cookie, offset, length, self._send_simple)
        elif flags & nbd.FLAG_DF:
            self._read_whole(cookie, offset, length, self._send_unfragmented)
        else:
            self._read_parts(cookie, offset, length)

    def _read_parts(self, cookie: int, offset: int, length: int) -> None:
        for at, count, is_hole in _parts(self._image.extents(offset, length)):
            last = nbd.CHUNK_DONE if at + count == offset + length else 0
            if is_hole:
                self._chunk(cookie, nbd.CHUNK_HOLE, struct.pack(">QI", at, count), flags=last)
                continue
            try:
                data = self._image.read(at, count)
            except (SkyharborError, OSError):
                self._lost(cookie, at)
                return
            self._chunk(cookie, nbd.CHUNK_DATA, struct.pack(">Q", at), data, flags=last)

    def _read_whole(self, cookie: int, offset: int, length: int, send: Callable[[int, int, bytes], None]) -> None:
        with self._whole if length > PART else nullcontext():
            try:
                data = self._image.read(offset, length)
            except (SkyharborError, OSError):
                self._fail(cookie, nbd.EIO)
                return
            send(cookie, offset, data)

    def _send_simple(self, cookie: int, offset: int, data: bytes) -> None:  # noqa: ARG002 - as the other one
        self._wire.send(struct.pack(">IIQ", nbd.SIMPLE_REPLY_MAGIC, 0, cookie), data)

    def _send_unfragmented(self, cookie: int, offset: int, data: bytes) -> None:
        self._chunk(cookie, nbd.CHUNK_DATA, struct.pack(">Q", offset), data, flags=nbd.CHUNK_DONE)

    def _map(self, cookie: int, flags: int, offset: int, length: int) -> None:
        if flags & ~(nbd.FLAG_FUA | nbd.FLAG_REQ_ONE) or not self._is_inside(offset, length):
            self._fail(cookie, nbd.EINVAL)
            return
        most = 1 if flags & nbd.FLAG_REQ_ONE else _MOST_EXTENTS
        answer = [struct.pack(">I", nbd.ALLOCATION_ID)]
        extents = in_whole_blocks(self._image.extents(offset, length), size=self._image.size)
        for count, is_hole in islice(extents, most):
            answer.append(struct.pack(">II", count, nbd.STATE_HOLE | nbd.STATE_ZERO if is_hole else 0))
        self._chunk(cookie, nbd.CHUNK_BLOCK_STATUS, b"".join(answer), flags=nbd.CHUNK_DONE)

    def _is_inside(self, offset: int, length: int) -> bool:
        return length > 0 and offset + length <= self._image.size

    def _succeed(self, cookie: int) -> None:
        if self._structured:
            self._chunk(cookie, nbd.CHUNK_NONE, flags=nbd.CHUNK_DONE)
        else:
            self._wire.send(struct.pack(">IIQ", nbd.SIMPLE_REPLY_MAGIC, 0, cookie))

    def _fail(self, cookie: int, error: int) -> None:
        if self._structured:
            self._chunk(cookie, nbd.CHUNK_ERROR, struct.pack(">IH", error, 0), flags=nbd.CHUNK_DONE)
        else:
            self._wire.send(struct.pack(">IIQ", nbd.SIMPLE_REPLY_MAGIC, error, cookie))

    def _lost(self, cookie: int, offset: int) -> None:
        """Say that bytes from an offset on cannot be read. What was sent before it is right."""
        self._chunk(cookie, nbd.CHUNK_ERROR_OFFSET, struct.pack(">IHQ", nbd.EIO, 0, offset), flags=nbd.CHUNK_DONE)

    def _chunk(self, cookie: int, kind: int, *payload: bytes, flags: int = 0) -> None:
        size = sum(map(len, payload))
        head = struct.pack(">IHHQI", nbd.STRUCTURED_REPLY_MAGIC, flags, kind, cookie, size)
        self._wire.send(head + payload[0] if payload else head, *payload[1:])


def _parts(extents: Iterable[tuple[int, int, bool]]) -> Iterator[tuple[int, int, bool]]:
    """Yield extents with those of data cut into parts."""
    for offset, length, is_hole in extents:
        step = length if is_hole else PART
        for at in range(offset, offset + length, step):
            yield at, min(step, offset + length - at), is_hole
