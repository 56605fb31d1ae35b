"""A client of NBD that is written from the protocol's text, for saying what a decent client would not say as well.

Rule of the file: numbers are spelled out here once more, so that a wrong one in the server is not wrong on both sides.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

_TIMEOUT = 60
GO, INFO, LIST, ABORT, EXPORT_NAME, STARTTLS, STRUCTURED, LIST_META, SET_META = 7, 6, 3, 2, 1, 5, 8, 9, 10
ACK, SERVER, INFORMATION, CONTEXT = 1, 2, 3, 4
UNSUPPORTED, INVALID, TLS_REQUIRED, UNKNOWN, TOO_BIG = (0x80000000 + number for number in (1, 3, 5, 6, 9))
READ, WRITE, DISCONNECT, FLUSH, TRIM, CACHE, ZEROES, STATUS = 0, 1, 2, 3, 4, 5, 6, 7
DATA, HOLE, MAP, ERROR, ERROR_AT = 1, 2, 5, 0x8001, 0x8002


class Reply(NamedTuple):
    """One reply to an option."""

    kind: int
    data: bytes


class Chunk(NamedTuple):
    """One chunk of a structured reply."""

    flags: int
    kind: int
    data: bytes


@dataclass
class Peer:
    """A connection to a server."""

    socket: socket.socket

    @classmethod
    def at(cls, path: str) -> Peer:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_TIMEOUT)
        connection.connect(path)
        return cls(connection)

    def greet(self, flags: int = 3) -> tuple[int, int, int]:
        """Take the server's greeting and say hello; return what it said."""
        said = struct.unpack(">QQH", self.take(18))
        self.send(struct.pack(">I", flags))
        return said

    def option(self, number: int, data: bytes = b"", *, length: int | None = None) -> None:
        size = len(data) if length is None else length
        self.send(struct.pack(">QII", 0x49484156454F5054, number, size) + data)

    def replies(self) -> list[Reply]:
        """Return the replies to an option up to the one that ends it."""
        found = []
        while not found or found[-1].kind in (SERVER, INFORMATION, CONTEXT):
            magic, _, kind, length = struct.unpack(">QIII", self.take(20))
            assert magic == 0x3E889045565A9
            found.append(Reply(kind, self.take(length)))
        return found

    def ask(self, number: int, data: bytes = b"") -> list[Reply]:
        self.option(number, data)
        return self.replies()

    def go(self, name: str = "", *, structured: bool = True, contexts: Sequence[str] = ()) -> tuple[int, int]:
        """Get to where requests are answered; return size and flags."""
        self.greet()
        if structured:
            assert self.ask(STRUCTURED) == [Reply(ACK, b"")]
        if contexts:
            self.ask(SET_META, meta(name, contexts))
        replies = self.ask(GO, wish(name))
        assert replies[-1].kind == ACK
        said = next(reply.data[2:] for reply in replies if reply.data[:2] == b"\0\0")
        size, flags = struct.unpack(">QH", said)
        return size, flags

    def request(self, kind: int, offset: int = 0, length: int = 0, *, flags: int = 0, cookie: int = 7) -> None:
        self.send(struct.pack(">IHHQQI", 0x25609513, flags, kind, cookie, offset, length))

    def simple(self, length: int = 0) -> tuple[int, bytes]:
        """Return the error and the data of a simple reply."""
        magic, error, cookie = struct.unpack(">IIQ", self.take(16))
        assert (magic, cookie) == (0x67446698, 7)
        return error, b"" if error else self.take(length)

    def chunks(self) -> list[Chunk]:
        """Return all chunks of a structured reply."""
        found: list[Chunk] = []
        while not found or not found[-1].flags & 1:
            magic, flags, kind, cookie, length = struct.unpack(">IHHQI", self.take(20))
            assert (magic, cookie) == (0x668E33EF, 7)
            found.append(Chunk(flags, kind, self.take(length)))
        return found

    def read(self, offset: int, length: int, *, flags: int = 0) -> bytes:
        """Read by structured replies and put the parts together. ValueError when the server says an error."""
        self.request(READ, offset, length, flags=flags)
        return self.put_together(offset, length)

    def put_together(self, offset: int, length: int) -> bytes:
        """Take the reply to a read and put its parts together. ValueError when the server says an error."""
        found, told = bytearray(length), bytearray(length)
        for chunk in self.chunks():
            if chunk.kind >= ERROR:
                raise ValueError(chunk)
            (at,) = struct.unpack(">Q", chunk.data[:8])
            part = chunk.data[8:] if chunk.kind == DATA else bytes(struct.unpack(">I", chunk.data[8:])[0])
            found[at - offset : at - offset + len(part)] = part
            told[at - offset : at - offset + len(part)] = b"\1" * len(part)
        assert told.count(1) == length, "the reply does not cover what was asked for"
        return bytes(found)

    def map(self, offset: int, length: int, *, flags: int = 0) -> list[tuple[int, int]]:
        """Return (length, state) as the server describes a stretch."""
        self.request(STATUS, offset, length, flags=flags)
        (chunk,) = self.chunks()
        assert chunk.kind == MAP, chunk
        return [struct.unpack_from(">II", chunk.data, at) for at in range(4, len(chunk.data), 8)]  # type: ignore[misc]

    def start_tls(self, context: ssl.SSLContext) -> None:
        assert self.ask(STARTTLS) == [Reply(ACK, b"")]
        self.socket = context.wrap_socket(self.socket)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def take(self, count: int) -> bytes:
        got = b""
        while len(got) < count:
            part = self.socket.recv(count - len(got))
            if not part:
                raise EOFError(f"{len(got)} of {count} bytes")
            got += part
        return got

    def heard_until_dropped(self) -> bytes:
        """Wait for the server to end the connection and return what it said before. TimeoutError when it does not."""
        heard = b""
        try:
            while part := self.socket.recv(65536):
                heard += part
        except ConnectionError:
            pass
        return heard

    def is_dropped(self) -> bool:
        """Wait for the server to end the connection, whatever it says before."""
        try:
            self.heard_until_dropped()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        self.socket.close()


def wish(name: str, *asked: int) -> bytes:
    """The data of INFO and GO."""
    return struct.pack(">I", len(name.encode())) + name.encode() + struct.pack(f">H{len(asked)}H", len(asked), *asked)


def meta(name: str, queries: Sequence[str]) -> bytes:
    """The data of the two options about contexts."""
    said = struct.pack(">I", len(name.encode())) + name.encode() + struct.pack(">I", len(queries))
    return said + b"".join(struct.pack(">I", len(query)) + query.encode() for query in queries)
