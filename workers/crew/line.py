"""A socket that carries whole messages.

Rule of the file: several threads may send, one receives; the end of the other process is the end of the line.
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from typing import Generic, TypeVar

import msgspec

from shared.decoders import msgpack_decoder

_LENGTH = struct.Struct("<I")
_DROPPED = 64 * 1024
_In = TypeVar("_In")


class Line(Generic[_In]):
    """One end of a connection; ``incoming`` is the type of the messages that come in."""

    def __init__(self, connection: socket.socket, incoming: object) -> None:
        self._socket = connection
        self._decoder = msgpack_decoder(incoming)
        self._encoder = msgspec.msgpack.Encoder()
        self._lock = threading.Lock()

    def send(self, message: msgspec.Struct) -> None:
        """Send a message; OSError when the other end is gone."""
        data = self._encoder.encode(message)
        with self._lock:
            self._socket.sendall(_LENGTH.pack(len(data)) + data)

    def receive(self) -> _In | None:
        """Return the next message, None when the other end is gone."""
        head = self._exactly(_LENGTH.size)
        if head is None:
            return None
        body = self._exactly(_LENGTH.unpack(head)[0])
        return None if body is None else self._decoder.decode(body)

    def hang_up(self) -> None:
        """Say nothing more: the other end reads the end of the line, and what it still says is received here.

        A ``send`` under way in another thread fails.
        """
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """Hang up and hear nothing more either: a ``receive`` under way returns None."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def await_end(self) -> None:
        """Wait until the other process has let go of the line, which its end does; what it still says is dropped."""
        room = bytearray(_DROPPED)
        with suppress(OSError):
            while self._socket.recv_into(room):
                pass

    def close(self) -> None:
        """Let go of the socket. Nobody may be using it."""
        self._socket.close()

    def _exactly(self, size: int) -> bytearray | None:
        data = bytearray(size)
        view, got = memoryview(data), 0
        while got < size:
            try:
                count = self._socket.recv_into(view[got:])
            except OSError:
                return None
            if not count:
                return None
            got += count
        return data
